"""Stage `poses`: keypoints of the main person in every frame, so that later choices never estimate again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from pipeline.data.decode import Decoding
from pipeline.data.isolated import Decoder
from pipeline.data.readers import VideoError
from pipeline.data.table import Videos, all_ids, read_videos
from pipeline.exchange.poses import Form, Pose, files_of, pose_reader
from pipeline.jobs import stage
from pipeline.motion.normalise import interpolate_gaps
from pipeline.motion.settings import Poses
from pipeline.motion.skeleton import Definition, mirrored, read_definition
from pipeline.store.arrays import ragged
from pipeline.store.code import PROJECT

# More do not read faster than a GPU poses, and each may take runtime.decoder.memory_mb.
MAX_DECODERS = 8
# Lists that name no frame without a person end early; all of them together not before this part of the videos.
LEAST_COVERED = 0.75


def find_skeleton(job: stage.Job, named: str) -> Definition:
    """The configured skeleton, from below the data set's root or of those that come with the project.

    Raises:
        StageError: missing, or it does not fit together.
    """
    own = job.root / named
    path = own if own.is_file() else PROJECT / named
    if not path.is_file():
        raise stage.StageError(f"{own} does not exist; motion.poses.skeleton names it, below the data set's root")
    try:
        found = read_definition(path)
    except ValueError as error:
        raise stage.StageError(str(error)) from None
    job.note_file("skeleton", path)
    return found


def fitted(item: Pose, n_frames: int, allowed: int) -> Pose:
    """Imported poses that have as many frames as their video.

    Args:
        n_frames: of the video; allowed: by how many more or fewer there may be, which are cut off, or have no person.

    Raises:
        VideoError: more or fewer, with both numbers.
    """
    count = len(item["present"])
    difference = count - n_frames
    if difference > allowed or (difference < -allowed and not item.get("open_end")):
        raise VideoError("other_frames", f"poses of {count} frames, the video has {n_frames}")
    if not difference:
        return item
    if difference > 0:
        change = f"the last {difference} of {count} frames are cut off"
    else:
        change = f"nobody is in the last {-difference} of {n_frames} frames"
    blank = {"keypoints": np.nan, "confidence": 0, "box": 0, "present": False}
    changed = {}
    for name, fill in blank.items():
        after = np.full((max(0, -difference), *item[name].shape[1:]), fill, item[name].dtype)
        changed[name] = np.concatenate([item[name][:n_frames], after])
    return {**item, **changed, "note": "; ".join(filter(None, (item.get("note"), change)))}


class Lengths:
    """Frames of imported poses against those of their videos, where these are on disk; see `fitted`.

    A set whose poses are of another rate, or count from another frame, is wrong in every video: it stops at once.
    """

    def __init__(self, job: stage.Job, videos: Videos, decoder: Decoder):
        self._places = {key: (job.root / path, frames) for key, path, frames in videos.files()}
        self._decoder = decoder
        self.known: dict[str, tuple[int, int]] = {}  # frames of poses, of the video
        self.wrong: dict[str, VideoError] = {}
        self._open_ended = True

    def n_frames(self, video_id: str) -> int | None:
        """Frames of a video; None where it cannot be opened."""
        path, frames = self._places[video_id]
        if not path.exists():
            return None
        try:
            with self._decoder.open(path, "pyav", frames) as video:
                return video.n_frames
        except VideoError:  # the stage `decode` says why
            return None

    def fit(self, video_id: str, item: Pose, allowed: int) -> Pose:
        """Raises: VideoError: see `fitted`."""
        count = self.n_frames(video_id)
        item = {**item, "video_frames": count}
        if count is None:
            return item
        self.known[video_id] = len(item["present"]), count
        self._open_ended &= item.get("open_end", False)
        try:
            return fitted(item, count, allowed)
        except VideoError as error:
            self.wrong[video_id] = error
            raise

    def check(self, settings: Poses) -> None:
        """Raises: StageError: too many videos have other frames than their poses."""
        counts = np.array([*self.known.values()]).reshape(-1, 2)
        n = len(counts)
        lacking = counts[:, 1] - counts[:, 0]
        covered = counts[:, 0].sum() / max(1, counts[:, 1].sum())
        words = ""
        if len(self.wrong) > max(1, settings.max_failed_fraction * n):
            words = (
                f"{len(self.wrong)} of {n} imported poses have another number of frames than their video, in all "
                f"{covered:.3g} for each of a video; import poses of every frame, excerpts counted from their own "
                f"first one, or allow a difference with motion.poses.max_frame_difference"
            )
        elif self._open_ended and n > 1 and covered < LEAST_COVERED:
            words = f"the frame numbers of {n} imported poses end after {covered:.0%} of the videos: another rate?"
        elif self._open_ended and n > 1 and (lacking == 1).sum() > n / 2 and lacking.min() == 1:
            words = f"the frame numbers of {n} imported poses never reach the last one; set motion.poses.first_frame: 0"
        if words:
            video_id = next(iter(self.wrong or self.known))
            posed, filmed = self.known[video_id]
            raise stage.StageError(f"{words} (`{video_id}`: {posed} frames of poses, {filmed} of video)")


def finish(item: Pose, settings: Poses) -> dict[str, np.ndarray]:
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
    job: stage.Job, settings: Poses, videos: Videos, skeleton: Definition
) -> Iterator[tuple[str, Pose | VideoError, dict[str, Any]]]:
    """Poses of each video, and what the provenance should say of the networks."""
    from pipeline.encoding.batches import Stopwatch
    from pipeline.encoding.checkpoints import weights_digest
    from pipeline.encoding.hardware import batch_size
    from pipeline.exchange.matrices import by_id
    from pipeline.motion.pose import load_detector, load_estimator
    from pipeline.motion.pose.boxes import read_boxes
    from pipeline.motion.pose.estimate import Estimation

    estimator = load_estimator(
        settings.model,
        settings.revision,
        settings.expert,
        mirrored(skeleton.skeleton()),
        settings.sha256,
        len(skeleton.joints),
        job.runtime,
    )
    about = estimator.record(settings.model, settings.revision)
    detector = annotated = None
    if settings.boxes == "detected":
        named = settings.detector, settings.detector_revision
        detector = load_detector(*named, settings.detector_sha256, job.runtime)
        about["detector_weights"] = weights_digest(*named)
    elif settings.boxes == "annotations":
        annotated = by_id(read_boxes(job.root / settings.boxes_path), all_ids(job), settings.boxes_path)
        job.note_file("boxes", job.root / settings.boxes_path)
    watch = Stopwatch()
    estimation = Estimation(estimator, settings, batch_size("poses", job.runtime), detector, annotated, watch)
    listed = [(key, (key, job.root / path, frames)) for key, path, frames in videos.files()]
    decoding = Decoding()

    def opener(decoder: Decoder, place: Any) -> contextlib.AbstractContextManager[Any]:
        video_id, path, frames = place
        return decoding.open(decoder.open, video_id, path, frames=frames, **job.settings.get("decode", {}))

    # One process decodes faster than a network poses on a CPU; a GPU may wait for it.
    n_decoders = min(MAX_DECODERS, job.threads) if estimator.device.type == "cuda" else 1
    with contextlib.ExitStack() as stack:
        # The last decoder starts only where a video is too long to be kept in memory.
        *decoders, again = (stack.enter_context(Decoder(**job.runtime.decoder)) for _ in range(n_decoders + 1))
        found = estimation.run(listed, [partial(opener, decoder) for decoder in decoders], partial(opener, again))
        for video_id, item in stage.progress(found, "poses", total=len(videos)):
            about.update(decoding.record())
            yield video_id, item, about
    stage.logger.info("poses: %s", watch.words())


def _imported(
    job: stage.Job, settings: Poses, videos: Videos, skeleton: Definition
) -> Iterator[tuple[str, Pose | VideoError, dict[str, Any]]]:
    """Poses of each video, and what was chosen about them; the provenance has nothing to say of networks.

    Raises:
        StageError: the files as a whole do not fit the videos.
    """
    place = job.root / settings.path
    form = Form(len(skeleton.joints), skeleton.axes, settings.first_frame, settings.max_gap)
    imported = pose_reader(settings.source, place, form, all_ids(job))
    if place.is_file():
        job.note_file("imported", place)
    else:
        job.note_files("imported", files_of(place, videos.video_id.tolist()))
    with Decoder(**job.runtime.decoder) as decoder:
        lengths = Lengths(job, videos, decoder)
        for video_id in stage.progress(videos.video_id, "poses"):
            try:
                item = lengths.fit(video_id, imported(video_id), settings.max_frame_difference)
            except VideoError as error:
                item = error
            yield video_id, item, {}
    lengths.check(settings)


def build(job: stage.Job) -> None:
    """Write the poses of one shard, computed or imported."""
    settings = Poses.model_validate({name: value for name, value in job.settings.items() if name != "decode"})
    videos = read_videos(job)
    skeleton = find_skeleton(job, settings.skeleton)
    extra: dict[str, Any] = {}
    results: dict[str, dict[str, np.ndarray]] = {}
    failed: dict[str, str] = {}
    chosen: dict[str, dict[str, Any]] = {"note": {}, "video_frames": {}}
    found = (_computed if settings.source == "computed" else _imported)(job, settings, videos, skeleton)
    for video_id, item, extra in found:  # noqa: B007 — what the last one says holds for all
        try:
            if isinstance(item, VideoError):
                raise item
            for name, known in chosen.items():
                known[video_id] = item.pop(name, "" if name == "note" else None)
            results[video_id] = finish(item, settings)
        except VideoError as error:
            failed[video_id] = str(error)
    # Videos are done out of order where a batch crosses their borders.
    ids = [video_id for video_id in videos.video_id if video_id in results]
    done = [results[video_id] for video_id in ids]
    job.check_failures(failed, len(videos), settings.max_failed_fraction, slack=1)

    shapes = {
        "keypoints": ((len(skeleton.joints), 2), np.float32),
        "confidence": ((len(skeleton.joints),), np.float32),
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
        {
            "video_id": ids,
            "skeleton": skeleton.model_dump(mode="json"),
            **{name: [known[key] for key in ids] for name, known in chosen.items() if settings.source != "computed"},
        },
        n_ok=len(ids),
        failed=failed,
        **extra,
    )


if __name__ == "__main__":
    stage.run("poses", build)
