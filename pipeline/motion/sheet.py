"""Stage `pose_sheet`: skeletons over frames, and how many people were found: whether poses are any, to the eye."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.jobs import stage
from pipeline.motion.drawing import draw_pose
from pipeline.motion.skeleton import Skeleton, skeleton
from pipeline.store.arrays import Arrays
from pipeline.store.atomic import replace_when_done

CLIPS, FRAMES, SIDE, HEADER = 10, 6, 176, 28
# Joints below it are not drawn.
SURE = 0.2


def on_clip(keypoints: np.ndarray, height: int, width: int, size: int) -> np.ndarray:
    """Keypoints ``[…, 2]`` of a video's frame, in pixels of the square that `resize_and_crop` makes of it."""
    scaled = np.array([max(size, round(side * size / min(height, width))) for side in (width, height)])
    corner = (scaled - size) // 2
    return (keypoints + 0.5) * (scaled / [width, height]) - 0.5 - corner


def words(confidence: np.ndarray, present: np.ndarray, reasons: list[str]) -> str:
    """How good the poses of all videos are.

    Args:
        confidence: ``[F, J]``; present: ``[F]``; reasons: of each dropped key clip, empty for a kept one.
    """
    mean = f", mean confidence {confidence[present].mean():.2f}" if present.any() else ""
    dropped = f"; of {len(reasons)} key clips {reasons.count('pose_jump')} jump" if reasons else ""
    return f"person found in {present.mean():.1%} of {len(present)} frames{mean}{dropped}"


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


def _row(poses: dict[str, np.ndarray], number: int, clips: Arrays, place: int, joints: Skeleton) -> np.ndarray:
    """The row of a video: the ``number``-th of a shard's poses, the ``place``-th of a shard's clips."""
    about, clip = clips.attributes, clips.part("frames", place)
    shown = np.linspace(0, len(clip) - 1, FRAMES).round().astype(int)
    span = slice(poses["offsets"][number], poses["offsets"][number + 1])
    frames = np.minimum(clips.part("frame_index", place)[shown], span.stop - span.start - 1)
    keypoints, confidence, present = (poses[name][span][frames] for name in ("keypoints", "confidence", "present"))
    points = on_clip(keypoints, about["height"][place], about["width"][place], clip.shape[1])
    return row(clip[shown], points, confidence, present, joints)


def build(job: stage.Job) -> None:
    """Write the sheet: some frames of some videos, evenly taken from all."""
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
    reasons = [reason for _, about in job.read_arrays("pose_clips") for reason in about["reason"]]
    confidence, present = (np.concatenate([arrays[name] for arrays, _ in shards]) for name in ("confidence", "present"))
    text = words(confidence, present, reasons)
    stage.logger.info("poses: %s", text)
    header = np.full((HEADER, FRAMES * SIDE, 3), 255, np.uint8)
    cv2.putText(header, text, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    sheet = np.concatenate([header, *(rows[video_id] for video_id in wanted if video_id in rows)])
    with replace_when_done(job.outputs["sheet"]) as temporary:
        cv2.imwrite(str(temporary), sheet[..., ::-1])


if __name__ == "__main__":
    stage.run("pose_sheet", build)
