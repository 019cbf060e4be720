"""Person boxes of single frames, linked into tracks; and which of the tracks are the main person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

# A further track continues the main person only if it is at least so large, as a part of the main track's mean area:
# who enters an empty scene again is about as large as before, a passer-by in the background is not.
MIN_RELATIVE_AREA = 0.25
# Share of the last displacement in the smoothed velocity of a track.
SMOOTHING = 0.5


@dataclass
class Track:
    """One person over time.

    Attributes:
        frames: increasing frame numbers ``n``; boxes ``n`` rows of x0, y0, x1, y1.
    """

    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def add(self, frame: int, box: np.ndarray) -> None:
        if self.frames:
            moved = (centre(box) - centre(self.boxes[-1])) / (frame - self.frames[-1])
            # A new track has no velocity to smooth with.
            known = SMOOTHING if len(self.frames) > 1 else 1.0
            self.velocity = (1 - known) * self.velocity + known * moved
        self.frames.append(frame)
        self.boxes.append(np.asarray(box, np.float64))

    def expected(self, frame: int) -> np.ndarray:
        """Where the box should be, if the person goes on as before: ``[4]``."""
        return self.boxes[-1] + np.tile(self.velocity * (frame - self.frames[-1]), 2)

    @property
    def weight(self) -> float:
        """Largest × longest: the box area summed over the frames, in pixels."""
        return float(areas(np.array(self.boxes)).sum())


def centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas ``[n]`` of boxes ``[n, 4]``, in square pixels."""
    return np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union ``[n, m]`` of boxes ``[n, 4]`` and ``[m, 4]``."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    union = areas(a)[:, None] + areas(b)[None] - common
    return common / np.maximum(union, 1e-9)


def _match(expected: np.ndarray, boxes: np.ndarray, min_overlap: float) -> list[tuple[int, int]]:
    """Pairs of rows with the largest summed overlap, none below ``min_overlap``."""
    from scipy.optimize import linear_sum_assignment

    if not len(expected) or not len(boxes):
        return []
    overlap = overlaps(expected, boxes)
    # What must not be paired costs as much as staying alone, so that it never crowds out a pair that counts.
    rows, columns = linear_sum_assignment(np.where(overlap >= min_overlap, -overlap, 0.0))
    return [(r, c) for r, c in zip(rows, columns, strict=True) if overlap[r, c] >= min_overlap]


def link(
    detections: Sequence[np.ndarray], max_gap: int, min_score: float = 0.5, min_overlap: float = 0.3
) -> list[Track]:
    """Boxes of successive frames that belong to one person.

    Sure boxes are paired first, then the unsure ones with the tracks that are left, because a hidden person has an
    unsure box (ByteTrack, Zhang et al. 2022). A track without a box is kept for ``max_gap`` frames, moving on.

    Args:
        detections: for each frame ``[k, 5]``: x0, y0, x1, y1, score.
        max_gap: frames that a person may be unseen and still be the same.
        min_score: unsure boxes continue tracks, but begin none.
        min_overlap: intersection over union with the expected place.
    """
    tracks: list[Track] = []
    active: list[Track] = []
    for frame, found in enumerate(detections):
        found = np.asarray(found, np.float64).reshape(-1, 5)
        active = [track for track in active if frame - track.frames[-1] <= max_gap + 1]
        sure = found[:, 4] >= min_score
        waiting = list(active)
        for rows, begins in ((found[sure], True), (found[~sure], False)):
            expected = np.array([track.expected(frame) for track in waiting]).reshape(-1, 4)
            pairs = _match(expected, rows[:, :4], min_overlap)
            for place, row in pairs:
                waiting[place].add(frame, rows[row, :4])
            taken = {place for place, _ in pairs}
            waiting = [track for place, track in enumerate(waiting) if place not in taken]
            if begins:
                for row in sorted(set(range(len(rows))) - {row for _, row in pairs}):
                    track = Track()
                    track.add(frame, rows[row, :4])
                    tracks.append(track)
                    active.append(track)
    return tracks


def filled(track: Track) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a track without its gaps, int64 ``[m]``, and boxes ``[m, 4]``, linear where it was unseen."""
    frames = np.arange(track.frames[0], track.frames[-1] + 1)
    boxes = np.array(track.boxes)
    return frames, np.stack([np.interp(frames, track.frames, column) for column in boxes.T], 1)


def _empty_between(a: Track, b: Track, seen: np.ndarray) -> int:
    """Frames of the longest stretch between two tracks with nobody ``seen`` ``[n_frames]``; 0 if they overlap."""
    between = seen[min(a.frames[-1], b.frames[-1]) + 1 : max(a.frames[0], b.frames[0])]
    edges = np.flatnonzero(np.diff(np.r_[True, between, True].astype(int)))  # where a stretch begins or ends
    return int(np.diff(edges)[::2].max(initial=0))


def main_person(tracks: Sequence[Track], n_frames: int, max_gap: int, min_frames: int = 3) -> np.ndarray:
    """Boxes of the main person: the track that is largest × longest, and its returns to an empty scene.

    Between the main person's leaving and a return, nobody of about that size is there for more than ``max_gap`` frames.
    Anything nearer in time, or while others are about, is another person, or the linking went wrong; a clip that
    changes persons in its middle would be a motion that nobody made.

    Args:
        min_frames: a track with fewer boxes is noise, unless no other is there.

    Returns:
        float32 ``[n_frames, 4]``, NaN in frames without the person.
    """
    result = np.full((n_frames, 4), np.nan, np.float32)
    long = [track for track in tracks if len(track.frames) >= min_frames] or list(tracks)
    if not long:
        return result
    ranked = sorted(long, key=lambda track: (-track.weight, track.frames[0]))
    smallest = MIN_RELATIVE_AREA * ranked[0].weight / len(ranked[0].frames)
    # A passer-by in the background does not fill a scene.
    large = [track for track in ranked if track.weight / len(track.frames) >= smallest]
    seen = np.zeros(n_frames, bool)
    for track in large:
        seen[track.frames[0] : track.frames[-1] + 1] = True
    chosen: list[Track] = []
    for track in large:
        if all(_empty_between(track, other, seen) > max_gap for other in chosen):
            chosen.append(track)
    for track in chosen:
        frames, boxes = filled(track)
        result[frames] = boxes
    return result
