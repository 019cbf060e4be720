from __future__ import annotations

import numpy as np
import pytest

from pipeline.motion.drawing import draw_strip
from pipeline.motion.skeleton import mirrored, read_definition, shipped, skeleton

NAMES = sorted(shipped())

# How far a part is from the middle, to its own side, and how far down it is.
STANDING = {
    **dict.fromkeys(("nose", "head", "face"), (0, 0.05)),
    "head_top": (0, 0.0),
    "eye": (0.03, 0.03),
    "ear": (0.06, 0.05),
    "upper_neck": (0, 0.13),
    "neck": (0, 0.15),
    **dict.fromkeys(("thorax", "spine_shoulder", "shoulder_center"), (0, 0.2)),
    "shoulder": (0.12, 0.22),
    "elbow": (0.18, 0.38),
    "wrist": (0.20, 0.52),
    "hand": (0.21, 0.56),
    "hand_tip": (0.22, 0.6),
    "thumb": (0.18, 0.57),
    **dict.fromkeys(("belly", "spine", "spine_middle"), (0, 0.38)),
    **dict.fromkeys(("pelvis", "mid_hip", "hip_center", "spine_base"), (0, 0.53)),
    "hip": (0.08, 0.55),
    "knee": (0.09, 0.77),
    "ankle": (0.10, 0.96),
    "heel": (0.09, 0.98),
    "foot": (0.12, 1.0),
    "big_toe": (0.12, 1.0),
    "small_toe": (0.15, 1.0),
}


def standing(name: str) -> np.ndarray:
    """A person facing the camera `[J, 2]`, whose left side is right in the picture."""
    pose = []
    for joint in skeleton(name).joints:
        side = {"left": 1, "right": -1}.get(joint.partition("_")[0], 0)
        x, y = STANDING[joint.partition("_")[2] if side else joint]
        pose.append((0.5 + side * x, y))
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


def test_the_shipped_skeletons():
    counts = {"coco": 17, "jhmdb": 15, "kinect": 20, "mpii": 16, "ntu": 25, "openpose": 25, "penn_action": 13}
    assert {name: len(skeleton(name).joints) for name in NAMES} == counts


@pytest.mark.parametrize("name", NAMES)
def test_every_joint_is_connected_and_mirrored_edges_exist(name):
    definition = skeleton(name)
    mirror = mirrored(definition)
    joints = set(range(len(definition.joints)))
    assert set(mirror) == joints and all(mirror[mirror[joint]] == joint for joint in joints)  # an involution
    assert all(
        definition.joints[left].removeprefix("left_") == definition.joints[right].removeprefix("right_")
        for left, right in definition.pairs
    )
    sided = {joint for pair in definition.pairs for joint in pair}
    assert not any(definition.joints[joint].startswith(("left", "right")) for joint in joints - sided)
    assert {definition.hips, definition.shoulders} <= set(definition.pairs)
    edges = {frozenset(edge) for edge in definition.edges}
    assert len(edges) == len(definition.edges)
    assert {frozenset(mirror[joint] for joint in edge) for edge in edges} == edges
    assert {joint for edge in edges for joint in edge} == joints


def test_unknown_skeleton_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'body_25': choose one of \['coco', 'jhmdb', .* 'penn_action'\]"):
        skeleton("body_25")


OWN = (
    "joints: [head, left_s, right_s, left_h, right_h]\nshoulders: left_s right_s\nhips: left_h right_h\nhead: [head]\n"
)
BONES = "bones: [left_s right_s, left_s left_h, right_s right_h]\n"


def test_a_skeleton_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(OWN + BONES + "axes: yx\n")
    definition = read_definition(path)
    assert (definition.name, definition.axes) == ("mine", "yx")
    # What an artifact holds of it is enough to draw and to mirror.
    found = skeleton(definition.model_dump(mode="json"))
    assert found == definition.skeleton() and found.edges == ((1, 2), (1, 3), (2, 4))
    assert mirrored(found) == [0, 2, 1, 4, 3]
    path.write_text(OWN + BONES + "pairs: [left_s right_h]\n")
    assert mirrored(read_definition(path).skeleton()) == [0, 4, 2, 3, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must name joints and bones"),
        ("joints: [a", "is no skeleton's file"),
        ("joints: [a, b, c]", "`bones`: Field required"),
        (OWN, "`bones`: Field required"),
        (OWN + "bones: [left_s right_s, left_s left_h]", "no bones lead from `head` to `right_h`"),
        (OWN + "bones: [left_s right_shoulder]", "the bone `left_s right_shoulder` is not two of its joints"),
        (OWN + "bones: [left_s left_s]", "the bone `left_s left_s` is not two"),
        (OWN + BONES + "pairs: [left_s right_s, right_s left_h]", "the joint `right_s` is in two pairs"),
        (OWN.replace("right_h]", "left_h]") + BONES, "the joint `left_h` is there twice"),
        (OWN.replace("right_h]", "other]") + BONES, "the bone `right_s right_h` is not two"),
        (OWN.replace("[head]", "[nose]") + BONES, "`nose` of the head is none of its joints"),
        (OWN.replace("hips: left_h right_h", "") + BONES, "hips `left_hip right_hip` is not two"),
        (OWN + BONES + "axis: yx", "`axis`: Extra inputs"),
        (OWN + BONES + "axes: zyx", "`axes`: Input should be 'xy' or 'yx'"),
    ],
)
def test_a_wrong_skeleton_is_told_in_one_line(text, words, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=words) as told:
        read_definition(tmp_path / "mine.yaml")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", NAMES)
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
