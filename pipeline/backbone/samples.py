"""Rows that a classifier trains on: features joined with labels by video id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.data.entries import DEVELOPMENT
from pipeline.data.table import Rows, VideoTable, join_shards, read_index
from pipeline.jobs.stage import Job, StageError
from pipeline.learning.metrics import accuracy


@dataclass(frozen=True)
class Samples:
    """Videos that have a feature.

    Attributes:
        videos: their rows of the index.
        label: int32 ``[n]``, index into the class names.
        features: float32 ``[n, D]``.
        failed: id → reason of the videos without a feature.
    """

    videos: VideoTable
    label: np.ndarray
    features: np.ndarray
    failed: dict[str, str]

    def split(self, *names: str) -> np.ndarray:
        """bool ``[n]``: the video belongs to one of these splits."""
        return np.isin(self.videos.split, names)

    def align(self, ids: list[str], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of ``values``, whose videos are ``ids``, for the samples.

        Returns:
            values ``[n, ...]``, zeros where a sample has no row, and has_row bool ``[n]``.
        """
        row_of = {key: row for row, key in enumerate(ids)}
        rows = np.array([row_of.get(key, -1) for key in self.videos.video_id])
        has_row = rows >= 0
        result = np.zeros((len(rows), *values.shape[1:]), values.dtype)
        result[has_row] = values[rows[has_row]]
        return result, has_row

    @property
    def result_splits(self) -> list[str]:
        """Test and every further split that models were not developed on."""
        return sorted(set(self.videos.split) - {*DEVELOPMENT} | {"test"})

    def top1(self, z: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> dict[str, float]:
        """Accuracies of a classifier on `result_splits`: ``top1`` of test, ``<split>_top1`` of the others."""
        masks = {split: self.split(split) for split in self.result_splits}
        return {
            "top1" if split == "test" else f"{split}_top1": accuracy(z[rows], self.label[rows], weight, bias)
            for split, rows in masks.items()
        }


def read_samples(job: Job, who: str) -> Samples:
    """Join index and features by id, for a method that decides among classes that exclude each other.

    Args:
        who: the method, for messages.

    Raises:
        StageError: there is one class alone, train or validation have no video left, a class has none in train, or a
            video has not one label.
    """
    videos = read_index(job)
    rows: Rows = join_shards(job, "features", "features")
    where = videos.rows_of(rows.video_id)
    known = where >= 0
    order = np.argsort(where[known], kind="stable")
    taken = videos.take(where[known][order])
    samples = Samples(taken, taken.single_label(who), rows.values[known][order], rows.failed)
    if len(taken.class_names) < 2:
        raise StageError(
            f"{who} tells classes apart, but there is only one: {', '.join(taken.class_names)}; add videos of another "
            f"class, or correct the lists in data.index"
        )
    if not np.isfinite(samples.features).all():
        raise StageError("a feature is NaN or infinite; check the features with `conceptreel inspect`")
    for name in DEVELOPMENT:
        if not samples.split(name).any():
            raise StageError(
                f"no video of split `{name}` has a feature; check index and decode with `conceptreel inspect`"
            )
    absent = sorted(set(range(len(taken.class_names))) - set(samples.label[samples.split("train")].tolist()))
    if absent:
        raise StageError(
            f"{who} cannot learn the class `{taken.class_names[absent[0]]}`: no train video of it has a feature "
            f"({len(absent)} of {len(taken.class_names)} classes); add videos or take it off the class list"
        )
    return samples
