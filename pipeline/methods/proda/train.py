"""Stage `proda_train`: the network, trained on train, its epoch and recipe chosen on validation."""

from __future__ import annotations

import numpy as np

from pipeline.data.table import VideoTable, read_index
from pipeline.encoding.hardware import device
from pipeline.graphs.graph import read_scenes
from pipeline.graphs.scene import Scenes
from pipeline.jobs import stage
from pipeline.methods.proda.batches import sizes_of
from pipeline.methods.proda.fit import Rows, fit
from pipeline.methods.proda.settings import ProDA as Settings
from pipeline.methods.proda.state import packed


def truth_of(videos: VideoTable) -> np.ndarray:
    """bool ``[n, C]``."""
    truth = np.zeros((len(videos), len(videos.class_names)), bool)
    for row, own in enumerate(videos.labels):
        truth[row, own] = True
    return truth


def labelled(videos: VideoTable, scenes: Scenes, *splits: str) -> Rows:
    """Videos of some splits that have a scene graph, in the order of the index."""
    row_of = {key: row for row, key in enumerate(scenes.video_id)}
    own = videos.take(np.isin(videos.split, splits) & np.array([key in row_of for key in videos.video_id], bool))
    return Rows(scenes.take(np.array([row_of[key] for key in own.video_id], int)), truth_of(own))


def build(job: stage.Job) -> None:
    """Write the weights, and beside them sizes, settings, what was chosen, and the curve of its training."""
    settings = Settings.model_validate(job.settings["proda"])
    videos = read_index(job)
    scenes, described = read_scenes(job)
    train, val = (labelled(videos, scenes, split) for split in ("train", "val"))
    for split, rows in (("train", train), ("val", val)):
        if not rows.truth.any():
            raise stage.StageError(f"no video of the split `{split}` has a scene graph and a label")
    actions = len(videos.class_names)
    if settings.asked >= actions:
        raise stage.StageError(f"proda.asked is {settings.asked}, and there are {actions} actions; it must be lower")
    sizes = sizes_of(scenes, actions, len(described["node_classes"]), settings.frames)
    try:
        fitted = fit(train, val, sizes, settings, str(device(job.runtime)))
    except ValueError as error:
        raise stage.StageError(f"ProDA cannot be trained: {error}") from None
    values, shapes = packed(fitted.network.state_dict())
    content = {
        "class_names": videos.class_names,
        "sizes": dict(sizes._asdict()),
        "shapes": shapes,
        "settings": settings.model_dump(mode="json"),
        "graphs": {**described, "nodes": int(scenes.node_class.shape[1])},
        "chosen": fitted.chosen,
        "curve": fitted.curve,
        "videos": {"train": len(train.truth), "val": len(val.truth)},
    }
    job.write_arrays("network", {"weights": values}, content, n_ok=len(train.truth))


if __name__ == "__main__":
    stage.run("proda_train", build)
