"""A new video must be read as the pipeline reads the videos of its run."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.data.readers import VideoError
from pipeline.jobs.runtime import AUTO
from pipeline.methods.dance.bottleneck.reading import read_video
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.reader import Frames, Reader
from pipeline.methods.dance.explain.sanity import perturbed_pose
from pipeline.methods.dance.settings import Reading
from pipeline.motion.pose_clips import cut
from pipeline.motion.settings import Keyframes, PoseClips, Poses
from pipeline.motion.skeleton import skeleton
from pipeline.store.atomic import StageError

CLIPS = PoseClips(length=6, per_video=3, min_confidence=0, min_cosine=-1, max_step=None)


def model_with(poses: dict, medoids: np.ndarray, texts: np.ndarray | None = None) -> ConceptModel:
    words = 0 if texts is None else len(texts)
    n = len(medoids) + words
    layer = {"weight": np.zeros((0, 2)), "mean": np.zeros(n), "std": np.ones(n)}
    if words:
        layer["texts"] = texts
    reading = {
        "motion": Reading().model_dump(mode="json"),
        "poses": Poses(boxes="whole_frame", **poses).model_dump(mode="json"),
        "keyframes": Keyframes(baseline_degree=0).model_dump(mode="json"),
        "pose_clips": CLIPS.model_dump(mode="json"),
        "dual_encoder": {"model": "x", "n_frames": 2},
    }
    names, types = [f"c{m}" for m in range(n)], ["motion"] * len(medoids) + ["scene"] * words
    about = {"skeleton": "coco", "reading": reading, "dataset": "d"}
    return ConceptModel(["a", "b"], names, types, layer, np.zeros((2, n)), np.zeros(2), medoids, about)


@pytest.fixture
def pose() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "keypoints": rng.uniform(0, 50, (20, 17, 2)).astype(np.float32),
        "confidence": rng.uniform(0.5, 1, (20, 17)).astype(np.float32),
        "present": np.ones(20, bool),
    }


@pytest.fixture
def medoids() -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(4, 6, 17, 2)).astype(np.float32)


def test_a_pose_is_cut_and_read_as_the_stages_do(pose, medoids):
    keyframes = np.array([4, 11, 19])
    part = cut(*pose.values(), keyframes, CLIPS, skeleton("coco").hips)
    expected = read_video(part, *pose.values(), medoids, Reading())
    found = Reader(model_with({}, medoids), AUTO).motions(pose, keyframes, "v")
    np.testing.assert_array_equal(found, expected)
    assert found.max() < 1 and np.ptp(found) > 0
    assert np.isnan(Reader(model_with({}, medoids), AUTO).motions(None, keyframes, "v")).all()


def test_what_was_imported_is_not_guessed_for_a_new_video(medoids):
    reader = Reader(model_with({"source": "penn_action", "path": "x"}, medoids), AUTO)
    with pytest.raises(StageError, match="trained on imported poses"):
        reader.poses_of([np.zeros((3, 8, 8, 3), np.uint8)], Frames)


def test_videos_in_memory_are_read_in_all_their_frames(pose, medoids, monkeypatch):
    """Poses from an estimator that knows them; key frames are where the pixels change."""
    texts = np.eye(2, 3)
    reader = Reader(model_with({}, medoids, texts), AUTO)
    video = np.zeros((20, 16, 16, 3), np.uint8)
    video[9:] = 200
    video[15:] = 0
    clip = np.zeros((1, 4, 8, 8, 3), np.uint8)
    monkeypatch.setattr(reader, "poses_of", lambda videos, opener: [pose if len(v) == 20 else None for v in videos])
    encoder = SimpleNamespace(videos=lambda clips, n_frames, size: np.tile([0.6, 0.8, 0.0], (len(clips), 1)))
    reader.__dict__["_dual_encoder"] = encoder
    found = reader.memory([video, video[:7]], np.repeat(clip, 2, 0), ["v", "w"])
    np.testing.assert_array_equal(found[0, :4], reader.motions(pose, np.array([9, 15]), "v"))
    np.testing.assert_allclose(found[:, 4:], [[0.6, 0.8]] * 2)
    assert np.isnan(found[1, :4]).all()


def test_a_video_without_a_person_is_no_error_and_a_broken_one_is(pose, medoids, monkeypatch):
    answers = {"0": VideoError("no_person", "nobody"), "1": dict(pose, box=np.zeros((20, 4), np.float32))}

    class Estimation:
        def __init__(self, *_):
            pass

        def run(self, videos, openers):
            return [(key, answers[key]) for key, _ in videos]

    monkeypatch.setattr("pipeline.motion.pose.estimate.Estimation", Estimation)
    reader = Reader(model_with({}, medoids), AUTO)
    reader.__dict__["_networks"] = (None, None)
    first, second = reader.poses_of(["a", "b"], Frames)
    assert first is None and second["keypoints"].shape == (20, 17, 2)
    answers["0"] = VideoError("damaged", "half of it")
    with pytest.raises(VideoError, match="half"):
        reader.poses_of(["a"], Frames)


def test_a_video_backwards_has_its_poses_and_key_frames_backwards(pose):
    keyframes = np.array([3, 12])
    found, frames = perturbed_pose(pose, keyframes, "backwards", 5)
    np.testing.assert_array_equal(found["keypoints"], pose["keypoints"][::-1])
    # Between frames 2 and 3 of 20 is between frames 16 and 17 of the same backwards.
    np.testing.assert_array_equal(frames, [8, 17])
    again, same = perturbed_pose(found, frames, "backwards", 5)
    np.testing.assert_array_equal(again["keypoints"], pose["keypoints"])
    np.testing.assert_array_equal(same, keyframes)


def test_a_frozen_video_has_one_pose(pose):
    found, frames = perturbed_pose(pose, np.array([3, 12]), "frozen", 5)
    assert (found["keypoints"] == pose["keypoints"][5]).all() and len(found["present"]) == 20
    np.testing.assert_array_equal(frames, [10])
