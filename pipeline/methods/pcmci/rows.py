"""Rows that networks are trained on: of videos as both encoders see them, or labels for the structural causal model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.data.sets.breakfast import activity_of
from pipeline.data.sets.coin import task_of
from pipeline.data.table import VideoTable, join_shards, read_index
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


@dataclass(frozen=True)
class Corpus:
    """Videos of a data set as both encoders see them.

    Attributes:
        frames: float16 ``[n, L, E]``; tokens: float16 ``[n, L_v, D]``.
        labels: bool ``[n, N]``; split, activity: ``[n]``.
        texts: ``[N, E]``; class_names: N.
    """

    frames: torch.Tensor
    tokens: torch.Tensor
    labels: torch.Tensor
    split: np.ndarray
    texts: torch.Tensor
    class_names: list[str]

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Tokens and frames of some videos in float32."""
        return self.tokens[rows].float(), self.frames[rows].float(), None

    def rows(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.split == split)


def _has_directions(rows: np.ndarray) -> bool:
    """Whether every row ``[n, D]`` is finite and not zero."""
    return bool(np.isfinite(rows).all() and rows.any(-1).all())


def read_corpus(job: stage.Job) -> Corpus:
    """Videos that both encoders have seen, in the order of the index.

    Raises:
        StageError: the texts are of other labels than the index has, or no video has rows of both encoders.
    """
    videos = read_index(job)
    frames, tokens = (join_shards(job, name, name) for name in ("frames", "tokens"))
    ((texts, described),) = job.read_arrays("labels")
    if described["class_names"] != videos.class_names:
        raise stage.StageError("texts of labels are of other classes than the index has; run pcmci_labels again")
    where = [{key: row for row, key in enumerate(rows.video_id)} for rows in (frames, tokens)]
    own = videos.take(np.array([all(key in rows for rows in where) for key in videos.video_id], bool))
    if not len(own):
        raise stage.StageError("no video has rows of both encoders")
    for name, rows in (("frames", frames), ("tokens", tokens)):
        bad = [key for key, row in zip(rows.video_id, rows.values, strict=True) if not _has_directions(row)]
        if bad:
            raise stage.StageError(f"{name} of `{bad[0]}` have a row that is zero or not finite; make them again")
    order = [np.array([rows[key] for key in own.video_id]) for rows in where]
    return Corpus(
        frames=torch.from_numpy(frames.values[order[0]]),
        tokens=torch.from_numpy(tokens.values[order[1]]),
        labels=torch.from_numpy(truth_of(own)),
        split=own.split,
        texts=torch.from_numpy(texts["labels"]),
        class_names=own.class_names,
    )
