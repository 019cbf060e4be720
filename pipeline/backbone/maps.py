"""Stage `maps`: the feature maps of every clip, on the places of the prompt grid.

They are stored on the grid, not as the backbone gives them: a 1×1 convolution and an interpolation over places commute,
so nothing that the spatial layer could learn is lost, and a grid of 7 × 7 is a quarter of the 14 × 14 of ViT-B/16.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import torch

from pipeline.backbone.encoders import encode, load_backbone
from pipeline.backbone.finetuning.tuned import tuned_backbone
from pipeline.encoding.batches import Stopwatch
from pipeline.encoding.encoder import write_clips
from pipeline.encoding.grid import cell_positions, interpolation, positions
from pipeline.encoding.hardware import batch_size
from pipeline.jobs import stage


def on_grid(maps: torch.Tensor, grid: tuple[int, int], placement: str, radius: int) -> torch.Tensor:
    """Bilinear interpolation of feature maps at the centres of the prompts (SALF-CBM 3.3), on the maps' device.

    Args:
        maps: ``[n, S, h, w, D]``.
        grid: rows and columns; placement, radius: see `pipeline.encoding.grid.positions`.

    Returns:
        float16 ``[n, S, rows, columns, D]``.
    """
    rows, columns = (
        torch.from_numpy(_weights(side, count, placement, radius)).to(maps.device)
        for side, count in zip(maps.shape[2:4], grid, strict=True)
    )
    with torch.autocast(maps.device.type, enabled=False):  # bfloat16 would cost the maps three binary digits
        along_rows = torch.einsum("rh,nshwd->nsrwd", rows, maps.float())  # [n, S, rows, w, D]
        return torch.einsum("cw,nsrwd->nsrcd", columns, along_rows).half()


@functools.cache
def _weights(side: int, count: int, placement: str, radius: int) -> np.ndarray:
    """Weights of a map's places for each of the grid's, along one side: float32 ``[count, side]``."""
    return interpolation(cell_positions(side), positions(count, placement, radius)).astype(np.float32)


def build(job: stage.Job) -> None:
    """Write the maps of one shard."""
    settings = job.settings
    tuned = tuned_backbone(job)
    named = tuned or (settings["model"], settings["revision"])
    sha256 = "" if tuned else settings["sha256"]
    backbone = load_backbone(*named, settings["cls_token"], sha256, job.runtime)
    grid = tuple(settings["grid"])
    # Maps in full resolution never leave the device.
    small = functools.partial(on_grid, grid=grid, placement=settings["placement"], radius=settings["radius"])

    def encoded(clips: Iterator[np.ndarray], watch: Stopwatch) -> np.ndarray:
        maps = encode(backbone, clips, batch_size("features", job.runtime), "maps", watch, small)
        return maps if len(maps) else np.zeros((0, 0, *grid, backbone.map_width), np.float16)

    write_clips(job, "maps", "maps", backbone, named, encoded)


if __name__ == "__main__":
    stage.run("maps", build)
