"""What Breakfast's own label files say; skipped where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.sets import READERS
from pipeline.data.sets.breakfast import activity_of
from pipeline.data.settings import Index
from pipeline.methods.pcmci.measures import by_group_rates, couplings, mean_precision


@pytest.fixture(scope="module")
def breakfast(real_data):
    if not (real_data / "breakfast").is_dir():
        pytest.skip("no label files of Breakfast")
    return READERS["breakfast"](Index(source="breakfast"), real_data / "breakfast").entries


def test_the_dish_alone(breakfast):
    labels = np.zeros((len(breakfast), 48), bool)
    for row, entry in enumerate(breakfast):
        labels[row, list(entry.labels)] = True
    test = np.array([entry.split == "test" for entry in breakfast])
    dish = np.array([activity_of(entry.video_id) for entry in breakfast])
    found = mean_precision(by_group_rates(labels[~test], dish[~test], dish[test]), labels[test])
    assert test.sum() == 355 and found["mAP"] == pytest.approx(0.785, abs=0.003)
    assert (~labels[test].any(0)).sum() == 5
    # ODD of the labels themselves: with the background class, and without.
    assert couplings(labels[test], labels[test]).density == pytest.approx(0.0847, abs=1e-4)
    assert couplings(labels[test][:, 1:], labels[test][:, 1:]).density == pytest.approx(0.0689, abs=1e-4)
