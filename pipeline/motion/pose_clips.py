"""Stage `pose_clips`: key clips cut from the poses, judged and normalised."""

from __future__ import annotations

import zlib
from collections import Counter

import numpy as np

from pipeline.jobs import stage
from pipeline.motion.keyframes import clip_windows, select_keyframes
from pipeline.motion.normalise import normalise
from pipeline.motion.quality import clip_quality, keep_clips, largest_step
from pipeline.motion.settings import PoseClips
from pipeline.motion.skeleton import skeleton

# What decides about each reason that leaves a video without a key clip.
KEYS = {
    "no_person": "motion.poses.max_gap or min_person_confidence",
    "low_confidence": "motion.pose_clips.min_confidence",
    "person_jump": "motion.pose_clips.max_step",
    "pose_jump": "motion.pose_clips.min_cosine",
    "no_keyframes": "motion.keyframes",
    "other_frames": "motion.keyframes.path",
}


def select(keyframes: np.ndarray, n_frames: int, video_id: str, settings: PoseClips) -> np.ndarray:
    """Frames that clips are cut around, int32 ``[s]``: the key frames, or what they are compared with (DANCE Table 3).

    The other two always take ``per_video`` frames, or all of a shorter video.

    Args:
        keyframes: detected, ``[k]``.
        video_id: with the seed decides the random frames, whatever the shards are.
    """
    if settings.selection == "keyframes":
        return keyframes
    count = min(settings.per_video, n_frames)
    if settings.selection == "uniform":
        return ((2 * np.arange(count) + 1) * n_frames // (2 * count)).astype(np.int32)
    generator = np.random.default_rng([settings.seed, zlib.crc32(video_id.encode())])
    return np.sort(generator.choice(n_frames, count, replace=False)).astype(np.int32)


def cut(
    keypoints: np.ndarray,
    confidence: np.ndarray,
    present: np.ndarray,
    keyframes: np.ndarray,
    settings: PoseClips,
    hips,
) -> dict[str, np.ndarray]:
    """Key clips of one video.

    Args:
        keypoints: ``[F, J, 2]`` pixels; confidence ``[F, J]``; present ``[F]``; keyframes ``[k]``.

    Returns:
        ``poses`` float32 ``[s, L, J, 2]`` in [0, 1]; ``keyframe``, ``start`` int32 ``[s]``; ``mean_confidence``,
        ``min_cosine``, ``max_step`` float32 ``[s]``; ``kept`` bool ``[s]``; ``reason`` of each dropped clip.
    """
    keyframe = select_keyframes(keyframes, settings.per_video)
    start, frames = clip_windows(keyframe, len(keypoints), settings.length)  # [s], [s, L]
    # Key frames near the same end share a window; a clip that is there twice would be its own nearest neighbour.
    start, first = np.unique(start, return_index=True)
    keyframe, frames = keyframe[first], frames[first]
    points, sure = keypoints[frames], confidence[frames]  # [s, L, J, 2], [s, L, J]
    mean_confidence, min_cosine = clip_quality(points, sure, mode=settings.cosine_on, hips=hips)
    max_step = largest_step(points)
    kept, reason = keep_clips(
        mean_confidence,
        min_cosine,
        present[frames].all(1),
        max_step,
        min_confidence=settings.min_confidence,
        min_cosine_threshold=settings.min_cosine,
        max_step_threshold=settings.max_step,
    )
    return {
        "poses": normalise(points, settings.normalise),
        "keyframe": keyframe,
        "start": start,
        "mean_confidence": mean_confidence,
        "min_cosine": min_cosine,
        "max_step": max_step,
        "kept": kept,
        "reason": reason,
    }


def check_left(lost: dict[str, str], total: int, settings: PoseClips) -> None:
    """Stop where too few videos have a key clip left: nothing later could mend it.

    Args:
        lost: video id → the reason, ``key: words``; total: videos with poses.

    Raises:
        StageError: more than the allowed part is lost; a shard with a single one says nothing.
    """
    if len(lost) <= max(1, settings.max_failed_fraction * total):
        return
    (reason, count), *_ = Counter(words.partition(":")[0] for words in lost.values()).most_common()
    video_id, words = next((key, words) for key, words in lost.items() if words.startswith(reason))
    raise stage.StageError(
        f"{len(lost)} of {total} videos with poses have no key clip left, {count} of them for {reason} "
        f"(`{video_id}`: {words.partition(': ')[2]}); change {KEYS[reason]}, or allow it with "
        f"motion.pose_clips.max_failed_fraction = {settings.max_failed_fraction}"
    )


def build(job: stage.Job) -> None:
    """Write the key clips of one shard."""
    settings = PoseClips.model_validate(job.settings)
    ((poses, described),) = job.read_arrays("poses")
    keyframes = None
    if settings.selection == "keyframes":
        table, _ = job.read_table("keyframes")
        keyframes = dict(zip(table["video_id"].to_pylist(), table["frames"].to_pylist(), strict=True))
    joints = skeleton(described["skeleton"])

    parts: list[dict[str, np.ndarray]] = []
    ids: list[str] = []
    lost: dict[str, str] = {}
    for row, video_id in enumerate(described["video_id"]):
        span = slice(poses["offsets"][row], poses["offsets"][row + 1])
        n_frames = span.stop - span.start
        frames = np.zeros(0, np.int32)
        if keyframes is not None:
            frames = np.array(keyframes.get(video_id, ()), np.int32)
            if not len(frames):
                lost[video_id] = "no_keyframes: poses, but no key frame"
                continue
            if frames.max() >= n_frames:
                lost[video_id] = f"other_frames: key frames up to {frames.max()}, poses of {n_frames} frames"
                continue
        part = cut(
            *(poses[name][span] for name in ("keypoints", "confidence", "present")),
            select(frames, n_frames, video_id, settings),
            settings,
            joints.hips,
        )
        if not part["kept"].any():
            worst, count = Counter(part["reason"].tolist()).most_common(1)[0]
            figures = {"low_confidence": "mean_confidence", "person_jump": "max_step", "pose_jump": "min_cosine"}
            middle = f", median {np.median(part[figures[worst]]):.3g}" if worst in figures else ""
            lost[video_id] = f"{worst}: all {len(part['kept'])} key clips are dropped, {count} for this{middle}"
        parts.append(part)
        ids.append(video_id)
    for video_id, words in sorted(lost.items()):
        stage.logger.warning("%s: %s", video_id, words)
    check_left(lost, len(described["video_id"]), settings)
    failed = {item["video_id"]: item["reason"] for item in described["failed"]} | lost

    row_of = np.concatenate([np.full(len(part["kept"]), row) for row, part in enumerate(parts)] or [[]])
    shape = (settings.length, len(joints.joints), 2)
    arrays = {
        "poses": np.concatenate([part["poses"] for part in parts] or [np.zeros((0, *shape), np.float32)]),
        "row": row_of.astype(np.int32),
    }
    dtypes = {
        "keyframe": np.int32,
        "start": np.int32,
        "mean_confidence": np.float32,
        "min_cosine": np.float32,
        "max_step": np.float32,
        "kept": bool,
    }
    for name, dtype in dtypes.items():
        arrays[name] = np.concatenate([part[name] for part in parts] or [[]]).astype(dtype)
    reasons = [str(reason) for part in parts for reason in part["reason"]]
    job.write_arrays(
        "pose_clips",
        arrays,
        {"video_id": ids, "skeleton": described["skeleton"], "reason": reasons},
        n_ok=len(ids) - sum(not part["kept"].any() for part in parts),
        failed=failed,
        clips={"kept": int(arrays["kept"].sum()), "dropped": int((~arrays["kept"]).sum())},
    )


if __name__ == "__main__":
    stage.run("pose_clips", build)
