"""Which concepts each model kind takes from the layers that all kinds share."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.table import VideoTable
from pipeline.methods.dance.bottleneck.activations import concepts_of

DESCRIBED = {
    "names": ["motion 000", "motion 001", "ball", "gym"],
    "types": ["motion", "motion", "object", "scene"],
    "map_names": ["ball", "beach"],
    "map_types": ["object", "scene"],
    "video_id": ["b", "a"],
    "dead": [False, True, False, False],
    "map_dead": [False, False],
    "min_positives": 5,
}
NAN = float("nan")
ARRAYS = {
    "weight": np.arange(8.0).reshape(4, 2),
    "mean": np.arange(4.0),
    "std": np.ones(4),
    "map_weight": np.ones((2, 3)),
    # mean, softmax, max; rows b and a
    "map_activations": np.arange(12.0).reshape(3, 2, 2),
    "map_mean": np.arange(6.0).reshape(3, 2),
    "map_std": np.full((3, 2), 2.0),
    # absent, present, threshold, n_positive, right
    "levels": np.array([[1.0, 2, 3, 4], [2, 3, 4, NAN], [2, 2, 3, NAN], [9, 9, 3, NAN], [1, 1, 1, NAN]]),
    "map_levels": np.stack([np.array([[4.0, 5], [8, 9], [6, 7], [9, 9], [1, 0.5]]) + k for k in range(3)]),
    "heat": np.array([[1.0, 2], [3, 4]]),
}


@pytest.fixture
def videos() -> VideoTable:
    ids = np.array(["a", "b"], object)
    return VideoTable(ids, ids, ids, ids, ids, ids, ids, ["c"])


def test_dance_sees_whole_clips(videos):
    concepts = concepts_of("dance", ARRAYS, DESCRIBED, videos)
    assert concepts.names == DESCRIBED["names"] and concepts.pooled is None and concepts.pooling is None
    assert "map_weight" not in concepts.layer
    np.testing.assert_allclose(concepts.activations(np.array([[1.0, 0], [0, 1]])), [[0, 1, 2, 3], [1, 2, 3, 4]])


def test_dance_and_salf_has_motion_and_maps(videos):
    concepts = concepts_of("dance+salf", ARRAYS, DESCRIBED, videos, "max")
    assert concepts.names == ["motion 000", "motion 001", "ball", "beach"]
    assert concepts.types == ["motion", "motion", "object", "scene"]
    # Rows are joined by video id: a is the second one of the artifact. (10 - 4) / 2 and (11 - 5) / 2.
    np.testing.assert_allclose(concepts.activations(np.zeros((2, 2)))[0], [0, -1, 3, 3])
    np.testing.assert_allclose(concepts.activations(np.zeros((2, 2)))[1], [0, -1, 2, 2])


def test_levels_are_those_of_the_kind_and_its_pooling(videos):
    dance = concepts_of("dance", ARRAYS, DESCRIBED, videos)
    np.testing.assert_allclose(dance.layer["levels"][:2], [[1, 1, 1, 1], [2, 2, 2, NAN]])  # minus the mean
    assert dance.doubts == ["", "dead", "few_positives", "undivided"] and "heat" not in dance.layer
    assert dance.doubt[2] == "learned from 3 training videos"
    both = concepts_of("dance+salf", ARRAYS, DESCRIBED, videos, "max")
    np.testing.assert_allclose(both.layer["levels"][:2, 2:], [[(6 - 4) / 2, (7 - 5) / 2], [(10 - 4) / 2, (11 - 5) / 2]])
    np.testing.assert_allclose(both.layer["heat"], ARRAYS["heat"])
    assert concepts_of("salf", ARRAYS, DESCRIBED, videos, "mean").doubts == ["", "unread"]


def test_salf_has_no_motion(videos):
    concepts = concepts_of("salf", ARRAYS, DESCRIBED, videos, "mean")
    assert concepts.names == ["ball", "beach"] and concepts.layer["weight"].shape == (0, 2)
    np.testing.assert_allclose(concepts.activations(np.zeros((2, 2))), [[1, 1], [0, 0]])


READ = {"read_names": ["motion 001", "umbrella"], "read_types": ["motion", "scene"], "read_dead": [False, False]}
READINGS = {
    "read_activations": np.array([[0.5, 3.0], [np.nan, 5.0]]),  # b and a
    "read_mean": np.array([0.25, 4.0]),
    "read_std": np.array([0.5, 1.0]),
    "read_levels": np.array([[0.0, 3], [1, 5], [0.5, 4], [9, 3], [1, 1]]),
}


@pytest.mark.parametrize(
    ("kind", "names", "of_a", "of_b"),
    [
        # Of a no pose could be read: it is the mean.
        ("read", ["motion 001", "umbrella"], [0, 1], [0.5, -1]),
        ("read+dance", ["motion 001", "ball", "gym"], [0, -2, -3], [0.5, -2, -3]),
        ("read+salf", ["motion 001", "ball", "beach"], [0, 1, 1], [0.5, 0, 0]),
    ],
)
def test_what_is_read_stands_first(videos, kind, names, of_a, of_b):
    concepts = concepts_of(kind, ARRAYS | READINGS, DESCRIBED | READ, videos, "mean")
    assert concepts.names == names and concepts.types[0] == "motion"
    np.testing.assert_allclose(concepts.activations(np.zeros((2, 2))), [of_a, of_b])
    # absent, present and threshold of what is read, in its own standard deviations.
    np.testing.assert_allclose(concepts.layer["levels"][:3, 0], [-0.5, 1.5, 0.5])
    assert len(concepts.doubts) == len(names) and concepts.doubts[0] == ""


@pytest.mark.parametrize("kind", ["dance", "dance+salf", "salf"])
def test_guessed_kinds_do_not_see_readings(videos, kind):
    without = concepts_of(kind, ARRAYS, DESCRIBED, videos, "mean")
    beside = concepts_of(kind, ARRAYS | READINGS, DESCRIBED | READ, videos, "mean")
    assert beside.read is None and beside.names == without.names
    np.testing.assert_array_equal(beside.activations(np.ones((2, 2))), without.activations(np.ones((2, 2))))
