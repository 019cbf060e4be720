"""Stage `maps`: the feature maps of every clip, on the places of the prompt grid.

They are stored on the grid, not as the backbone gives them: a 1×1 convolution and an interpolation over places commute,
so nothing that the spatial layer could learn is lost, and a grid of 7 × 7 is a quarter of the 14 × 14 of ViT-B/16.
"""

from __future__ import annotations

import numpy as np

from pipeline import batches, checkpoints, stage
from pipeline.backbone.encoders import encode, load_backbone
from pipeline.backbone.finetuning.tuned import tuned_backbone
from pipeline.context.grid import cell_positions, interpolation, positions


def on_grid(maps: np.ndarray, grid: tuple[int, int], placement: str, radius: int) -> np.ndarray:
    """Bilinear interpolation of feature maps at the centres of the prompts (SALF-CBM 3.3).

    Args:
        maps: ``[n, S, h, w, D]``.
        grid: rows and columns; placement, radius: see `pipeline.context.grid.positions`.

    Returns:
        float16 ``[n, S, rows, columns, D]``.
    """
    rows, columns = (
        interpolation(cell_positions(side), positions(count, placement, radius)).astype(np.float32)
        for side, count in zip(maps.shape[2:4], grid, strict=True)
    )
    # Along the rows, then along the columns: [n, S, rows, w, D], [n, S, rows, columns, D].
    return np.einsum("cw,nsrwd->nsrcd", columns, np.einsum("rh,nshwd->nsrwd", rows, maps)).astype(np.float16)


def build(job: stage.Job) -> None:
    """Write the maps of one shard."""
    settings = job.settings
    ((arrays, described),) = job.read_arrays("clips")
    tuned = tuned_backbone(job)
    model, revision = tuned or (settings["model"], settings["revision"])
    backbone = load_backbone(model, revision, settings["cls_token"], "" if tuned else settings["sha256"])
    grid = tuple(settings["grid"])
    batch = checkpoints.batch_size("features", 4)
    parts = [
        on_grid(encode(backbone, part, batch, "maps"), grid, settings["placement"], settings["radius"])
        # In parts, so that maps in full resolution are never all in memory.
        for part in np.array_split(arrays["frames"], max(1, len(arrays["frames"]) // 64))
        if len(part)
    ]
    maps = np.concatenate(parts) if parts else np.zeros((0, 0, *grid, backbone.map_width), np.float16)
    job.write_arrays(
        "maps",
        {"maps": maps},
        {"video_id": described["video_id"]},
        n_ok=len(maps),
        failed={item["video_id"]: item["reason"] for item in described["failed"]},
        weights=checkpoints.weights_digest(model, revision),
        device=str(backbone.device),
        dtype=batches.dtype_name(backbone.device),
    )


if __name__ == "__main__":
    stage.run("maps", build)
