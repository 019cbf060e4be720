"""The whole demo reaches what its documentation says."""

from __future__ import annotations

import math

import pytest

pytestmark = pytest.mark.long


def test_the_demo_meets_its_bars(tmp_path, project, make_workspace):
    workspace = make_workspace(tmp_path)
    (tmp_path / "config.yaml").write_text((project / "config.yaml").read_text())
    workspace.snakemake("results/demo/model.pt")
    metrics = workspace.metrics("demo")
    assert metrics["top1"] >= 0.90
    assert metrics["pck"] >= 0.90
    assert metrics["evaluation"]["dual_encoder_object_test"] >= 0.90
    assert metrics["evaluation"]["dual_encoder_scene_test"] >= 0.90
    assert metrics["relative_duality_gap"] <= 1e-6
    for kind in ("motion", "object", "scene"):
        ceiling, alone = metrics["ceilings"][kind], metrics["top1_by_type"][kind]
        # Guessing among what cannot be told apart hits the ceiling on average: two standard errors of a proportion.
        assert alone <= ceiling + 2 * math.sqrt(ceiling * (1 - ceiling) / metrics["n_test"])
        assert metrics["top1"] > alone
