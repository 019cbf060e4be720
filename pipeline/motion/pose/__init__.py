"""Person boxes, tracks and keypoints of videos; networks by the architecture that a checkpoint's config.json names."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.encoding.checkpoints import check_kind
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.motion.pose.detector import PersonDetector
from pipeline.motion.pose.mmpose import MMPose
from pipeline.motion.pose.movenet import MoveNet, MultiPose
from pipeline.motion.pose.vitpose import PoseEstimator

__all__ = ["load_detector", "load_estimator"]

ESTIMATORS: dict[str, type[PoseEstimator | MoveNet | MMPose]] = {
    "vitpose": PoseEstimator,
    "movenet": MoveNet,
    "mmpose": MMPose,
}
DETECTORS: dict[str, type[PersonDetector | MultiPose]] = {"rt_detr": PersonDetector, "movenet_multipose": MultiPose}


def load_estimator(
    name: str,
    revision: str = "main",
    expert: int | None = None,
    mirrored: Sequence[int] = (),
    sha256: str = "",
    n_joints: int | None = None,
    runtime: Runtime = AUTO,
) -> PoseEstimator | MoveNet | MMPose:
    """A pose estimator from a hub id or a folder; arguments as those of `PoseEstimator`.

    Raises:
        StageError: it cannot be loaded, does not fit, or its architecture is none of those that are known here.
    """
    kind = ESTIMATORS[check_kind(name, revision, "pose estimators", ESTIMATORS)]
    return kind(name, revision, expert=expert, mirrored=mirrored, sha256=sha256, n_joints=n_joints, runtime=runtime)


def load_detector(
    name: str, revision: str = "main", sha256: str = "", runtime: Runtime = AUTO
) -> PersonDetector | MultiPose:
    """A detector of persons, likewise."""
    return DETECTORS[check_kind(name, revision, "person detectors", DETECTORS)](name, revision, sha256, runtime)
