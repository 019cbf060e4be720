"""Motion concepts that are read from poses: how like a medoid a video's key clips are.

DANCE regresses them from the video feature (eq. 4), which knows object and scene too. Here nothing but poses is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.special import softmax

from pipeline.methods.dance.settings import Reading


def cosine(clips: np.ndarray, weight: np.ndarray, medoids: np.ndarray) -> np.ndarray:
    """Cosine of every clip to every medoid, over the joints that are seen.

    Args:
        clips: ``[s, L, J, 2]``; weight: of their joints, ``[s, L, J]``, 0 for one that is missing.
        medoids: ``[M, L, J, 2]``.

    Returns:
        float64 ``[s, M]``; 0 where a clip has no joint.
    """
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (clips, medoids))
    w = np.repeat(weight.reshape(len(weight), -1), 2, axis=1).astype(np.float64)
    scale = np.sqrt((w * a * a).sum(1)[:, None] * (w @ (b * b).T))
    return (w * a) @ b.T / np.where(scale > 0, scale, 1)


def movement(clips: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What moves: each joint's way around its own mean place over the clip, ``[s, L, J, 2]``."""
    w = weight[..., None]
    mean = (w * clips).sum(1, keepdims=True) / np.maximum(w.sum(1, keepdims=True), 1e-12)
    return clips - mean


def read_clips(
    clips: np.ndarray,
    weight: np.ndarray,
    medoids: np.ndarray,
    settings: Reading,
    concept_of: np.ndarray | None = None,
) -> np.ndarray:
    """Activations of clips ``[s, M]`` in [0, 1]: exp((cos − 1)/τ), or the same among all medoids (a softmax).

    Args:
        clips, weight, medoids: see `cosine`.
        concept_of: the concept of each medoid, int64; without it each is one. A merged concept is like a clip as its
            most alike medoid is; among all, it has the shares of its medoids together.
    """
    score = (cosine(clips, weight, medoids) - 1) / settings.temperature
    if settings.movement_temperature is not None:
        seen = np.ones(medoids.shape[:3])
        moving = cosine(movement(clips, weight), weight, movement(medoids, seen))
        score += (moving - 1) / settings.movement_temperature
    values = softmax(score, 1) if settings.among_concepts else np.exp(score)
    if concept_of is None or len(values.T) == concept_of.max() + 1:
        return values
    result = np.zeros((len(values), concept_of.max() + 1))
    (np.add if settings.among_concepts else np.maximum).at(result.T, concept_of, values.T)
    return result


def read_video(
    clips: Mapping[str, np.ndarray],
    keypoints: np.ndarray,
    confidence: np.ndarray,
    present: np.ndarray,
    medoids: np.ndarray,
    settings: Reading,
    concept_of: np.ndarray | None = None,
) -> np.ndarray:
    """Activations of a video ``[M]``: those of its most alike clip; NaN where it has no clip with a person throughout.

    Clips that are too poor to form concepts are read nevertheless: their missing joints do not count.

    Args:
        clips: ``poses`` ``[s, L, J, 2]`` and ``start`` ``[s]``, as `pipeline.motion.pose_clips.cut` gives them.
        keypoints: of the video, ``[F, J, 2]``; confidence: ``[F, J]``; present: ``[F]``.
        medoids: ``[M, L, J, 2]``; concept_of: see `read_clips`.
    """
    poses = clips["poses"]
    frames = np.minimum(clips["start"][:, None] + np.arange(poses.shape[1]), len(present) - 1)  # [s, L]
    usable = present[frames].all(1)
    if not usable.any():
        return np.full(len(medoids) if concept_of is None else concept_of.max() + 1, np.nan)
    seen = np.where(np.isfinite(keypoints).all(2), confidence.clip(0, 1), 0)  # [F, J]
    return read_clips(poses[usable], seen[frames[usable]], medoids, settings, concept_of).max(0)


def readings_of(
    poses: Mapping[str, np.ndarray],
    posed: Sequence[str],
    clips: Mapping[str, np.ndarray],
    clipped: Sequence[str],
    medoids: np.ndarray,
    settings: Reading,
    concept_of: np.ndarray | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Id and activations ``[M]`` of every video of a shard that has key clips, see `read_video`.

    Args:
        poses, clips: arrays of the artifacts `poses` and `pose_clips`; posed, clipped: the ids of their videos.
    """
    row_of = {key: row for row, key in enumerate(posed)}
    for number, video_id in enumerate(clipped):
        span = slice(*poses["offsets"][row_of[video_id] :][:2])
        own = clips["row"] == number
        part = {name: clips[name][own] for name in ("poses", "start")}
        seen = (poses[name][span] for name in ("keypoints", "confidence", "present"))
        yield video_id, read_video(part, *seen, medoids, settings, concept_of)
