"""A model on a matrix of features: decisions, accuracy, and whether a published accuracy is reproduced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.lists import read_labelled_list
from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.matrices import Matrix, Rows
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel


@dataclass(frozen=True)
class Outcome:
    """How many rows were decided rightly.

    Attributes:
        right, total: numbers of rows.
    """

    right: int
    total: int

    @property
    def accuracy(self) -> float:
        return self.right / self.total


def labelled(matrix: Matrix, path: Path, class_names: list[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Features with their labels, joined by id where the matrix names its rows, else by the order of the list.

    Args:
        path: list of ``path label`` lines.

    Returns:
        ids; features ``[n, D]``; labels int64 ``[n]``; in the order of the list.

    Raises:
        ListError: the list cannot be read.
        ForeignFileError: a line is wrong, an id is there twice, or rows and list do not fit.
    """
    entries = read_labelled_list(path, class_names)
    wrong = [entry for entry in entries if entry.problem]
    if wrong:
        raise ForeignFileError(f"{path}: {wrong[0].path}: {wrong[0].problem}")
    ids = [entry.video_id for entry in entries]
    several = [entry for entry in entries if len(entry.labels) != 1]
    if several:
        raise ForeignFileError(f"{path}: {several[0].path} has {len(several[0].labels)} labels; write one per line")
    labels = np.array([entry.labels[0] for entry in entries], np.int64)
    if matrix.ids is None:
        if len(ids) != len(matrix.values):
            raise ForeignFileError(f"the matrix has {len(matrix.values)} rows, but {path} lists {len(ids)} videos")
        return ids, matrix.values, labels
    rows = Rows(matrix.ids, ids, "the matrix")
    found = [rows.find(key) for key in ids]
    absent = [key for key, row in zip(ids, found, strict=True) if row is None]
    if absent:
        raise ForeignFileError(f"the matrix has no row for {len(absent)} videos of {path}, for example {absent[0]}")
    return ids, matrix.values[np.array(found, np.int64)], labels


def evaluate(model: ConceptModel, features: np.ndarray, labels: np.ndarray) -> Outcome:
    """Top-1 of a model without maps on features ``[n, D]``.

    Raises:
        ForeignFileError: the features have another width than the model's.
    """
    try:
        z = model.activations(features)
    except ValueError as error:
        raise ForeignFileError(str(error)) from None
    return Outcome(int((model.probabilities(z).argmax(1) == labels).sum()), len(labels))


def check_stated(outcome: Outcome, stated: float) -> None:
    """Stop unless an accuracy that a folder states is the one that was found, to the last video.

    The solver that states it adds float32 means of batches, which is off by less than a hundredth of a video.

    Raises:
        ForeignFileError: another number of videos was right.
    """
    if abs(stated * outcome.total - outcome.right) < 0.01:
        return
    right = stated * outcome.total
    if abs(right - round(right)) > 0.01:
        why = f"no number of {outcome.total} videos is that part: the list is not the one it was evaluated on"
    else:
        why = "are rows and list in the same order, and the features of the same network?"
    raise ForeignFileError(
        f"the folder states an accuracy of {stated:.6f}, these features give {outcome.accuracy:.6f} "
        f"({outcome.right} of {outcome.total}); {why}"
    )
