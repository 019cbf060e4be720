from __future__ import annotations

import numpy as np
import pytest

from pipeline.learning.novelty import FALSE_ALARMS, reach_of


def test_distance_is_mahalanobis_of_a_known_gaussian():
    rng = np.random.default_rng(0)
    mixing = np.array([[3.0, 0, 0], [1, 0.5, 0], [0, 0, 1]])
    train = rng.standard_normal((20000, 3)) @ mixing + 7
    reach = reach_of(train, train[:100])
    steps = np.eye(3)[[0, 1, 2, 2]] * np.array([[1], [1], [1], [-4]])
    np.testing.assert_allclose(reach.distance(7 + steps @ mixing), [1, 1, 1, 4], atol=0.1)


def test_the_limit_keeps_its_promise_on_videos_like_those_of_validation():
    """Over draws of train, validation and test of one source, with more dimensions than videos."""
    flagged = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        train, validation, test = (rng.standard_normal((n, 40)) * np.arange(1, 41) for n in (30, 39, 20))
        reach = reach_of(train, validation)
        flagged.append((reach.distance(test) > reach.limit).mean())
        # The second largest of 39: two of 40 equally likely places lie beyond it.
        assert (reach.distance(validation) > reach.limit).sum() == 1
    assert np.mean(flagged) == pytest.approx(FALSE_ALARMS, abs=0.015)


def test_few_validation_videos_are_never_beyond_the_limit():
    rng = np.random.default_rng(0)
    validation = rng.standard_normal((5, 4))
    reach = reach_of(rng.standard_normal((50, 4)), validation)
    assert not (reach.distance(validation) > reach.limit).any()
    assert reach.distance(validation).max() == pytest.approx(reach.limit)
    assert reach.distance(np.full((1, 4), 30.0))[0] > 5 * reach.limit


@pytest.mark.parametrize("train", [np.ones((3, 4)), np.array([[1.0, 2, 3, 4], [4.0, 3, 2, 1]])])
def test_training_videos_without_variance_give_numbers(train):
    reach = reach_of(train, train[:1])
    assert np.isfinite(reach.distance(np.zeros((1, 4)))).all() and reach.distance(train[:1] + 1e6)[0] > reach.limit
