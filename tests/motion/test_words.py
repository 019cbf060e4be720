"""Words for motions: true ones on motions whose joints in space are known, and known answers on drawn figures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pipeline.motion.normalise import normalise
from pipeline.motion.skeleton import mirrored, shipped, skeleton
from pipeline.motion.words import describe, figures, turns

SPECIFICATION = importlib.util.spec_from_file_location("bench_words", Path(__file__).parents[2] / "bench" / "words.py")
bench = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(bench)

COCO = skeleton("coco")
STANDING = {
    "nose": (0, 1.75),
    "left_shoulder": (0.2, 1.45),
    "right_shoulder": (-0.2, 1.45),
    "left_elbow": (0.22, 1.13),
    "right_elbow": (-0.22, 1.13),
    "left_wrist": (0.23, 0.87),
    "right_wrist": (-0.23, 0.87),
    "left_hip": (0.1, 0.95),
    "right_hip": (-0.1, 0.95),
    "left_knee": (0.1, 0.5),
    "right_knee": (-0.1, 0.5),
    "left_ankle": (0.1, 0.05),
    "right_ankle": (-0.1, 0.05),
}


def drawn(joints, moved=None, length=20):
    """A figure in metres whose joints go to other places and back: normalised ``[L, J, 2]``; what has no place: NaN."""
    weight = np.sin(np.linspace(0, np.pi, length))[:, None]
    poses = np.full((length, len(joints), 2), np.nan)
    for row, joint in enumerate(joints):
        if joint in STANDING:
            start, end = np.array(STANDING[joint]), np.array((moved or {}).get(joint, STANDING[joint]))
            poses[:, row] = start + weight * (end - start)
    return normalise(100 * poses[None] * [1, -1] + 300)[0]


RAISED = {"left_elbow": (0.3, 1.75), "left_wrist": (0.3, 2.0)}
SQUAT = {
    "nose": (0.2, 1.15), "left_shoulder": (0.13, 0.87), "right_shoulder": (-0.07, 0.87), "left_hip": (-0.2, 0.5),
    "right_hip": (-0.4, 0.5), "left_knee": (0.25, 0.48), "right_knee": (0.05, 0.48), "left_elbow": (0.35, 0.64),
    "right_elbow": (0.15, 0.64), "left_wrist": (0.5, 0.43), "right_wrist": (0.3, 0.43),
}  # fmt: skip


def test_predicates_are_true_over_motions_and_viewpoints():
    """A camera sees motions whose joints in space are known, from the side, from above, and slower or faster."""
    counted = bench.scored(bench.generated(per_motion=12, seed=0))
    assert len(counted) == 1 + 8 + 3
    for name, own in counted.items():
        precision, recall = bench.precision_recall(own)
        assert precision >= (0.9 if name == "all" else 0.75), name
        assert recall >= (0.8 if name == "all" else 0.7), name


def test_known_answers():
    assert describe(drawn(COCO.joints), COCO).sentence == "hardly anything moves"
    assert describe(drawn(COCO.joints, RAISED), COCO).sentence == (
        "the left hand rises, then sinks between hip height and above the head"
    )
    squat = describe(drawn(COCO.joints, SQUAT), COCO)
    assert squat.short == "both knees bend, then straighten"  # two clauses would be long
    assert describe(drawn(COCO.joints, SQUAT)[:10], COCO).short.startswith("both knees bend; ")
    assert "the trunk leans, then straightens up" in squat.sentence
    knee = next(code for code in squat.codes if code.kind == "knee")
    assert knee.values[1] > 90 and max(knee.values[0], knee.values[2]) < 30
    assert figures(knee).startswith("left knee ") and figures(knee).endswith("°")


def test_words_follow_the_body_and_not_the_picture():
    poses = drawn(COCO.joints, RAISED)
    flipped = (poses * [-1, 1] + [1, 0])[:, mirrored(COCO)].astype(np.float32)
    sentence = describe(poses, COCO).sentence
    assert describe(flipped, COCO).sentence == sentence.replace("left", "right")
    half = poses[:10]
    assert "rises" in describe(half, COCO).sentence and "sinks" in describe(half[::-1], COCO).sentence


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_skeleton_speaks_of_what_it_has(name):
    joints = skeleton(name)
    sentence = describe(drawn(joints.joints, SQUAT), joints).sentence
    assert "both knees bend, then straighten" in sentence


def test_parts_that_nobody_sees_are_not_mentioned():
    no_arms = [joint for joint in COCO.joints if "elbow" not in joint and "wrist" not in joint]
    bones = ["left_shoulder right_shoulder", "left_hip right_hip", "left_shoulder left_hip", "left_hip left_knee"]
    bones += ["left_knee left_ankle", "right_hip right_knee", "right_knee right_ankle", "nose left_eye"]
    bones += ["nose right_eye", "left_eye left_ear", "right_eye right_ear", "nose left_shoulder"]
    other = skeleton({"joints": no_arms, "bones": bones, "head": ["nose"]})
    sentence = describe(drawn(no_arms, {**SQUAT, **RAISED}), other).sentence
    assert "knees" in sentence and "hand" not in sentence and "elbow" not in sentence
    # Imported poses lack joints that were not annotated: who is seen from the side hides one of each pair.
    hidden = drawn(COCO.joints, RAISED)
    hidden[:, [row for row, joint in enumerate(COCO.joints) if joint.startswith("right")]] = 0.5
    assert describe(hidden, COCO).sentence.startswith("the left hand rises, then sinks")
    assert "right" not in describe(hidden, COCO).sentence
    hidden[:, list(COCO.hips)] = 0.5
    assert describe(hidden, COCO) is None


def test_poses_stretched_to_one_box_tell_nothing():
    stretched = normalise(drawn(COCO.joints, SQUAT)[None], "frame_axis")[0]
    assert describe(stretched, COCO) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 2, 1], []),
        ([0, 5, 10, 10], [0, 3]),
        ([10, 5, 0, 5, 10], [0, 2, 4]),
        ([0, 6, 5, 7, 12, 3, 4], [0, 4, 5]),
        ([3, 0, 1, 8], [1, 3]),
    ],
)
def test_turns_are_extremes_that_are_far_enough_apart(values, expected):
    assert turns(np.array(values, float), 5) == expected
