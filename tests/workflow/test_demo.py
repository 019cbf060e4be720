"""The whole demo reaches what its documentation says."""

from __future__ import annotations

import math
import re
import shlex

import pytest

from pipeline.store.tables import read_table

pytestmark = pytest.mark.long


def test_the_demo_meets_its_bars(tmp_path, project, make_workspace):
    workspace = make_workspace(tmp_path)
    (tmp_path / "config.yaml").write_text((project / "config.yaml").read_text())
    workspace.snakemake()
    metrics = workspace.metrics("demo")
    rows, _ = read_table(tmp_path / "results/demo/demo/evaluation.parquet")
    measured = dict(zip(rows["figure"].to_pylist(), rows["value"].to_pylist(), strict=True))
    assert metrics["top1"] >= 0.90
    assert metrics["unseen"]["test"] <= 0.05
    assert measured["pck_test_visible"] >= 0.90
    assert measured["dual_encoder_object_test"] >= 0.90
    assert measured["dual_encoder_scene_test"] >= 0.90
    assert metrics["relative_duality_gap"] <= 1e-6
    for kind in ("motion", "object", "scene"):
        ceiling, alone = measured[f"ceiling_{kind}"], metrics["top1_by_type"][kind]
        # Guessing among what cannot be told apart hits the ceiling on average: two standard errors of a proportion.
        assert alone <= ceiling + 2 * math.sqrt(ceiling * (1 - ceiling) / metrics["n_test"])
        assert metrics["top1"] > alone

    # The pages name concepts and classes of this model.
    video = sorted((tmp_path / "results/demo/demo/videos").glob("ball_lift_test_*.mp4"))[0]
    stands_for = {
        "MODEL": "results/demo/model.pt",
        "results/demo/model.pt": "results/demo/model.pt",
        "INPUT": video.stem,
        "CLASS": "ball_lift",
        "OTHER": "ball_squat",
        "my.mp4": str(video),
        "clip.mp4": str(video),
        "why/": "out/why",
        "DIR": "out/all",
        "NEW.pt": "out/new.pt",
    }
    written = [(project / "docs" / page).read_text() for page in ("explain.md", "maps.md")]
    commands = [
        line
        for page in written
        for line in re.findall(
            r"conceptreel (?:predict|explain|contrast|failures|ask|edit|suggest-edits) [^`#\n]*", page
        )
    ]
    assert len(commands) >= 12
    for command in commands:
        workspace.command(*(stands_for.get(word, word) for word in shlex.split(command)))
