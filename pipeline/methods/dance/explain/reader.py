"""What a model whose concepts are read sees in new videos: motions in their poses, words by the dual encoder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.backbone.look import Opener
from pipeline.context.settings import DualEncoder
from pipeline.data.readers import VideoError, open_video
from pipeline.data.settings import Decode
from pipeline.data.signal import MotionSignal
from pipeline.encoding.hardware import batch_size
from pipeline.jobs.runtime import Runtime
from pipeline.methods.dance.bottleneck.reading import read_video
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.settings import Reading
from pipeline.motion.keyframes import joint_speed, keyframes_of
from pipeline.motion.pose_clips import cut, select
from pipeline.motion.poses import finish
from pipeline.motion.settings import Keyframes, PoseClips, Poses
from pipeline.motion.skeleton import mirrored, skeleton
from pipeline.store.atomic import StageError


@dataclass(frozen=True)
class Frames:
    """Frames in memory, uint8 ``[F, H, W, 3]``, as an opened video."""

    frames: np.ndarray

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def height(self) -> int:
        return self.frames.shape[1]

    @property
    def width(self) -> int:
        return self.frames.shape[2]

    def batches(self, size: int = 32) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(self.frames), size):
            yield start, self.frames[start : start + size]


class Reader:
    """The networks and settings that a model file names for its readings, loaded when they are needed.

    Args:
        model: one with ``n_read`` concepts.
    """

    def __init__(self, model: ConceptModel, runtime: Runtime):
        about = model.about["reading"]
        self.model, self.runtime = model, runtime
        self.texts = model.layer.get("texts", np.zeros((0, 1)))
        self.reads_motion = model.n_read > len(self.texts)
        if self.reads_motion:
            self.settings = Reading.model_validate(about["motion"])
            self.poses = Poses.model_validate(about["poses"])
            self.keyframes = Keyframes.model_validate(about["keyframes"])
            self.clips = PoseClips.model_validate(about["pose_clips"])
            self.skeleton = skeleton(model.about["skeleton"])
        if len(self.texts):
            self.encoder_settings = DualEncoder.model_validate(about["dual_encoder"])

    @functools.cached_property
    def _networks(self) -> tuple[Any, Any]:
        """Pose estimator, and detector or None.

        Raises:
            StageError: poses, boxes or key frames came from elsewhere, or a network cannot be loaded.
        """
        from pipeline.motion.pose import load_detector, load_estimator

        foreign = {
            "poses": self.poses.source != "computed",
            "person boxes": self.poses.boxes == "annotations",
            "key frames": self.keyframes.source == "list",
        }
        for what, imported in foreign.items():
            if imported:
                raise StageError(
                    f"this model reads motion, and was trained on imported {what} "
                    f"({self.model.about.get('dataset', 'of others')}), which a new video does not have"
                )
        estimator = load_estimator(
            self.poses.model,
            self.poses.revision,
            self.poses.expert,
            mirrored(self.skeleton),
            self.poses.sha256,
            len(self.skeleton.joints),
            self.runtime,
        )
        detector = None
        if self.poses.boxes == "detected":
            named = self.poses.detector, self.poses.detector_revision, self.poses.detector_sha256
            detector = load_detector(*named, self.runtime)
        return estimator, detector

    @functools.cached_property
    def _dual_encoder(self) -> Any:
        from pipeline.context.encoders import load_dual_encoder

        settings = self.encoder_settings
        if settings.source != "computed":
            raise StageError("this model's words are scores of an imported dual encoder, which is not known")
        return load_dual_encoder(settings.model, settings.revision, settings.sha256, self.runtime)

    def poses_of(self, videos: Sequence[Any], opener: Callable[[Any], Any]) -> list[dict[str, np.ndarray] | None]:
        """Poses of each video as stage `poses` keeps them; None where no frame holds a person.

        Args:
            videos: what the opener takes.
        """
        from pipeline.motion.pose.estimate import Estimation

        estimator, detector = self._networks
        estimation = Estimation(estimator, self.poses, batch_size("poses", self.runtime), detector)
        found: dict[str, dict[str, np.ndarray] | None] = {}
        for key, item in estimation.run([(str(row), video) for row, video in enumerate(videos)], [opener]):
            try:
                if isinstance(item, VideoError):
                    raise item
                found[key] = finish(item, self.poses)
            except VideoError as error:
                if error.reason != "no_person":
                    raise
                found[key] = None
        return [found[str(row)] for row in range(len(videos))]

    def motions(self, pose: dict[str, np.ndarray] | None, keyframes: np.ndarray, name: str) -> np.ndarray:
        """Activations of the motion concepts ``[n_motion]``, NaN where there is nothing to read.

        Args:
            pose: see `poses_of`; keyframes: ``[k]``; name: of the video, which decides its random clips.
        """
        if pose is None:
            return np.full(len(self.model.medoids), np.nan)
        medoids, concept_of = self.model.read_medoids
        seen = [pose[part] for part in ("keypoints", "confidence", "present")]
        n_frames = len(pose["present"])
        chosen = select(keyframes[keyframes < n_frames], n_frames, name, self.clips)
        part = cut(*seen, chosen, self.clips, self.skeleton.hips)
        return read_video(part, *seen, medoids, self.settings, concept_of)

    def words(self, clips: np.ndarray) -> np.ndarray:
        """Scores of clips, uint8 ``[n, T, H, W, 3]``, for the concepts in words ``[n, t]`` (DANCE eq. 3)."""
        if not len(self.texts):
            return np.zeros((len(clips), 0))
        size = batch_size("dual_encoder", self.runtime)
        return self.model.scores(self._dual_encoder.videos(clips, self.encoder_settings.n_frames, size))

    def file(self, path: Path, decoded: dict[str, Any], decode: Decode, opener: Opener | None = None) -> np.ndarray:
        """Readings ``[1, n_read]`` of a video file, beside what `pipeline.data.decode.decode_video` gave of it.

        Args:
            decode: how it was decoded; opener: see `pipeline.data.decode.decode_video`.

        Raises:
            VideoError: it cannot be read. StageError: see `_networks`.
        """
        parts = [self.words(decoded["frames"][None])]
        if self.reads_motion:
            options = {"backend": decode.backend, "min_fraction": decode.min_fraction}
            (pose,) = self.poses_of([path], functools.partial(opener or open_video, **options))
            parts.insert(0, self._moving(pose, decoded, path.stem)[None])
        return np.concatenate(parts, 1)

    def memory(self, videos: Sequence[np.ndarray], clips: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """The same ``[n, n_read]`` of videos in memory, uint8 ``[F, H, W, 3]`` each, and the clips of them."""
        parts = [self.words(clips)]
        if self.reads_motion:
            rows = []
            for frames, pose, name in zip(videos, self.poses_of(videos, Frames), names, strict=True):
                signal = MotionSignal()
                signal.add(frames)
                rows.append(
                    self._moving(pose, dict(zip(("diff_sum", "diff_count"), signal.result(), strict=True)), name)
                )
            parts.insert(0, np.stack(rows))
        return np.concatenate(parts, 1)

    def _moving(self, pose: dict[str, np.ndarray] | None, decoded: dict[str, Any], name: str) -> np.ndarray:
        signal = decoded["diff_sum" if self.keyframes.measure == "sum" else "diff_count"]
        if pose is not None and self.keyframes.source == "poses":
            signal = joint_speed(pose["keypoints"])
        return self.motions(pose, keyframes_of(signal, self.keyframes), name)
