from __future__ import annotations

import numpy as np
import pytest

from pipeline.motion.drawing import draw_strip
from pipeline.motion.skeleton import skeleton

COCO_STANDING = {
    "nose": (0.50, 0.05),
    "eye": (0.03, 0.03),
    "ear": (0.06, 0.05),
    "shoulder": (0.12, 0.22),
    "elbow": (0.18, 0.38),
    "wrist": (0.20, 0.52),
    "hip": (0.08, 0.55),
    "knee": (0.09, 0.77),
    "ankle": (0.10, 1.00),
}


def standing(name: str) -> np.ndarray:
    """A person facing the camera `[J, 2]`, whose left side is right in the picture."""
    pose = []
    for joint in skeleton(name).joints:
        side, _, part = joint.rpartition("_")
        x, y = COCO_STANDING["nose" if part == "head" else part]
        pose.append((0.5 + x * (1 if side == "left" else -1) if side else x, y))
    return np.array(pose)


def coloured(picture: np.ndarray, strongest: int) -> np.ndarray:
    """Columns in which a clearly coloured pixel has its maximum in the given channel."""
    values = picture.astype(int)
    saturated = np.ptp(values, axis=2) > 80
    return np.flatnonzero((saturated & (values.argmax(axis=2) == strongest)).any(axis=0))


def test_coco_is_the_annotation_order():
    coco = skeleton("coco")
    assert len(coco.joints) == 17
    assert [coco.joints[index] for index in (0, 5, 6, 10, 11, 12, 16)] == [
        "nose",
        "left_shoulder",
        "right_shoulder",
        "right_wrist",
        "left_hip",
        "right_hip",
        "right_ankle",
    ]
    assert coco.hips == (11, 12)
    assert coco.pairs == ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))


def test_penn_action_is_the_annotation_order():
    penn = skeleton("penn_action")
    assert penn.joints == (
        "head",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    )
    assert penn.hips == (7, 8)
    assert penn.pairs == ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12))


@pytest.mark.parametrize("name", ["coco", "penn_action"])
def test_every_joint_is_connected_and_mirrored_edges_exist(name):
    definition = skeleton(name)
    mirror = {index: index for index in range(len(definition.joints))}
    for left, right in definition.pairs:
        mirror[left], mirror[right] = right, left
    edges = {frozenset(edge) for edge in definition.edges}
    assert len(edges) == len(definition.edges)
    assert {frozenset(mirror[joint] for joint in edge) for edge in edges} == edges
    assert {joint for edge in edges for joint in edge} == set(mirror)


def test_unknown_skeleton_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'body_25': choose one of \['coco', 'penn_action'\]"):
        skeleton("body_25")


@pytest.mark.parametrize("name", ["coco", "penn_action"])
def test_left_is_blue_and_right_is_orange(name):
    picture = draw_strip(standing(name)[None], skeleton(name), height=128)
    assert picture.dtype == np.uint8
    assert picture.shape[0] == 128
    middle = picture.shape[1] / 2
    blue, orange = coloured(picture, 2), coloured(picture, 0)
    assert blue.min() > middle - 4 and blue.max() > middle + 15
    assert orange.max() < middle + 4 and orange.min() < middle - 15


def test_one_panel_per_pose_and_time_runs_to_the_right():
    pose = standing("coco")
    clip = np.stack([pose * [1, height] for height in np.linspace(1, 0.5, 25)])
    strip = draw_strip(clip, skeleton("coco"), n_poses=5, height=100)
    single = draw_strip(clip[:1], skeleton("coco"), height=100)
    assert strip.shape == (100, 5 * single.shape[1], 3)
    panels = np.split(strip, 5, axis=1)
    lowest = [np.flatnonzero((np.ptp(panel.astype(int), axis=2) > 80).any(axis=1)).max() for panel in panels]
    assert lowest == sorted(lowest, reverse=True)
    assert lowest[0] > lowest[-1] + 20
    bars = [(panel[96:99].max(axis=2) < 120).any(axis=0).sum() for panel in panels]
    assert bars == sorted(bars)
    assert bars[-1] > 0.7 * single.shape[1]


def test_short_clips_show_each_frame_once():
    pose = standing("coco")
    strip = draw_strip(np.stack([pose, pose]), skeleton("coco"), n_poses=6, height=64)
    assert strip.shape[1] == 2 * draw_strip(pose[None], skeleton("coco"), height=64).shape[1]


def test_missing_joints_are_left_out():
    pose = standing("coco")
    left = [index for index, joint in enumerate(skeleton("coco").joints) if joint.startswith("left")]
    pose[left] = np.nan
    picture = draw_strip(pose[None], skeleton("coco"))
    assert len(coloured(picture, 0)) > 10
    assert len(coloured(picture, 2)) == 0
    nothing = draw_strip(np.full((3, 17, 2), np.nan), skeleton("coco"))
    assert (nothing[: int(0.9 * len(nothing))] == 255).all()


def test_draw_errors():
    with pytest.raises(ValueError, match=r"\[L, 17, 2\] for the skeleton 'coco', got \[5, 13, 2\]"):
        draw_strip(np.zeros((5, 13, 2)), skeleton("coco"))
    with pytest.raises(ValueError, match="n_poses must be at least 1"):
        draw_strip(np.zeros((5, 17, 2)), skeleton("coco"), n_poses=0)
