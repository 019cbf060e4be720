"""SportsHHI (Wu et al. 2024): its CSV of interactions between two persons, and its metric. Nothing is trained on it."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.data.lines import text_of
from pipeline.data.tracks import overlaps
from pipeline.jobs.stage import StageError

# Numbers from 1 of the 34 classes that the benchmark leaves out.
LEFT_OUT = frozenset({1, 4, 7, 12, 20, 30})
N_CLASSES = 34
MIN_IOU = 0.9
RECALL_AT = (20, 50, 100, 150)
# A keyframe of the metric spans so many frames.
KEYFRAME = 5


class Interaction(NamedTuple):
    """A row: two boxes x1, y1, x2, y2 in [0, 1], the class from 1, and who the two are; score 1 where it is true."""

    video: str
    frame: int
    first: tuple[float, ...]
    second: tuple[float, ...]
    action: int
    ids: tuple[int, int]
    score: float = 1.0

    @property
    def keyframe(self) -> tuple[str, int]:
        return self.video, self.frame // KEYFRAME


def classes() -> list[int]:
    """The 28 classes that are judged."""
    return [number for number in range(1, N_CLASSES + 1) if number not in LEFT_OUT]


def read(path: Path) -> list[Interaction]:
    """Rows of ``video, frame, x1, y1, x2, y2, x1, y1, x2, y2, class, id, id`` and, of predictions, a score.

    Classes that the benchmark leaves out are left out.

    Raises:
        StageError: missing, or a row is something else; tells which.
    """
    try:
        lines = list(csv.reader(io.StringIO(text_of(path.read_bytes()))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StageError(f"{path} cannot be read as a table ({error})") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line or (number == 1 and line[0].strip().lower() in ("video", "video_id")):
            continue
        try:
            if len(line) not in (13, 14):
                raise ValueError(f"{len(line)} columns")
            video, frame, *rest = line
            numbers = [float(value) for value in rest]
            boxes = tuple(numbers[:4]), tuple(numbers[4:8])
            if not np.isfinite(numbers).all() or any(b[2] <= b[0] or b[3] <= b[1] for b in boxes):
                raise ValueError("a box or number is none")
            action = int(numbers[8])
            if not 1 <= action <= N_CLASSES:
                raise ValueError(f"class {action}")
            ids = int(numbers[9]), int(numbers[10])
            score = numbers[11] if len(numbers) > 11 else 1.0
            found.append(Interaction(video, int(frame), *boxes, action, ids, score))
        except ValueError as error:
            raise StageError(
                f"{path}, line {number}: {error}; expected video, frame, two boxes, class, two ids"
            ) from None
    return [row for row in found if row.action not in LEFT_OUT]


def _matches(own: list[Interaction], truth: list[Interaction]) -> np.ndarray:
    """Row of truth that each prediction hits, by both boxes; -1 for none. The surest comes first, each is hit once."""
    hit = np.full(len(own), -1)
    if not own or not truth:
        return hit
    both = [np.array([getattr(row, side) for row in rows]) for side in ("first", "second") for rows in (own, truth)]
    likeness = np.minimum(overlaps(both[0], both[1]), overlaps(both[2], both[3]))
    free = np.ones(len(truth), bool)
    for row in range(len(own)):
        best = int(np.where(free, likeness[row], -1).argmax())
        if free[best] and likeness[row, best] >= MIN_IOU:
            hit[row], free[best] = best, False
    return hit


def evaluate(predicted: list[Interaction], truth: list[Interaction]) -> dict[str, float]:
    """mAP, the mean over classes that occur, and recall among the 20, 50, 100 and 150 surest of each keyframe."""
    ranked = sorted(predicted, key=lambda row: -row.score)
    values = [_average_precision(ranked, truth, action) for action in classes()]
    found = {"mAP": float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")}
    by_frame: dict[tuple, tuple[list, list]] = defaultdict(lambda: ([], []))
    for place, rows in enumerate((ranked, truth)):
        for row in rows:
            by_frame[row.keyframe][place].append(row)
    for count in RECALL_AT:
        hits = 0
        for own, right in by_frame.values():
            for action in {row.action for row in right}:
                kept = [row for row in own[:count] if row.action == action]
                hits += int((_matches(kept, [row for row in right if row.action == action]) >= 0).sum())
        found[f"R@{count}"] = hits / len(truth) if truth else float("nan")
    return found


def _average_precision(ranked: list[Interaction], truth: list[Interaction], action: int) -> float:
    """Area under the steps of precision over recall; NaN for a class that does not occur."""
    right: dict[tuple[str, int], list[Interaction]] = defaultdict(list)
    for row in truth:
        if row.action == action:
            right[row.video, row.frame].append(row)
    total = sum(map(len, right.values()))
    if not total:
        return float("nan")
    own = [row for row in ranked if row.action == action]
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    for place, row in enumerate(own):
        places[row.video, row.frame].append(place)
    hit = np.zeros(len(own), bool)
    for key, where in places.items():
        hit[where] = _matches([own[place] for place in where], right.get(key, [])) >= 0
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float((precision * hit).sum() / total)
