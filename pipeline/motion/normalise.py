"""From poses in pixels to the vectors that are clustered."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np


def interpolate_gaps(
    keypoints: np.ndarray, confidence: np.ndarray, has_person: np.ndarray, max_gap: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fill short gaps in a track of poses, linearly between the frames on either side.

    Frames at the start or the end of the video have only one side and stay missing, as do gaps
    longer than `max_gap`. The input is not changed.

    Args:
        keypoints: pixel coordinates `[F, J, 2]`.
        confidence: `[F, J]`, interpolated like the coordinates.
        has_person: bool `[F]`, false in a gap.
        max_gap: longest gap that is filled, in frames; 0 fills none.

    Returns:
        keypoints, confidence and has_person with the gaps filled, and interpolated, bool `[F]`,
        true in the frames that were filled.

    Raises:
        ValueError: shapes do not fit, or `max_gap` is negative.
    """
    n_frames = len(keypoints)
    if keypoints.ndim != 3 or confidence.shape != keypoints.shape[:2] or has_person.shape != (n_frames,):
        raise ValueError(
            "keypoints, confidence and has_person must have shapes [F, J, 2], [F, J] and [F],"
            f" got {list(keypoints.shape)}, {list(confidence.shape)} and {list(has_person.shape)}"
        )
    if max_gap < 0:
        raise ValueError(f"max_gap must be 0 frames or more, got {max_gap}")
    keypoints, confidence = keypoints.copy(), confidence.copy()
    interpolated = np.zeros(n_frames, dtype=bool)
    person = np.flatnonzero(has_person)
    for before, after in pairwise(person):
        if not 1 <= after - before - 1 <= max_gap:
            continue
        gap = slice(before + 1, after)
        weight = np.arange(1, after - before) / (after - before)  # [gap]
        for track in (keypoints, confidence):
            w = weight.reshape(-1, *[1] * (track.ndim - 1))
            track[gap] = (1 - w) * track[before] + w * track[after]
        interpolated[gap] = True
    return keypoints, confidence, has_person | interpolated, interpolated


def normalise(keypoints: np.ndarray, mode: Literal["clip", "frame_axis"] = "clip") -> np.ndarray:
    """Make poses comparable across positions and sizes in the picture.

    "clip" moves the centre of each pose's bounding box to (0.5, 0.5) and divides by one number per
    clip: the longest box side, horizontal or vertical, over all its frames. Every coordinate is
    then in [0, 1]. The centre is per frame because the supplement centres "each pose": a walk across the
    picture and a walk followed by the camera become the same motion. The scale is per clip and
    common to both axes because both carry motion: a crouch is a box that gets lower, a jumping jack
    one that gets wider, and a lying pose is told from a standing one by its aspect ratio. A scale
    per frame would stretch all of them to the same box.

    "frame_axis" stretches each axis of each frame from its smallest to its largest coordinate to
    [0, 1], as DANCE's published code does.

    Args:
        keypoints: `[n, L, J, 2]`; a joint with a NaN is missing.
        mode: "clip" or "frame_axis".

    Returns:
        float32 `[n, L, J, 2]` in [0, 1], never NaN. Missing joints, and axes (frame_axis) or clips
        (clip) whose joints all lie in one point, are 0.5.

    Raises:
        ValueError: the shape does not fit, or the mode is unknown.
    """
    if keypoints.ndim != 4 or keypoints.shape[-1] != 2:
        raise ValueError(f"keypoints must have shape [n, L, J, 2], got {list(keypoints.shape)}")
    if mode not in ("clip", "frame_axis"):
        raise ValueError(f"mode must be 'clip' or 'frame_axis', got {mode!r}")
    poses = keypoints.astype(np.float64)
    present = np.isfinite(poses).all(axis=-1, keepdims=True)  # [n, L, J, 1]
    lowest = np.where(present, poses, np.inf).min(axis=2, keepdims=True, initial=np.inf)
    highest = np.where(present, poses, -np.inf).max(axis=2, keepdims=True, initial=-np.inf)
    seen = present.any(axis=2, keepdims=True)  # [n, L, 1, 1]
    lowest, highest = np.where(seen, lowest, 0), np.where(seen, highest, 0)
    scale = highest - lowest  # [n, L, 1, 2]
    if mode == "clip":
        scale = scale.max(axis=(1, 2, 3), keepdims=True, initial=0)  # [n, 1, 1, 1]
    centred = np.where(present, poses - (lowest + highest) / 2, 0)
    scaled = centred / np.where(scale > 0, scale, 1) + 0.5
    return np.clip(scaled, 0, 1).astype(np.float32)
