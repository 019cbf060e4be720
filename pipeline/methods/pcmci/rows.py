"""Rows of labels for the structural causal model: the grammar's, or the real ones of the data set."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.data.sets.breakfast import activity_of
from pipeline.data.sets.coin import task_of
from pipeline.data.table import VideoTable, read_index
from pipeline.jobs import stage
from pipeline.methods.pcmci import world
from pipeline.methods.pcmci.settings import World


def names_of_grammar() -> list[str]:
    return [f"action {number:02d}" for number in range(1, world.N_ACTIONS + 1)]


def read_rows(job: stage.Job, settings: World) -> tuple[world.Rows, list[str]]:
    """Labels and activities of train, val and test, and the names of the labels."""
    if settings.labels == "grammar":
        return world.label_rows(settings), names_of_grammar()
    videos = read_index(job)
    labels = truth_of(videos)
    activity = np.unique(activities(videos), return_inverse=True)[1]
    found = {}
    for split in ("train", "val", "test"):
        own = videos.split == split
        found[split] = torch.from_numpy(labels[own]), torch.from_numpy(activity[own])
        if not own.any():
            raise stage.StageError(f"the split `{split}` has no video, and the world films label rows of all three")
    return found, videos.class_names


def truth_of(videos: VideoTable) -> np.ndarray:
    """bool ``[n, N]``."""
    labels = np.zeros((len(videos), len(videos.class_names)), bool)
    for row, own in enumerate(videos.labels):
        labels[row, own] = True
    return labels


def activities(videos: VideoTable) -> np.ndarray:
    """What each whole video is about ``[n]``, as paths of Breakfast and COIN tell it."""
    of_coin = all(path.count("/") and path.rsplit("/", 2)[-2].isdigit() for path in videos.path)
    return np.array(
        [task_of(path) if of_coin else activity_of(key) for key, path in zip(videos.video_id, videos.path, strict=True)]
    )
