"""Stage `transfer_controls`: feature maps of test clips whose frames are shuffled, or run backward."""

from __future__ import annotations

import functools
import zlib

import numpy as np

from pipeline.backbone.encoders import encode, load_backbone
from pipeline.backbone.finetuning.tuned import tuned_backbone
from pipeline.backbone.maps import on_grid
from pipeline.data.table import read_index
from pipeline.encoding.hardware import batch_size
from pipeline.jobs import stage


def shuffled(clip: np.ndarray, video_id: str) -> np.ndarray:
    """The frames ``[T, ...]`` in an order that the id alone decides."""
    return clip[np.random.default_rng(zlib.crc32(video_id.encode())).permutation(len(clip))]


def build(job: stage.Job) -> None:
    """Write the maps of both for every video that models are judged by and whose background is not plain.

    Decoded frames are turned round, not the video: backward H.264 would be another picture.
    """
    settings, tuned = job.settings, tuned_backbone(job)
    named = tuned or (settings["model"], settings["revision"])
    backbone = load_backbone(*named, settings["cls_token"], "" if tuned else settings["sha256"], job.runtime)
    small = functools.partial(
        on_grid, grid=tuple(settings["grid"]), placement=settings["placement"], radius=settings["radius"]
    )
    size = batch_size("features", job.runtime)
    videos = read_index(job)
    judged = dict(zip(videos.video_id, np.isin(videos.split, ("test", "unknown")), strict=True))
    ids, parts = [], {"shuffled": [], "backward": []}
    for arrays, described in job.read_arrays("clips"):
        rows = [row for row, key in enumerate(described["video_id"]) if judged.get(key)]
        if not rows:
            continue
        own = [described["video_id"][row] for row in rows]
        clips = arrays["frames"][rows]
        ids += own
        mixed = np.stack([shuffled(clip, key) for clip, key in zip(clips, own, strict=True)])
        for name, frames in (("shuffled", mixed), ("backward", np.ascontiguousarray(clips[:, ::-1]))):
            parts[name].append(encode(backbone, frames, size, "maps", then=small))
    if not ids:
        raise stage.StageError("no clip to judge by was decoded; look at decode with `conceptreel inspect`")
    arrays = {name: np.concatenate(found) for name, found in parts.items()}
    job.write_arrays("controls", arrays, {"video_id": ids}, n_ok=len(ids))


if __name__ == "__main__":
    stage.run("transfer_controls", build)
