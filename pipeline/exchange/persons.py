"""Persons in a list of others, and which of them is the one that a video is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.data.tracks import MAX_STEP, MIN_OVERLAP, Track, areas, link, main_tracks, overlaps, steps


@dataclass(frozen=True)
class Person:
    """One person in one frame.

    Attributes:
        points: ``[J, 3]`` of x, y and confidence, see `absent`; box ``[4]`` as x0, y0, x1, y1.
        track: who it is, as the list says; None where it does not.
    """

    frame: int
    points: np.ndarray
    box: np.ndarray
    track: str | None = None

    @property
    def pose(self) -> np.ndarray:
        """``[J, 2]``, NaN where a joint is missing."""
        return np.where(absent(self.points)[:, None], np.nan, self.points[:, :2])


def absent(points: np.ndarray) -> np.ndarray:
    """Joints that were not found, bool ``[...]`` of ``[..., 3]``: NaN, (0, 0), (−1, −1), or no confidence."""
    xy = points[..., :2]
    return np.isnan(xy).any(-1) | (xy == 0).all(-1) | (xy == -1).all(-1) | (points[..., 2] == 0)


def boxes_of(keypoints: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Smallest boxes x0, y0, x1, y1 around the joints that are there; zeros where none is.

    Args:
        keypoints: ``[..., J, 2]``; sure: bool ``[..., J]``.

    Returns:
        float32 ``[..., 4]``.
    """
    low = np.where(sure[..., None], keypoints, np.inf).min(-2)
    high = np.where(sure[..., None], keypoints, -np.inf).max(-2)
    return np.where(sure.any(-1)[..., None], np.concatenate([low, high], -1), 0).astype(np.float32)


def jumps(listed: Sequence[Person], by_frame: Mapping[int, Sequence[Person]]) -> int:
    """How often a listed track leads to somebody else: to one who is far from where the person was going while another
    is nearer, or to one who is more than a body's extent away.

    Args:
        listed: in order of time; by_frame: all persons of the list.
    """
    found = 0
    track = Track()
    for person in listed:
        if track.frames:
            gap = person.frame - track.frames[-1]
            others = [other for other in by_frame[person.frame] if other is not person]
            expected = track.pose + track.velocity * gap
            moved, *nearer = np.nan_to_num(
                steps(expected, np.stack([other.pose for other in (person, *others)])) / gap, nan=np.inf
            )
            far = moved > MAX_STEP and overlaps(track.boxes[-1][None], person.box[None])[0, 0] < MIN_OVERLAP
            found += bool(far and min([1.0, *nearer]) < moved)
        track.add(person.frame, person.box, pose=person.pose)
    return found


def main_person(persons: Iterable[Person], max_gap: int) -> tuple[list[Person], str]:
    """One person per frame, the same one all the time.

    Where the list says who is who, that is believed as long as nobody jumps, and it is the person who covers most over
    all frames. Else persons are linked by overlap and pose, as our own detections are, and it is the main one of these.

    Args:
        max_gap: frames that a person may be unseen and still be the same.

    Returns:
        persons in order of time, and what was chosen, in words; empty where there was no choice.
    """
    by_frame: dict[int, list[Person]] = defaultdict(list)
    for person in persons:
        by_frame[person.frame].append(person)
    frames = sorted(by_frame)
    if all(len(found) == 1 for found in by_frame.values()):
        return [by_frame[frame][0] for frame in frames], ""
    tracks: dict[str | None, list[Person]] = defaultdict(list)
    for frame in frames:
        for person in by_frame[frame]:
            tracks[person.track].append(person)
    unnamed = None in tracks or any(a.frame == b.frame for track in tracks.values() for a, b in pairwise(track))
    n_jumps = 0 if unnamed else sum(jumps(track, by_frame) for track in tracks.values())
    if not unnamed and not n_jumps:
        covered = {name: sum(areas(np.array([person.box for person in track]))) for name, track in tracks.items()}
        main = max(sorted(covered), key=covered.__getitem__)
        return tracks[main], f"the largest of {len(tracks)} persons, as listed"
    first, end = frames[0], frames[-1] + 1
    listed = [by_frame.get(frame, []) for frame in range(first, end)]
    linked = main_tracks(
        link(
            [np.array([[*person.box, 1.0] for person in found]).reshape(-1, 5) for found in listed],
            max_gap,
            poses=[np.stack([person.pose for person in found]) if found else np.zeros((0, 0, 2)) for found in listed],
        ),
        end - first,
        max_gap,
    )
    chosen = {
        frame: listed[frame][row] for track in linked for frame, row in zip(track.frames, track.rows, strict=True)
    }
    why = f"the list changes persons {n_jumps} times" if n_jumps else "the list does not say who is who"
    return [chosen[frame] for frame in sorted(chosen)], f"linked by overlap and pose: {why}"
