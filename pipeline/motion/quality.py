"""Quality of pose clips, and which of them to keep; and whether the poses of a data set are any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.data.tracks import steps

# Reasons to drop a key clip that tell of another person, or of no person at all.
JUMPS = ("person_jump", "pose_jump")
# Levels below which motion concepts mean little, and above which jumps are too many (docs/encoders.md has the figures
# of train and validation videos that they lie between).
LEAST_FOUND, LEAST_CONFIDENCE, MOST_JUMPS = 0.75, 0.5, 0.2


def clip_quality(
    keypoints: np.ndarray,
    confidence: np.ndarray,
    mode: Literal["raw", "centred"] = "raw",
    *,
    hips: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Score pose clips for low confidence and for jumps between adjacent frames.

    DANCE supplement 1.3.1. A pair of adjacent poses is compared by the cosine similarity of their
    flattened coordinates, on the joints that both have. "raw" compares pixel coordinates, as DANCE
    does: they all point away from the picture's corner, so that even unrelated poses are similar.
    "centred" first moves each pose's root to the origin: the middle of the hips, or the mean of
    the compared joints if a hip is missing in either frame. Thresholds do not carry over from one
    mode to the other.

    Args:
        keypoints: pixel coordinates `[n, L, J, 2]`; a joint with a NaN is missing.
        confidence: `[n, L, J]`; missing joints count as 0.
        mode: "raw" or "centred".
        hips: indices of the left and the right hip; None centres on the mean of the joints.

    Returns:
        mean_confidence: float32 `[n]`, mean over frames and joints.
        min_cosine: float32 `[n]`, smallest similarity of adjacent poses; 1 for clips of a single
            frame. NaN if some adjacent poses have no joint in common.

    Raises:
        ValueError: shapes do not fit, or the mode is unknown.
    """
    _check_shapes(keypoints, confidence)
    if mode not in ("raw", "centred"):
        raise ValueError(f"mode must be 'raw' or 'centred', got {mode!r}")
    n, length = keypoints.shape[:2]
    present = np.isfinite(keypoints).all(axis=-1)  # [n, L, J]
    known_confidence = np.where(present, np.nan_to_num(confidence.astype(np.float64)), 0.0)
    mean_confidence = known_confidence.mean(axis=(1, 2)).astype(np.float32)
    if length == 1:
        return mean_confidence, np.ones(n, dtype=np.float32)

    both = present[:, :-1] & present[:, 1:]  # [n, L-1, J]
    poses = np.where(present[..., None], keypoints, 0).astype(np.float64)
    before = _centred(poses[:, :-1], both, mode, hips)  # [n, L-1, J, 2]
    after = _centred(poses[:, 1:], both, mode, hips)
    product = (before * after).sum(axis=(-2, -1))  # [n, L-1]
    norms = np.sqrt((before**2).sum(axis=(-2, -1)) * (after**2).sum(axis=(-2, -1)))
    # Poses that have shrunk to their root have no direction: equal to each other, unlike every
    # other pose.
    equal = (before == after).all(axis=(-2, -1))
    cosine = np.where(norms > 0, product / np.where(norms > 0, norms, 1), equal)
    cosine[~both.any(axis=-1)] = np.nan
    return mean_confidence, cosine.min(axis=1).astype(np.float32)


def largest_step(keypoints: np.ndarray) -> np.ndarray:
    """How far the person moves between two adjacent frames at most, see `pipeline.data.tracks.steps`.

    Cosines of centred poses do not see that another person takes the place of one who holds himself alike.

    Args:
        keypoints: pixel coordinates `[n, L, J, 2]`; a joint with a NaN is missing.

    Returns:
        float32 `[n]`; 0 for clips of a single frame, infinity if some adjacent poses share too few joints.
    """
    moved = np.nan_to_num(steps(keypoints[:, :-1].astype(np.float64), keypoints[:, 1:].astype(np.float64)), nan=np.inf)
    return moved.max(axis=1, initial=0).astype(np.float32)


