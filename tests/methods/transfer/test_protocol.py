"""Known, unknown and their mean, against the published figures; and tests of gains."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from pipeline.methods.transfer.protocol import accuracy, averaged, class_mean, figures, inside_pairs, sign_flip


def test_published_results(real_data):
    """D of all entries to .01; the printed HM is averaged over sets, and the mean is concave: never above ours."""
    with (real_data / "motion_transfer/published_results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 63
    for row in rows:
        own = figures(float(row["known"]), float(row["unknown"]))
        assert own.d_abs == pytest.approx(float(row["d_abs"]), abs=0.0101), row
        assert own.hm >= float(row["hm"]) - 0.0101, row
    coarse = [row for row in rows if row["level"] == "coarse"]
    hm = {
        name: np.mean([float(row["hm"]) for row in coarse if row["dataset"] == name][:13])
        for name in ("Syn-TA", "K400-TA", "SSv2-TA")
    }
    assert hm == pytest.approx({"Syn-TA": 59.26, "K400-TA": 67.04, "SSv2-TA": 43.31}, abs=0.005)


def test_the_mean_is_one_per_set():
    found = averaged([figures(90, 30), figures(60, 60)])
    assert found.hm == pytest.approx((45 + 60) / 2) and found.known == 75 and found.d_abs == 30
    assert found.hm < figures(75, 45).hm
    assert pytest.approx(68.38) == (67.96 + 68.80) / 2  # Table 5 and EZ-CLIP's HM in Table 2
    with pytest.raises(ValueError, match="no figures"):
        averaged([])


def test_nothing_known_and_nothing_unknown():
    assert figures(0, 0) == (0, 0, 0, 0, 0) and figures(50, 0).hm == 0 and figures(80, 60).d_rel == 25


def test_accuracies():
    label, said = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert accuracy(said, label) == 75 and class_mean(said, label) == pytest.approx((200 / 3 + 100) / 2)
    assert accuracy(label[:0], label[:0]) == 0


def test_inside_pairs_counts_the_class_and_its_partner_alone():
    partner = np.array([1, 0, -1])
    label, said = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 2, 1, 2])
    assert inside_pairs(said, label, partner) == pytest.approx(2 / 3)
    assert math.isnan(inside_pairs(label[4:], label[4:], partner))


def test_sign_flips():
    assert sign_flip([1, 1, 1, 1, 1]) == pytest.approx(1 / 32)
    assert sign_flip([-1, -2]) == 1 and sign_flip([]) == 1
    assert sign_flip([1, -1]) == pytest.approx(0.75)
    assert sign_flip([0.5] * 20) < 0.01
