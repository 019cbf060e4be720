"""Poses of the main person in every frame of many videos.

Videos are read by threads, and copied to the device, while networks run, and a batch holds the frames of as many videos
as fit into it: short videos fill it as well as long ones. Nothing that is computed depends on the batch, and batches do
not depend on how many read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pipeline.data.readers import VideoError
from pipeline.data.tracks import link, main_person
from pipeline.encoding.batches import Collector, Shrinking, Stopwatch, ToDevice, ahead
from pipeline.motion.pose.boxes import per_frame
from pipeline.motion.pose.detector import PersonDetector, in_pixels
from pipeline.motion.pose.vitpose import PoseEstimator, in_frame
from pipeline.motion.settings import Poses

# Frames that wait for the end of their video, where the main person is known; longer videos are decoded a second time.
KEPT_BYTES = 512 << 20
# Frames are read in pieces of at most this, so that a 4K video takes no more memory than another. Each reader may be so
# many pieces early, about three clips of UCF-101.
PIECE_BYTES, PIECES_EARLY = 16 << 20, 8

# Opens what names a video: its file, or whatever the caller gives.
Opener = Callable[[Any], AbstractContextManager[Any]]


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


@dataclass
class _Video:
    """One video on its way through the networks."""

    video_id: str
    place: Any
    n_frames: int = 0
    shape: tuple[int, int] = (0, 0)
    ended: bool = False
    waiting: int = 0  # rows that a network has not given back
    kept: list[tuple[int, np.ndarray]] | None = field(default_factory=list)
    kept_bytes: int = 0
    found: dict[int, np.ndarray] = field(default_factory=dict)  # frame → persons
    parts: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)  # start → poses
    posed: bool = False  # all frames went to the pose network

    @property
    def whole(self) -> np.ndarray:
        return np.array([0, 0, self.shape[1] - 1, self.shape[0] - 1], np.float32)


class Estimation:
    """Poses of many videos with one estimator, and one detector where boxes are to be detected.

    Args:
        settings: of the stage `poses`.
        batch_size: crops, and pictures of the detector, at once.
        annotated: video id → boxes, see `pipeline.motion.pose.boxes.read_boxes`; for ``boxes: annotations``.
    """

    def __init__(
        self,
        estimator: PoseEstimator,
        settings: Poses,
        batch_size: int,
        detector: PersonDetector | None = None,
        annotated: dict[str, np.ndarray] | None = None,
        watch: Stopwatch | None = None,
    ):
        self.estimator, self.settings, self.detector, self.annotated = estimator, settings, detector, annotated
        self.batch_size = batch_size
        self.watch = watch or Stopwatch()
        last = settings.boxes != "refined"
        # The first look of two only has to find the person.
        self._first = Collector(lambda crops: estimator.poses(crops, settings.flip_test and last), batch_size)
        self._second = Collector(lambda crops: estimator.poses(crops, settings.flip_test), batch_size)
        self._detect = Collector(detector, batch_size) if detector else None
        # Frames are larger than what the networks see of them: preparing can be what exceeds the memory.
        self._cut = Shrinking(estimator.cut, batch_size)
        self._scale = Shrinking(detector.pixels, batch_size) if detector else None
        self._copier = ToDevice(estimator.device)

    # ------------------------------------------------------------------------------------------------------- the stream

    def run(
        self, videos: Sequence[tuple[str, Any]], openers: Sequence[Opener], again: Opener | None = None
    ) -> Iterator[tuple[str, dict[str, np.ndarray] | VideoError]]:
        """Poses of each video, or why there are none, in the order in which they are done.

        Args:
            videos: ids and files, or what else the openers take.
            openers: `pipeline.data.readers.open_video` or the same of an isolated decoder, for as many videos at the
                same time; each is called in a thread of its own.
            again: the same for videos whose frames are too many to be kept, called in this thread; by default the
                first opener, which must then be free of state.

        Yields:
            Video id, and ``keypoints`` ``[F, J, 2]``, ``confidence`` ``[F, J]``, ``box`` ``[F, 4]`` and, where boxes
            were detected or annotated, ``present`` ``[F]``; frames without the person are NaN.
        """
        open_videos: list[_Video] = []
        current: _Video | None = None
        again = again or openers[0]
        items = ahead(self._copied(self._in_order(videos, openers)))
        while True:
            with self.watch("reading"):
                item = next(items, None)
            if item is None:
                break
            kind, content = item
            with self.watch("encoding"):
                if kind == "open":
                    current = content
                    open_videos.append(current)
                elif kind == "frames":
                    self._take(current, *content)
                elif kind == "error":
                    open_videos = [video for video in open_videos if video is not current]
                else:
                    current.ended = True
                    current.posed = self.settings.boxes in ("whole_frame", "refined")
            if kind == "error":
                yield current.video_id, content
            elif kind == "end":
                yield from self._done(open_videos, again)
        with self.watch("encoding"):
            for collector in (self._detect, self._first, self._second):
                if collector:
                    collector.flush()
        yield from self._done(open_videos, again)
        with self.watch("encoding"):
            # Main persons that became known by the last flush still wait in the pose network's batch.
            self._first.flush()
            self._second.flush()
        yield from self._done(open_videos, again)

    def _in_order(self, videos: Sequence[tuple[str, Any]], openers: Sequence[Opener]) -> Iterator[tuple[str, Any]]:
        """What `_read` gives, in the order of the videos; each opener reads every n-th of them."""
        n = min(len(openers), len(videos))
        readers = [ahead(self._read(videos[k::n], openers[k]), PIECES_EARLY) for k in range(n)]
        for number in range(len(videos)):
            for item in readers[number % n]:
                yield item
                if item[0] in ("end", "error"):
                    break

    def _read(self, videos: Sequence[tuple[str, Any]], opener: Opener) -> Iterator[tuple[str, Any]]:
        for video_id, place in videos:
            yield "open", _Video(video_id, place)
            try:
                with opener(place) as video:
                    fitting = PIECE_BYTES // max(1, 3 * video.height * video.width)
                    for start, frames in video.batches(min(max(1, fitting), self.batch_size)):
                        yield "frames", (start, frames)
            except VideoError as error:
                yield "error", error
            else:
                yield "end", None

    def _copied(self, items: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Start to copy frames to the device, where a network looks at all of them."""
        everywhere = self.settings.boxes != "annotations"
        for kind, content in items:
            if kind == "frames":
                start, frames = content
                content = start, frames, self._copier.send(frames) if everywhere else None
            yield kind, content

    def _take(self, video: _Video, start: int, frames: np.ndarray, sent: Any) -> None:
        video.n_frames = start + len(frames)
        video.shape = frames.shape[1:3]
        boxes = self.settings.boxes
        if boxes in ("whole_frame", "refined"):
            self._look(video, start, self._copier.receive(sent))
            return
        if boxes == "detected":
            video.waiting += 1
            self._detect.add(self._scale(self._copier.receive(sent)), self._detected(video, start))
        if video.kept is not None:
            video.kept.append((start, frames))
            video.kept_bytes += frames.nbytes
            if video.kept_bytes > KEPT_BYTES:
                video.kept = None

    def _done(
        self, open_videos: list[_Video], again: Opener
    ) -> Iterator[tuple[str, dict[str, np.ndarray] | VideoError]]:
        for video in list(open_videos):
            if video.ended and not video.posed and not video.waiting:
                try:
                    with self.watch("encoding"):
                        self._pose_main_person(video, again)
                except VideoError as error:
                    open_videos.remove(video)
                    yield video.video_id, error
                    continue
            if video.posed and not video.waiting:
                open_videos.remove(video)
                yield video.video_id, self._result(video)

    # ----------------------------------------------------------------------------------------------- one or two looks

    def _look(self, video: _Video, start: int, frames: torch.Tensor) -> None:
        """Pose with the whole frame as the box; for ``refined`` a second look at the box around it."""
        regions = self.estimator.regions(torch.from_numpy(np.repeat(video.whole[None], len(frames), 0)), 1.0)
        whole = video.whole
        video.waiting += 1

        def done(poses: np.ndarray) -> None:
            video.waiting -= 1
            points, sure = in_frame(poses, regions.numpy())
            box = person_boxes(points, sure, whole, self.settings.min_joint_confidence)
            if self.settings.boxes == "whole_frame":
                video.parts[start] = points, sure, box
            else:
                self._pose(video, start, np.ones(len(frames), bool), frames, box)

        self._first.add(self._cut(frames, regions), done)

    def _pose(
        self, video: _Video, start: int, there: np.ndarray, frames: torch.Tensor | None, boxes: np.ndarray
    ) -> None:
        """Pose in those of the frames from ``start`` on where the person is, ``there`` ``[b]``; the others stay NaN.

        Args:
            frames: of the person only, on the device, ``[there.sum(), H, W, 3]``; boxes: likewise ``[there.sum(), 4]``.
        """
        n_joints = self.estimator.n_joints
        points = np.full((len(there), n_joints, 2), np.nan, np.float32)
        sure = np.zeros((len(there), n_joints), np.float32)
        around = np.full((len(there), 4), np.nan, np.float32)
        video.parts[start] = points, sure, around
        if not there.any():
            return
        regions = self.estimator.regions(torch.from_numpy(boxes), self.settings.box_padding)
        whole = video.whole
        video.waiting += 1

        def done(poses: np.ndarray) -> None:
            video.waiting -= 1
            points[there], sure[there] = in_frame(poses, regions.numpy())
            if self.settings.boxes == "refined":
                around[there] = person_boxes(points[there], sure[there], whole, self.settings.min_joint_confidence)
            else:
                around[there] = boxes

        self._second.add(self._cut(frames, regions), done)

    # -------------------------------------------------------------------------------------------------- main person

    def _detected(self, video: _Video, start: int) -> Callable[[np.ndarray], None]:
        def done(found: np.ndarray) -> None:
            video.waiting -= 1
            for row, persons in enumerate(found):
                video.found[start + row] = in_pixels(persons, *video.shape)

        return done

    def _pose_main_person(self, video: _Video, again: Opener) -> None:
        """Choose the main person of a video whose boxes are all known, and send its frames to the pose network.

        Raises:
            VideoError: nobody is there, boxes are of other frames, or the video could not be read a second time.
        """
        settings = self.settings
        if settings.boxes == "detected":
            detections = [video.found[frame] for frame in range(video.n_frames)]
        else:
            annotated = (self.annotated or {}).get(video.video_id)
            detections = per_frame(annotated, video.n_frames, settings.max_frame_difference)
        tracks = link(detections, settings.max_gap, settings.min_box_score)
        boxes = main_person(tracks, video.n_frames, settings.max_gap)
        there = np.isfinite(boxes[:, 0])
        if not there.any():
            whose = "the table of boxes has none" if settings.boxes == "annotations" else "no person was detected"
            raise VideoError("no_person", f"{whose} in its {video.n_frames} frames")
        for start, frames in self._frames(video, again):
            own = there[start : start + len(frames)]
            seen = self._copier.receive(self._copier.send(frames[own])) if own.any() else None
            self._pose(video, start, own, seen, boxes[start : start + len(frames)][own])
        video.kept, video.posed = None, True

    def _frames(self, video: _Video, again: Opener) -> Iterator[tuple[int, np.ndarray]]:
        if video.kept is not None:
            yield from video.kept
            return
        with again(video.place) as opened:
            for start, frames in opened.batches(self.batch_size):
                yield start, frames[: max(0, video.n_frames - start)]

    def _result(self, video: _Video) -> dict[str, np.ndarray]:
        columns = zip(*(video.parts[start] for start in sorted(video.parts)), strict=True)
        keypoints, confidence, box = (np.concatenate(column) for column in columns)
        result = {"keypoints": keypoints, "confidence": confidence, "box": box}
        if self.settings.boxes in ("detected", "annotations"):
            sure = confidence.mean(1) >= self.settings.min_person_confidence
            result["present"] = np.isfinite(box[:, 0]) & sure
        return result
