"""Stage `poses`: keypoints of the main person in every frame, so that later choices never estimate again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.isolated import Decoder
from pipeline.data.readers import VideoError
from pipeline.data.table import Videos, listed_ids, read_videos
from pipeline.exchange.poses import files_of, pose_reader
from pipeline.jobs import stage
from pipeline.motion.normalise import interpolate_gaps
from pipeline.motion.settings import Poses
from pipeline.motion.skeleton import Skeleton, mirrored, skeleton
from pipeline.store.arrays import ragged

# More do not read faster than a GPU poses, and each may take runtime.decoder.memory_mb.
MAX_DECODERS = 8


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


def _computed(
    job: stage.Job, settings: Poses, videos: Videos, joints: Skeleton
) -> Iterator[tuple[str, dict[str, np.ndarray] | VideoError, dict[str, Any]]]:
    """Poses of each video, and what the provenance should say of the networks."""
    from pipeline.encoding.batches import Stopwatch
    from pipeline.encoding.checkpoints import weights_digest
    from pipeline.encoding.hardware import batch_size
    from pipeline.motion.pose import load_detector, load_estimator
    from pipeline.motion.pose.boxes import read_boxes
    from pipeline.motion.pose.estimate import Estimation

    estimator = load_estimator(
        settings.model,
        settings.revision,
        settings.expert,
        mirrored(joints),
        settings.sha256,
        len(joints.joints),
        job.runtime,
    )
    about = estimator.record(settings.model, settings.revision)
    detector = annotated = None
    if settings.boxes == "detected":
        named = settings.detector, settings.detector_revision
        detector = load_detector(*named, settings.detector_sha256, job.runtime)
        about["detector_weights"] = weights_digest(*named)
    elif settings.boxes == "annotations":
        annotated = read_boxes(job.root / settings.boxes_path)
        job.note_file("boxes", job.root / settings.boxes_path)
    watch = Stopwatch()
    estimation = Estimation(estimator, settings, batch_size("poses", job.runtime), detector, annotated, watch)
    listed = [(key, (job.root / path, frames)) for key, path, frames in videos.files()]
    # One process decodes faster than a network poses on a CPU; a GPU may wait for it.
    n_decoders = min(MAX_DECODERS, job.threads) if estimator.device.type == "cuda" else 1
    with contextlib.ExitStack() as stack:
        # The last decoder starts only where a video is too long to be kept in memory.
        *decoders, again = (stack.enter_context(Decoder(**job.runtime.decoder)) for _ in range(n_decoders + 1))
        found = estimation.run(listed, [partial(_open, decoder) for decoder in decoders], partial(_open, again))
        for video_id, item in stage.progress(found, "poses", total=len(videos)):
            yield video_id, item, about
    stage.logger.info("poses: %s", watch.words())


def _open(decoder: Decoder, place: tuple[Path, tuple[int, int] | None]) -> AbstractContextManager[Any]:
    path, frames = place
    return decoder.open(path, frames=frames)


def _imported(
    job: stage.Job, settings: Poses, videos: Videos, joints: Skeleton
) -> Iterator[tuple[str, dict[str, np.ndarray] | VideoError, dict[str, Any]]]:
    place = job.root / settings.path
    all_ids = [key for ids in listed_ids(job).values() for key in ids]
    imported = pose_reader(settings.source, place, len(joints.joints), all_ids)
    if place.is_file():
        job.note_file("imported", place)
    else:
        job.note_files("imported", files_of(place, videos.video_id.tolist()))
    for video_id in stage.progress(videos.video_id, "poses"):
        try:
            item = imported(video_id)
        except VideoError as error:
            item = error
        yield video_id, item, {}


def build(job: stage.Job) -> None:
    """Write the poses of one shard, computed or imported."""
    settings = Poses.model_validate(job.settings)
    videos = read_videos(job)
    joints = skeleton(settings.skeleton)
    extra: dict[str, Any] = {}
    results: dict[str, dict[str, np.ndarray]] = {}
    failed: dict[str, str] = {}
    computed = settings.source == "computed"
    found = (_computed if computed else _imported)(job, settings, videos, joints)
    for video_id, item, extra in found:  # noqa: B007 — what the last one says holds for all
        try:
            if isinstance(item, VideoError):
                raise item
            results[video_id] = finish(item, settings)
        except VideoError as error:
            failed[video_id] = str(error)
    # Videos are done out of order where a batch crosses their borders.
    ids = [video_id for video_id in videos.video_id if video_id in results]
    done = [results[video_id] for video_id in ids]
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
