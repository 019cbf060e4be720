"""Rows that networks are trained on: of videos as both encoders see them, or labels for the structural causal model."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass

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


class OnDisk:
    """Rows of one encoder of all shards, in an unnamed temporary file: memory does not grow with the data set.

    Attributes:
        video_id: ids of the rows.

    Raises:
        StageError: a row has no direction, shards differ in shape, or there is no row at all.
    """

    def __init__(self, job: stage.Job, name: str):
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as its rows are read
        self.video_id: list[str] = []
        self.shape: tuple[int, ...] = ()
        for arrays, attributes in job.read_arrays(name):
            rows = np.ascontiguousarray(arrays[name], np.float16)
            if not len(rows):
                continue
            self.shape = self.shape or rows.shape[1:]
            if rows.shape[1:] != self.shape:
                raise stage.StageError(f"{name} of shards differ in shape: {self.shape} and {rows.shape[1:]}")
            usable = np.isfinite(rows).all((1, 2)) & rows.any(2).all(1)
            if not usable.all():
                key = attributes["video_id"][int((~usable).argmax())]
                raise stage.StageError(f"{name} of `{key}` have a row that is zero or not finite; make them again")
            self._file.write(rows.tobytes())
            self.video_id += attributes["video_id"]
        if not self.video_id:
            raise stage.StageError(f"no video has {name}")
        self._file.flush()

    def __getitem__(self, rows: np.ndarray) -> torch.Tensor:
        """Rows by number in float32 ``[b, n, D]``."""
        size = 2 * math.prod(self.shape)
        found = np.empty((len(rows), *self.shape), np.float16)
        for place, row in enumerate(rows):
            data = os.pread(self._file.fileno(), size, int(row) * size)
            found[place] = np.frombuffer(data, np.float16).reshape(self.shape)
        return torch.from_numpy(found).float()


@dataclass(frozen=True)
class Corpus:
    """Videos of a data set as both encoders see them.

    Attributes:
        frames, tokens: rows of all videos of each encoder; row_of: int ``[n]`` of each, the videos' own.
        video_id, split: ``[n]``; labels: bool ``[n, N]``.
        texts: ``[N, E]``; class_names: N.
    """

    frames: OnDisk
    tokens: OnDisk
    row_of: tuple[np.ndarray, np.ndarray]
    video_id: np.ndarray
    labels: torch.Tensor
    split: np.ndarray
    texts: torch.Tensor
    class_names: list[str]

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Tokens and frames of some videos."""
        return self.tokens[self.row_of[1][rows]], self.frames[self.row_of[0][rows]], None

    def rows(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.split == split)


def read_corpus(job: stage.Job) -> Corpus:
    """Videos that both encoders have seen, in the order of the index.

    Raises:
        StageError: the texts are of other labels than the index has, or no video has rows of both encoders.
    """
    videos = read_index(job)
    frames, tokens = OnDisk(job, "frames"), OnDisk(job, "tokens")
    ((texts, described),) = job.read_arrays("labels")
    if described["class_names"] != videos.class_names:
        raise stage.StageError("texts of labels are of other classes than the index has; run pcmci_labels again")
    where = [{key: row for row, key in enumerate(rows.video_id)} for rows in (frames, tokens)]
    own = videos.take(np.array([all(key in rows for rows in where) for key in videos.video_id], bool))
    if not len(own):
        raise stage.StageError("no video has rows of both encoders")
    first, second = (np.array([rows[key] for key in own.video_id]) for rows in where)
    return Corpus(
        frames=frames,
        tokens=tokens,
        row_of=(first, second),
        video_id=own.video_id,
        labels=torch.from_numpy(truth_of(own)),
        split=own.split,
        texts=torch.from_numpy(texts["labels"]),
        class_names=own.class_names,
    )
