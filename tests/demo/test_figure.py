from __future__ import annotations

import numpy as np
import pytest

from pipeline.demo import figure
from pipeline.demo.figure import (
    ANKLES,
    HIPS,
    MOTIONS,
    SHOULDERS,
    WRISTS,
    MotionStyle,
    View,
    actor_body,
    perform,
    project,
)
from pipeline.motion.skeleton import skeleton

KEYPOINTS = skeleton("coco").joints
NOSE = KEYPOINTS.index("nose")


def joints_of(motion: str, actor: int = 3, **changes) -> np.ndarray:
    style = {"rate": 0.5, "amplitude": 1.0, "phase": 0.0, "side": 0, "variant": 0.7} | changes
    return perform(actor_body(actor), motion, MotionStyle(**style), 75).joints


def travel(heights: np.ndarray) -> float:
    return float(heights.max() - heights.min())


@pytest.mark.parametrize("pair", ["shoulder", "elbow", "wrist", "hip", "knee", "ankle"])
def test_keypoints_are_in_coco_order(pair):
    numbers = getattr(figure, f"{pair.upper()}S")
    assert [KEYPOINTS[number] for number in numbers] == [f"left_{pair}", f"right_{pair}"]


def test_a_frontal_persons_left_is_on_the_right_of_the_picture():
    view = View(yaw=0, pitch=0, height=90, foot=np.full((75, 2), 64.0))
    for motion in MOTIONS:
        pixels, _ = project(joints_of(motion), view)
        if motion == "punch":  # the shoulders turn, but stay on their sides
            assert (pixels[:, SHOULDERS[0], 0] > pixels[:, SHOULDERS[1], 0]).all()
        assert (pixels[:, HIPS[0], 0] > pixels[:, HIPS[1], 0]).all()


def test_positive_yaw_turns_the_face_to_the_right_of_the_picture():
    foot = np.full((75, 2), 64.0)
    right, _ = project(joints_of("wave"), View(yaw=50, pitch=0, height=90, foot=foot))
    left, _ = project(joints_of("wave"), View(yaw=-50, pitch=0, height=90, foot=foot))
    ears = [KEYPOINTS.index("left_ear"), KEYPOINTS.index("right_ear")]
    assert (right[:, NOSE, 0] > right[:, ears, 0].mean(axis=1) + 2).all()
    assert (left[:, NOSE, 0] < left[:, ears, 0].mean(axis=1) - 2).all()


def test_projection_of_known_points():
    # At the camera's distance of 6 a point 2 nearer is 6 / 4 as large; y points down in pixels.
    points = np.array([[[1.0, 0.5, 0.0], [1.0, 0.5, 2.0]]])
    view = View(yaw=0, pitch=0, height=10, foot=np.array([[50.0, 90.0]]))
    pixels, nearness = project(points, view)
    np.testing.assert_allclose(pixels[0], [[60, 85], [65, 82.5]])
    np.testing.assert_allclose(nearness[0], [0, 2])


def test_lift_raises_both_wrists_above_the_head_and_lowers_them():
    joints = joints_of("lift", amplitude=0.82)
    for wrist in WRISTS:
        assert joints[:, wrist, 1].max() > joints[:, NOSE, 1].max() + 0.1
        assert joints[:, wrist, 1].min() < joints[:, NOSE, 1].min()


def test_squat_moves_the_hips_far_more_than_wave():
    squat = travel(joints_of("squat")[:, HIPS[0], 1])
    wave = travel(joints_of("wave")[:, HIPS[0], 1])
    assert squat > 0.15
    assert squat > 10 * wave


@pytest.mark.parametrize("side", [0, 1])
def test_wave_and_kick_use_the_leading_side(side):
    wave, kick = joints_of("wave", side=side), joints_of("kick", side=side)
    assert wave[:, WRISTS[side], 1].min() > wave[:, SHOULDERS[side], 1].max()
    assert wave[:, WRISTS[1 - side], 1].max() < wave[:, SHOULDERS[side], 1].min()
    assert travel(kick[:, ANKLES[side], 1]) > 0.3
    assert travel(kick[:, ANKLES[1 - side], 1]) < 0.05


def test_jumping_jack_spreads_the_feet_and_bow_lowers_the_head():
    jack, bow = joints_of("jumping jack"), joints_of("bow")
    assert travel(jack[:, ANKLES[0], 0] - jack[:, ANKLES[1], 0]) > 0.3
    assert travel(bow[:, NOSE, 1]) > 0.25
    assert travel(bow[:, HIPS[0], 1]) < 0.03


def test_march_lifts_the_feet_in_turn():
    joints = joints_of("march")
    left, right = joints[:, ANKLES[0], 1], joints[:, ANKLES[1], 1]
    assert travel(left) > 0.1 and travel(right) > 0.1
    assert np.corrcoef(left, right)[0, 1] < -0.3


def test_punch_reaches_forward_with_each_hand_in_turn():
    joints = joints_of("punch")
    left = joints[:, WRISTS[0], 2] - joints[:, SHOULDERS[0], 2]
    right = joints[:, WRISTS[1], 2] - joints[:, SHOULDERS[1], 2]
    assert left.max() > 0.28 and right.max() > 0.28
    assert np.corrcoef(left, right)[0, 1] < -0.3


@pytest.mark.parametrize("motion", MOTIONS)
def test_limbs_keep_their_lengths_and_a_foot_is_on_the_ground(motion):
    joints, body = joints_of(motion), actor_body(3)
    for start, end, length in ((5, 7, body.upper_arm), (14, 16, body.shin)):
        np.testing.assert_allclose(np.linalg.norm(joints[:, end] - joints[:, start], axis=-1), length, atol=1e-9)
    lowest = joints[:, ANKLES, 1].min(axis=1)
    assert lowest.min() >= 0.04
    if motion != "jumping jack":
        np.testing.assert_allclose(lowest, lowest[0])


def test_bodies_belong_to_actors():
    assert actor_body(5) == actor_body(5)
    assert len({actor_body(actor).thigh for actor in range(50)}) == 50


def test_unknown_motion_is_named():
    with pytest.raises(ValueError, match=r"unknown motion 'moonwalk'.*lift"):
        joints_of("moonwalk")
