"""Skeletons: the joints of a pose, and how they are connected."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Skeleton:
    """A pose definition.

    name: key of the skeleton.
    joints: joint names, in the order of the keypoint arrays.
    edges: pairs of joint indices that are drawn as limbs.
    pairs: (left, right) indices of the joints that change places in a mirrored picture.
    shoulders: (left, right) shoulder.
    hips: (left, right) hip.
    head: indices of the joints that mark the head.
    """

    name: str
    joints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...]
    shoulders: tuple[int, int]
    hips: tuple[int, int]
    head: tuple[int, ...]


def mirrored(skeleton: Skeleton) -> list[int]:
    """For each joint the one that takes its place in a mirrored picture."""
    places = list(range(len(skeleton.joints)))
    for left, right in skeleton.pairs:
        places[left], places[right] = right, left
    return places


def _define(name: str, joints: str, limbs: str, head: str) -> Skeleton:
    names = tuple(joints.split())
    index = {joint: position for position, joint in enumerate(names)}
    edges = tuple((index[start], index[end]) for start, end in (limb.split("-") for limb in limbs.split()))
    pairs = tuple(
        (index[joint], index["right" + joint.removeprefix("left")]) for joint in names if joint.startswith("left")
    )
    return Skeleton(
        name=name,
        joints=names,
        edges=edges,
        pairs=pairs,
        shoulders=(index["left_shoulder"], index["right_shoulder"]),
        hips=(index["left_hip"], index["right_hip"]),
        head=tuple(index[joint] for joint in head.split()),
    )


_BODY = """
    left_shoulder-right_shoulder left_hip-right_hip
    left_shoulder-left_hip right_shoulder-right_hip
    left_shoulder-left_elbow left_elbow-left_wrist left_hip-left_knee left_knee-left_ankle
    right_shoulder-right_elbow right_elbow-right_wrist right_hip-right_knee right_knee-right_ankle
"""

_SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (
        _define(
            "coco",
            """nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow
            right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle
            right_ankle""",
            _BODY + "nose-left_eye nose-right_eye left_eye-left_ear right_eye-right_ear",
            "nose left_eye right_eye left_ear right_ear",
        ),
        _define(
            "penn_action",
            """head left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist
            left_hip right_hip left_knee right_knee left_ankle right_ankle""",
            _BODY + "head-left_shoulder head-right_shoulder",
            "head",
        ),
    )
}


def skeleton(name: str) -> Skeleton:
    """The skeleton called `name`: "coco" (17 joints) or "penn_action" (13 joints).

    Raises:
        ValueError: there is no such skeleton.
    """
    if name not in _SKELETONS:
        raise ValueError(f"unknown skeleton {name!r}: choose one of {sorted(_SKELETONS)}")
    return _SKELETONS[name]
