"""Persons of single frames, linked into tracks; and which of the tracks are the main person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

# A further track continues the main person only if it is at least so large, as a part of the main track's mean area:
# who enters an empty scene again is about as large as before, a passer-by in the background is not.
MIN_RELATIVE_AREA = 0.25
# Share of the last displacement in the smoothed velocity of a track.
SMOOTHING = 0.5
# A step above it between adjacent frames leads to somebody else; see `steps`. In 99.9 % of the key clips that Penn
# Action annotates no step reaches 0.1; to a person who stands close beside it takes 0.3.
MAX_STEP = 0.25
# Boxes with at least this intersection over union may be the same person's.
MIN_OVERLAP = 0.3
# Joints that two poses must share to be compared.
MIN_COMMON = 3


@dataclass
class Track:
    """One person over time.

    Attributes:
        frames: increasing frame numbers ``n``; boxes ``n`` rows of x0, y0, x1, y1.
        rows: which of its frame's detections each box is, ``n``.
        pose: the last one ``[J, 2]``, where poses are known.
    """

    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    pose: np.ndarray | None = None

    def add(self, frame: int, box: np.ndarray, row: int = 0, pose: np.ndarray | None = None) -> None:
        if self.frames:
            moved = (centre(box) - centre(self.boxes[-1])) / (frame - self.frames[-1])
            # A new track has no velocity to smooth with.
            known = SMOOTHING if len(self.frames) > 1 else 1.0
            self.velocity = (1 - known) * self.velocity + known * moved
        self.frames.append(frame)
        self.boxes.append(np.asarray(box, np.float64))
        self.rows.append(row)
        self.pose = pose

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


def steps(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far poses moved: the median distance over the joints that both have, in extents of the smaller pose.

    The extent is the diagonal of the box around these joints. To another person, beside, behind or before the first
    one, it is a large step, however alike the two hold themselves.

    Args:
        before, after: ``[..., J, 2]``; a joint with a NaN is missing.

    Returns:
        float64 ``[...]``; NaN where fewer than `MIN_COMMON` joints are in both.
    """
    both = np.isfinite(before).all(-1) & np.isfinite(after).all(-1)  # [..., J]
    count = both.sum(-1)
    known = count >= MIN_COMMON
    extent = np.inf
    for poses in (before, after):
        low = np.where(both[..., None], poses, np.inf).min(-2)
        high = np.where(both[..., None], poses, -np.inf).max(-2)
        extent = np.minimum(extent, np.linalg.norm(np.where(known[..., None], high - low, 1), axis=-1))
    distance = np.linalg.norm(np.where(both[..., None], after - before, np.inf), axis=-1)
    distance.sort(-1)  # missing joints last
    middle = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count, both.shape[-1] - 1) // 2], -1)
    median = np.take_along_axis(distance, middle, -1).mean(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known, np.where(median > 0, median / extent, 0), np.nan)


def _match(likeness: np.ndarray, allowed: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows and columns with the largest summed likeness, none that is not allowed."""
    from scipy.optimize import linear_sum_assignment

    if not likeness.size:
        return []
    # What must not be paired costs as much as staying alone, so that it never crowds out a pair that counts.
    rows, columns = linear_sum_assignment(np.where(allowed, -likeness, 0.0))
    return [(r, c) for r, c in zip(rows, columns, strict=True) if allowed[r, c]]


def _nearness(tracks: Sequence[Track], poses: np.ndarray, frame: int) -> np.ndarray:
    """1 for the expected pose, 0 from `MAX_STEP` per frame on: ``[n, k]`` of tracks and poses ``[k, J, 2]``."""
    if not tracks or not len(poses):
        return np.zeros((len(tracks), len(poses)))
    gap = np.array([frame - track.frames[-1] for track in tracks])
    moved = np.stack([track.velocity for track in tracks]) * gap[:, None]
    expected = np.stack([track.pose for track in tracks]) + moved[:, None]  # [n, J, 2]
    return np.clip(1 - np.nan_to_num(steps(expected[:, None], poses[None]), nan=np.inf) / MAX_STEP / gap[:, None], 0, 1)


def link(
    detections: Sequence[np.ndarray],
    max_gap: int,
    min_score: float = 0.5,
    min_overlap: float = MIN_OVERLAP,
    poses: Sequence[np.ndarray] | None = None,
) -> list[Track]:
    """Boxes of successive frames that belong to one person.

    Sure boxes are paired first, then the unsure ones with the tracks that are left, because a hidden person has an
    unsure box (ByteTrack, Zhang et al. 2022). A track without a box is kept for ``max_gap`` frames, moving on.

    Args:
        detections: for each frame ``[k, 5]``: x0, y0, x1, y1, score.
        max_gap: frames that a person may be unseen and still be the same.
        min_score: unsure boxes continue tracks, but begin none.
        min_overlap: intersection over union with the expected place.
        poses: for each frame ``[k, J, 2]``, where they are known: the nearer pose continues a track, and one within
            `MAX_STEP` does so without an overlap.
    """
    tracks: list[Track] = []
    active: list[Track] = []
    for frame, found in enumerate(detections):
        found = np.asarray(found, np.float64).reshape(-1, 5)
        active = [track for track in active if frame - track.frames[-1] <= max_gap + 1]
        sure = found[:, 4] >= min_score
        waiting = list(active)
        for rows, begins in ((np.flatnonzero(sure), True), (np.flatnonzero(~sure), False)):
            expected = np.array([track.expected(frame) for track in waiting]).reshape(-1, 4)
            likeness = overlaps(expected, found[rows, :4])
            allowed = likeness >= min_overlap
            if poses is not None:
                near = _nearness(waiting, poses[frame][rows], frame)
                likeness, allowed = likeness + near, allowed | (near > 0)
            pairs = [(waiting[place], rows[column]) for place, column in _match(likeness, allowed)]
            waiting = [track for track in waiting if all(track is not taken for taken, _ in pairs)]
            if begins:
                new = [(Track(), row) for row in rows if all(row != taken for _, taken in pairs)]
                tracks += [track for track, _ in new]
                active += [track for track, _ in new]
                pairs += new
            for track, row in pairs:
                track.add(frame, found[row, :4], int(row), None if poses is None else poses[frame][row])
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


def main_tracks(tracks: Sequence[Track], n_frames: int, max_gap: int, min_frames: int = 3) -> list[Track]:
    """The main person: the track that is largest × longest, and its returns to an empty scene.

    Between the main person's leaving and a return, nobody of about that size is there for more than ``max_gap`` frames.
    Anything nearer in time, or while others are about, is another person, or the linking went wrong; a clip that
    changes persons in its middle would be a motion that nobody made.

    Args:
        min_frames: a track with fewer boxes is noise, unless no other is there.
    """
    long = [track for track in tracks if len(track.frames) >= min_frames] or list(tracks)
    if not long:
        return []
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
    return chosen


def main_person(tracks: Sequence[Track], n_frames: int, max_gap: int) -> np.ndarray:
    """Boxes of the main person, see `main_tracks`: float32 ``[n_frames, 4]``, NaN in frames without the person."""
    result = np.full((n_frames, 4), np.nan, np.float32)
    for track in main_tracks(tracks, n_frames, max_gap):
        frames, boxes = filled(track)
        result[frames] = boxes
    return result
