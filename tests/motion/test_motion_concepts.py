from __future__ import annotations

import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.jobs.stage import StageError
from pipeline.motion.finch import Partition
from pipeline.motion.motion_concepts import choose_partition, discover, multi_hot, read_published
from pipeline.motion.pose_clips import cut
from pipeline.motion.settings import MotionConcepts, PoseClips


def blobs(n_blobs: int = 4, per_blob: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Well separated clusters and which one each point belongs to."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n_blobs, 20)) * 5
    truth = np.repeat(np.arange(n_blobs), per_blob)
    return (centres[truth] + rng.normal(size=(len(truth), 20)) * 0.1).astype(np.float32), truth


def test_finds_separated_clusters():
    flat, truth = blobs()
    labels, sizes = discover(flat, np.arange(len(flat)), MotionConcepts(n_concepts=4))
    assert 4 in sizes
    pairs = {(a, b) for a, b in zip(labels.tolist(), truth.tolist(), strict=True)}
    assert len(pairs) == 4


def test_wanted_number_is_met_exactly_where_asked_for():
    flat, _ = blobs()
    labels, _ = discover(flat, np.arange(len(flat)), MotionConcepts(n_concepts=3, nearest=False))
    assert labels.max() + 1 == 3


def test_clusters_of_too_few_videos_are_no_concepts():
    flat, truth = blobs()
    video = np.where(truth == 0, 0, np.arange(len(truth)))  # the first cluster comes from one video
    labels, _ = discover(flat, video, MotionConcepts(n_concepts=4, min_videos=2))
    assert set(labels[truth == 0]) == {-1}
    assert sorted(set(labels)) == [-1, 0, 1, 2]


def test_impossible_choices_are_told():
    flat, _ = blobs()
    with pytest.raises(StageError, match="found only"):
        discover(flat, np.arange(len(flat)), MotionConcepts(partition=50))
    with pytest.raises(StageError, match="more than the finest partition"):
        discover(flat, np.arange(len(flat)), MotionConcepts(n_concepts=5000, nearest=False))


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 20),
        ({"partition": 0}, 60),
        ({"partition": 2}, 10),
        ({"n_concepts": 20}, 20),
        ({"n_concepts": 100}, 60),
        ({"n_concepts": 1}, 10),
        ({"n_concepts": 15}, 20),  # equally near: the finer
        ({"n_concepts": 14}, 10),
        ({"n_concepts": 14, "nearest": False}, 20),
        ({"n_concepts": 21, "nearest": False}, 60),
        ({"n_concepts": 10, "nearest": False}, 10),
    ],
)
def test_choose_partition(settings, count):
    levels = [Partition(np.zeros(1, np.int32), clusters) for clusters in (60, 20, 10)]
    assert choose_partition(levels, MotionConcepts(**settings)).n_clusters == count


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partition": 3}, r"found only 3 partitions of \[60, 20, 10\] clusters"),
        ({"partition": -1}, "found only 3 partitions"),
        ({"n_concepts": 61, "nearest": False}, r"more than the finest partition has clusters \(60\)"),
    ],
)
def test_partitions_that_are_not_there(settings, message):
    levels = [Partition(np.zeros(1, np.int32), clusters) for clusters in (60, 20, 10)]
    with pytest.raises(StageError, match=message):
        choose_partition(levels, MotionConcepts(**settings))


def test_multi_hot():
    hot = multi_hot(np.array([0, 2, 2, -1, 1]), np.array([0, 0, 0, 1, 2]), 4, 3)
    assert hot.tolist() == [[True, False, True], [False] * 3, [False, True, False], [False] * 3]


def test_published_labels(tmp_path):
    job = SimpleNamespace(root=tmp_path, note_file=lambda name, path: path)
    settings = MotionConcepts(source="imported", path={"train": "labels.json"})
    rows = [{"video_name": "a/1.mp4", "attribute_label": [0, 1]}, {"video_name": "2.mp4", "attribute_label": [-1, -1]}]
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    ids, labels = read_published(job, settings)
    assert ids == ["a__1", "2"] and labels.tolist() == [[0, 1], [-1, -1]]
    one = '[{"video_name": "a.mp4", "attribute_label": %s}]'
    for text in (
        '[{"video": 1}]',
        "[" * 100_000,
        "\ud800",
        one % "[[1]]",
        one % "[null]",
        one % "5",
        '[{"video_name": 1}]',
    ):
        (tmp_path / "labels.json").write_text(text, errors="surrogatepass")
        with pytest.raises(StageError, match="expected a list of objects with video_name"):
            read_published(job, settings)
    (tmp_path / "labels.json").write_text(one % "[0, 7]")
    with pytest.raises(StageError, match="must be 0, 1, or −1"):
        read_published(job, settings)
    settings = MotionConcepts(source="imported", path={"train": "labels.pkl"})
    (tmp_path / "labels.pkl").write_bytes(pickle.dumps(rows))
    ids, labels = read_published(job, settings)
    assert ids == ["a__1", "2"] and labels.tolist() == [[0, 1], [-1, -1]]
    (tmp_path / "labels.pkl").write_bytes(pickle.dumps(print))
    with pytest.raises(StageError, match="would have to be executed"):
        read_published(job, settings)


def test_key_clips_are_cut_once_per_window_and_dropped_with_a_reason():
    rng = np.random.default_rng(1)
    base = rng.uniform(20, 80, (17, 2))
    keypoints = np.stack([base + np.array([t, 0]) for t in range(30)]).astype(np.float32)
    confidence = np.full((30, 17), 0.9, np.float32)
    confidence[20:] = 0.1
    present = np.ones(30, bool)
    settings = PoseClips(length=6, per_video=10)
    part = cut(keypoints, confidence, present, np.array([0, 1, 12, 27, 29]), settings, None)
    assert part["start"].tolist() == [0, 9, 24]  # 0 and 1 share a window at the start, 27 and 29 at the end
    assert part["kept"].tolist() == [True, True, False]
    assert part["reason"].tolist() == ["", "", "low_confidence"]
    assert part["poses"].shape == (3, 6, 17, 2)
    # A person who only moves across the picture stands still once centred.
    np.testing.assert_allclose(part["poses"][0][0], part["poses"][0][-1], atol=1e-5)
