"""Rows of labels for the structural causal model: the grammar's, or the real ones of the data set."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.data.table import read_index
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
    labels = np.zeros((len(videos), len(videos.class_names)), bool)
    for row, own in enumerate(videos.labels):
        labels[row, own] = True
    activity = np.unique(videos.group, return_inverse=True)[1]
    found = {
        split: (torch.from_numpy(labels[videos.split == split]), torch.from_numpy(activity[videos.split == split]))
        for split in ("train", "val", "test")
    }
    return found, videos.class_names
