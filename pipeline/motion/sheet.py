"""Stage `pose_sheet`: whether poses are any, to the eye and in figures: skeletons over frames, and a row per video."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from pipeline.jobs import stage
from pipeline.motion.drawing import draw_pose
from pipeline.motion.quality import JUMPS, summed, warnings_of, words
from pipeline.motion.skeleton import Skeleton, skeleton
from pipeline.store.arrays import Arrays
from pipeline.store.atomic import replace_when_done

CLIPS, FRAMES, SIDE, HEADER = 10, 6, 176, 28
# Joints below it are not drawn.
SURE = 0.2
SCHEMA = pa.schema(
    {
        "video_id": pa.string(),
        "frames": pa.int32(),
        "found": pa.int32(),
        "confidence": pa.float32(),
        "clips": pa.int32(),
        "jumps": pa.int32(),
    }
)


def on_clip(keypoints: np.ndarray, height: int, width: int, size: int) -> np.ndarray:
    """Keypoints ``[…, 2]`` of a video's frame, in pixels of the square that `resize_and_crop` makes of it."""
    scaled = np.array([max(size, round(side * size / min(height, width))) for side in (width, height)])
    corner = (scaled - size) // 2
    return (keypoints + 0.5) * (scaled / [width, height]) - 0.5 - corner


def rows_of(poses: dict[str, np.ndarray], video_id: list[str], reasons: dict[str, list[str]]) -> list[dict[str, Any]]:
    """How good the poses of each video of a shard are: rows of the table `quality`.

    Args:
        poses: of the shard; reasons: id → of each of its key clips why it was dropped, empty for a kept one.
    """
    found = []
    for number, name in enumerate(video_id):
        span = slice(poses["offsets"][number], poses["offsets"][number + 1])
        present = poses["present"][span]
        clips = reasons.get(name, [])
        found.append(
            {
                "video_id": name,
                "frames": len(present),
                "found": int(present.sum()),
                "confidence": float(poses["confidence"][span][present].mean()) if present.any() else 0.0,
                "clips": len(clips),
                "jumps": sum(reason in JUMPS for reason in clips),
            }
        )
    return found


def row(clip: np.ndarray, keypoints: np.ndarray, confidence: np.ndarray, present: np.ndarray, joints: Skeleton):
    """Frames of one clip beside each other, with what was found in them: RGB uint8 ``[SIDE, n · SIDE, 3]``.

    Args:
        clip: ``[n, size, size, 3]``; keypoints: in its pixels ``[n, J, 2]``; confidence ``[n, J]``; present ``[n]``.
    """
    pictures = []
    for frame, points, sure, there in zip(clip, keypoints, confidence, present, strict=True):
        picture = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        if there:
            shown = np.where(sure[:, None] >= SURE, (points + 0.5) * SIDE / len(frame) - 0.5, np.nan)
            draw_pose(picture, shown, joints, SIDE / 2)
        label = f"{sure.mean():.2f}" if there else "nobody"
        cv2.putText(picture, label, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 3, cv2.LINE_AA)
        cv2.putText(picture, label, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        pictures.append(picture)
    return np.concatenate(pictures, 1)


def _of_video(poses: dict[str, np.ndarray], number: int, frames: np.ndarray) -> tuple[np.ndarray, ...]:
    """Keypoints, confidence and presence in some frames of the ``number``-th video of a shard."""
    span = slice(poses["offsets"][number], poses["offsets"][number + 1])
    frames = np.minimum(frames, span.stop - span.start - 1)
    return tuple(poses[name][span][frames] for name in ("keypoints", "confidence", "present"))


def _row(poses: dict[str, np.ndarray], number: int, clips: Arrays, place: int, joints: Skeleton) -> np.ndarray:
    """The row of a video: the ``number``-th of a shard's poses, the ``place``-th of a shard's clips."""
    about, clip = clips.attributes, clips.part("frames", place)
    shown = np.linspace(0, len(clip) - 1, FRAMES).round().astype(int)
    keypoints, confidence, present = _of_video(poses, number, clips.part("frame_index", place)[shown])
    points = on_clip(keypoints, about["height"][place], about["width"][place], clip.shape[1])
    return row(clip[shown], points, confidence, present, joints)


def _row_without_frames(poses: dict[str, np.ndarray], number: int, joints: Skeleton) -> np.ndarray:
    """The same where no video is read: on grey, in a square around all of the video's poses."""
    n_frames = poses["offsets"][number + 1] - poses["offsets"][number]
    keypoints, confidence, present = _of_video(poses, number, np.linspace(0, n_frames - 1, FRAMES).round().astype(int))
    corners = keypoints[present].reshape(-1, 2)
    corners = corners[np.isfinite(corners).all(1)]
    low, high = (corners.min(0), corners.max(0)) if len(corners) else (np.zeros(2), np.ones(2))
    extent = max((high - low).max(), 1e-6)
    points = ((keypoints - (low + high) / 2) / extent * 0.8 + 0.5) * SIDE
    return row(np.full((FRAMES, SIDE, SIDE, 3), 160, np.uint8), points, confidence, present, joints)


def build(job: stage.Job) -> None:
    """Write the sheet, some frames of some videos, evenly taken from all; and how good the poses of each video are."""
    shards = list(job.read_arrays("poses"))
    joints = skeleton(shards[0][1]["skeleton"])
    listed = [
        (video_id, arrays, number) for arrays, about in shards for number, video_id in enumerate(about["video_id"])
    ]
    every = np.unique(np.linspace(0, len(listed) - 1, CLIPS).round().astype(int)) if listed else []
    wanted = {video_id: (arrays, number) for video_id, arrays, number in (listed[k] for k in every)}
    rows = {}
    for path in job.given("clips"):
        with Arrays(path) as clips:
            for place, video_id in enumerate(clips.attributes["video_id"]):
                if video_id in wanted:
                    rows[video_id] = _row(*wanted[video_id], clips, place, joints)
    if not job.given("clips"):
        rows = {video_id: _row_without_frames(*place, joints) for video_id, place in wanted.items()}
    reasons: dict[str, list[str]] = defaultdict(list)
    for arrays, about in job.read_arrays("pose_clips"):
        for number, reason in zip(arrays["row"], about["reason"], strict=True):
            reasons[about["video_id"][number]].append(reason)
    judged = [item for arrays, about in shards for item in rows_of(arrays, about["video_id"], reasons)]
    quality = summed(judged)
    for sentence in warnings_of(quality):
        job.warn(sentence)
    text = words(quality)
    stage.logger.info("poses: %s", text)
    header = np.full((HEADER, FRAMES * SIDE, 3), 255, np.uint8)
    shown = text if job.given("clips") else f"{text}; drawn on grey: no video is read"
    cv2.putText(header, shown, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    sheet = np.concatenate([header, *(rows[video_id] for video_id in wanted if video_id in rows)])
    with replace_when_done(job.outputs["sheet"]) as temporary:
        cv2.imwrite(str(temporary), sheet[..., ::-1])
    job.write_table("quality", pa.Table.from_pylist(judged, SCHEMA), {"words": text})


if __name__ == "__main__":
    stage.run("pose_sheet", build)