def keep_clips(
    mean_confidence: np.ndarray,
    min_cosine: np.ndarray,
    has_person: np.ndarray,
    max_step: np.ndarray | None = None,
    *,
    min_confidence: float = 0.5,
    min_cosine_threshold: float = 0.92,
    max_step_threshold: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Decide which pose clips to keep; a clip is dropped whole.

    The defaults are DANCE's (Table 7 of the supplement), for poses compared in raw pixels.

    Args:
        mean_confidence: `[n]`, from `clip_quality`.
        min_cosine: `[n]`, from `clip_quality`; NaN fails.
        has_person: bool `[n]` or, per frame, `[n, L]`; a clip needs a person in every frame.
        max_step: `[n]`, from `largest_step`.
        min_confidence: smallest mean confidence that is kept.
        min_cosine_threshold: smallest similarity of adjacent poses that is kept.
        max_step_threshold: largest step that is kept; None keeps all.

    Returns:
        kept: bool `[n]`.
        reason: str `[n]`: "" or the first of "no_person", "low_confidence", "person_jump",
            "pose_jump" that applies.
    """
    person = has_person.reshape(len(has_person), -1).all(axis=1)
    far = np.zeros(len(person), bool) if max_step_threshold is None else ~(max_step <= max_step_threshold)
    reason = np.select(
        [
            ~person,
            ~(mean_confidence >= min_confidence),  # not "<": NaN must fail
            far,
            ~(min_cosine >= min_cosine_threshold),
        ],
        ["no_person", "low_confidence", "person_jump", "pose_jump"],
        default="",
    )
    return reason == "", reason


@dataclass(frozen=True)
class Quality:
    """Of the poses of a data set.

    Attributes:
        frames: how many there are; found: part of them in which a person was found.
        confidence: mean of the joints in these, 0 without any.
        clips: key clips; jumps: part of them that was dropped because the person or the pose jumps.
    """

    frames: int
    found: float
    confidence: float
    clips: int
    jumps: float


def summed(rows: Iterable[Mapping[str, Any]]) -> Quality:
    """Quality of all videos.

    Args:
        rows: of each video ``frames``, ``found``, ``confidence``, ``clips`` and ``jumps``, as the table has them.
    """
    rows = list(rows)
    frames, found, clips, jumps = (sum(row[name] for row in rows) for name in ("frames", "found", "clips", "jumps"))
    confidence = sum(row["found"] * row["confidence"] for row in rows) / max(1, found)
    return Quality(frames, found / max(1, frames), confidence, clips, jumps / max(1, clips))


def words(quality: Quality) -> str:
    """How good the poses are."""
    mean = f", mean confidence {quality.confidence:.2f}" if quality.found else ""
    dropped = f"; of {quality.clips} key clips {round(quality.jumps * quality.clips)} jump" if quality.clips else ""
    return f"person found in {quality.found:.1%} of {quality.frames} frames{mean}{dropped}"


def warnings_of(quality: Quality) -> list[str]:
    """What a person must know of poses on which motion concepts cannot rest."""
    look = "look at explain/poses.png, and at docs/encoders.md for better encoders"
    found = []
    if quality.found < LEAST_FOUND:
        found.append(f"a person is found in {quality.found:.0%} of the frames, less than {LEAST_FOUND:.0%}: {look}")
    if quality.found and quality.confidence < LEAST_CONFIDENCE:
        found.append(
            f"joints have a mean confidence of {quality.confidence:.2f}, less than {LEAST_CONFIDENCE}: skeletons "
            f"may be drawn into the air, and motion concepts then mean nothing; {look}"
        )
    if quality.jumps > MOST_JUMPS:
        found.append(
            f"poses jump in {quality.jumps:.0%} of the key clips, more than {MOST_JUMPS:.0%}: another person is "
            f"taken for the first one, or none is followed; {look}"
        )
    return found


def _centred(poses: np.ndarray, compared: np.ndarray, mode: str, hips: tuple[int, int] | None) -> np.ndarray:
    """Poses `[n, L-1, J, 2]` relative to their root, zero at joints that are not compared."""
    mask = compared[..., None]
    if mode == "centred":
        counts = np.maximum(mask.sum(axis=-2), 1)
        root = (poses * mask).sum(axis=-2) / counts  # [n, L-1, 2]
        if hips is not None:
            left, right = hips
            hips_present = compared[..., left] & compared[..., right]
            middle = (poses[..., left, :] + poses[..., right, :]) / 2
            root = np.where(hips_present[..., None], middle, root)
        poses = poses - root[..., None, :]
    return poses * mask


def _check_shapes(keypoints: np.ndarray, confidence: np.ndarray) -> None:
    if keypoints.ndim != 4 or keypoints.shape[-1] != 2 or 0 in keypoints.shape[1:]:
        raise ValueError(f"keypoints must have shape [n, L, J, 2], got {list(keypoints.shape)}")
    if confidence.shape != keypoints.shape[:3]:
        raise ValueError(
            f"confidence must have shape {list(keypoints.shape[:3])} like the keypoints, got {list(confidence.shape)}"
        )
