"""Stage `poses`: keypoints of the main person in every frame, so that later choices never estimate again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline import stage
from pipeline.config import Poses
from pipeline.data.isolated import Decoder
from pipeline.data.readers import VideoError, open_video
from pipeline.data.table import read_index
from pipeline.motion.importers import read_penn_action
from pipeline.motion.normalise import interpolate_gaps
from pipeline.motion.skeleton import mirrored, skeleton
from pipeline.store.arrays import ragged


def person_boxes(keypoints: np.ndarray, confidence: np.ndarray, whole: np.ndarray, min_confidence: float) -> np.ndarray:
    """Box around the confident joints of each frame; the whole frame where fewer than 3 joints are confident.

    Args:
        keypoints: ``[n, J, 2]`` pixels; confidence ``[n, J]``; whole ``[4]`` as x0, y0, x1, y1.

    Returns:
        float32 ``[n, 4]``.
    """
    sure = confidence >= min_confidence
    low = np.where(sure[..., None], keypoints, np.inf).min(1)
    high = np.where(sure[..., None], keypoints, -np.inf).max(1)
    boxes = np.concatenate([low, high], 1)
    boxes[sure.sum(1) < 3] = whole
    # Joints end at the ankles and ears; half a head and the feet stick out, which the padding of the estimator covers.
    return np.clip(boxes, whole[[0, 1, 0, 1]], whole[[2, 3, 2, 3]]).astype(np.float32)


def estimate_video(
    path: Path, estimator, settings: Poses, batch_size: int, opener: Callable = open_video
) -> dict[str, np.ndarray]:
    """Poses of one video: ``keypoints`` ``[F, J, 2]``, ``confidence`` ``[F, J]``, ``box`` ``[F, 4]``.

    Args:
        opener: `open_video`, or the same of an isolated decoder.

    Raises:
        VideoError: the video cannot be read.
    """
    import torch

    keypoints, confidences, boxes = [], [], []
    with opener(path) as video:
        for _, batch in video.batches(batch_size):
            frames = torch.from_numpy(batch)
            whole = np.array([0, 0, batch.shape[2] - 1, batch.shape[1] - 1], np.float32)
            box = np.repeat(whole[None], len(batch), 0)
            # The first look of two only has to find the person.
            last = settings.boxes == "whole_frame"
            points, confidence = estimator(frames, torch.from_numpy(box), 1.0, settings.flip_test and last)
            if not last:
                box = person_boxes(
                    points.cpu().numpy(),
                    confidence.cpu().numpy(),
                    whole,
                    settings.min_joint_confidence,
                )
                points, confidence = estimator(frames, torch.from_numpy(box), settings.box_padding, settings.flip_test)
            keypoints.append(points.cpu().numpy())
            confidences.append(confidence.cpu().numpy())
            boxes.append(person_boxes(keypoints[-1], confidences[-1], whole, settings.min_joint_confidence))
    return {
        "keypoints": np.concatenate(keypoints),
        "confidence": np.concatenate(confidences),
        "box": np.concatenate(boxes),
    }


def finish(item: dict[str, np.ndarray], settings: Poses) -> dict[str, np.ndarray]:
    """Decide in which frames a person is, and fill short gaps.

    Raises:
        VideoError: no frame holds a person.
    """
    present = item.pop("present", None)
    if present is None:
        present = item["confidence"].mean(1) >= settings.min_person_confidence
    if not present.any():
        raise VideoError("no_person", "no frame holds a person above min_person_confidence")
    keypoints, confidence, present, interpolated = interpolate_gaps(
        item["keypoints"], item["confidence"], present, settings.max_gap
    )
    return {
        "keypoints": keypoints.astype(np.float32),
        "confidence": confidence.astype(np.float32),
        "box": item["box"].astype(np.float32),
        "present": present,
        "interpolated": interpolated,
    }


def build(job: stage.Job) -> None:
    """Write the poses of one shard, computed or imported."""
    settings = Poses.model_validate(job.settings)
    videos = read_index(job)
    joints = skeleton(settings.skeleton)
    extra = {}
    done: list[dict[str, np.ndarray]] = []
    ids: list[str] = []
    failed: dict[str, str] = {}
    with Decoder(**job.runtime.get("decoder", {})) as decoder:
        if settings.source == "computed":
            from pipeline import checkpoints
            from pipeline.motion.vitpose import PoseEstimator

            estimator = PoseEstimator(settings.model, settings.revision, settings.expert, mirrored(joints))
            size = checkpoints.batch_size("poses", 64)
            extra = {
                "weights": checkpoints.weights_digest(settings.model, settings.revision),
                "device": str(estimator.device),
                "dtype": "float32",
            }

            def read(video_id: str, path: str) -> dict[str, np.ndarray]:
                return estimate_video(job.root / path, estimator, settings, size, decoder.open)

        else:

            def read(video_id: str, path: str) -> dict[str, np.ndarray]:
                return read_penn_action(job.root / settings.path / f"{video_id}.mat")

        for video_id, path in stage.progress(list(zip(videos.video_id, videos.path, strict=True)), "poses"):
            try:
                done.append(finish(read(video_id, path), settings))
                ids.append(video_id)
            except VideoError as error:
                failed[video_id] = str(error)
    job.check_failures(failed, len(videos), settings.max_failed_fraction, slack=1)

    shapes = {
        "keypoints": ((len(joints.joints), 2), np.float32),
        "confidence": ((len(joints.joints),), np.float32),
        "box": ((4,), np.float32),
        "present": ((), bool),
        "interpolated": ((), bool),
    }
    arrays = {}
    for name, (shape, dtype) in shapes.items():
        arrays[name], arrays["offsets"] = ragged([item[name] for item in done], shape, dtype)
    job.write_arrays(
        "poses",
        arrays,
        {"video_id": ids, "skeleton": settings.skeleton},
        n_ok=len(ids),
        failed=failed,
        **extra,
    )


if __name__ == "__main__":
    stage.run("poses", build)
