"""Comparisons, baselines and cross-domain evaluation on the small run, as a user calls them."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from pipeline.ablations.run import read_rows

pytestmark = pytest.mark.slow

BASELINES = ["backbone", "backbone-sparse", "attributes", "lf-cbm-entangled", "lf-cbm-disentangled"]


def stages_in(cache, paths) -> set[str]:
    """Stages whose artifacts lie in ``cache/<stage>/<digest>/``."""
    return {path.relative_to(cache).parts[0] for path in paths}


def test_baselines_stand_beside_the_other_kinds(finished):
    kinds = finished.metrics("small")["kinds"]
    assert list(kinds) == ["dance+salf", "read", *BASELINES]
    for kind in BASELINES:
        assert 0 <= kinds[kind]["top1"] <= 1 and "shifted_top1" in kinds[kind] and kinds[kind]["nnz"] > 0
    assert kinds["backbone"]["top1"] >= 0.7
    assert kinds["lf-cbm-entangled"]["n_concepts"].keys() == {"spatio_temporal"}
    # The demo's dual encoder knows no motions: no temporal sentence can be read off its features.
    assert kinds["lf-cbm-disentangled"]["n_concepts"].keys() == {"object", "scene"}
    sentences = pq.read_table(finished.folder / "results/small/context/sentences.parquet")["type"].to_pylist()
    assert "temporal" in sentences


def test_a_baseline_is_a_model_that_predicts_and_is_evaluated(workspace):
    workspace.snakemake("results/small/baselines/attributes.pt")
    video = next((workspace.folder / "results/small/demo/videos").glob("*_test_000.mp4"))
    answer = json.loads(
        workspace.command("predict", "results/small/baselines/attributes.pt", str(video), "--json").stdout
    )
    assert answer[0]["contributions"][0]["type"] == "attribute"
    for split, name in (("test", "top1"), ("shifted", "shifted_top1")):
        call = ("evaluate", "results/small/baselines/attributes.pt", "results/small", "--split", split, "--json")
        told = json.loads(workspace.command(*call).stdout)
        assert told["top1"] == pytest.approx(workspace.metrics("small")["kinds"]["attributes"][name])
        assert told["n_videos"] == 8 and sum(row["right"] for row in told["classes"]) == round(told["top1"] * 8)


def test_a_model_with_maps_is_evaluated_and_edited(finished, tmp_path):
    model = ("evaluate", "results/small/model.pt", "results/small")
    plain = json.loads(finished.command(*model, "--split", "shifted", "--json").stdout)
    assert plain["top1"] == pytest.approx(finished.metrics("small")["shifted_top1"])
    edit = ("--weight", "ball_lift", "umbrella", "50")
    told = json.loads(finished.command(*model, "--split", "shifted", *edit, "--json").stdout)
    # Every clip with an umbrella is now a ball_lift.
    assert told["edited_top1"] < told["top1"] and len(told["broken"]) >= 1
    assert told["edited_top1"] * 8 == pytest.approx(told["top1"] * 8 + len(told["fixed"]) - len(told["broken"]))
    text = finished.command(*model, "--split", "shifted", *edit).stdout
    assert f"fixed {len(told['fixed'])}, broken {len(told['broken'])}" in text
    (tmp_path / "map.csv").write_text("ball_lift,ball_squat\n")
    mapped = json.loads(finished.command(*model, "--map", str(tmp_path / "map.csv"), "--json").stdout)
    assert (mapped["n_videos"], mapped["n_left_out"], mapped["n_classes"]) == (1, 7, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "results/small/model.pt", "results/none"), "data/index.parquet"),
        (("evaluate", "results/small/model.pt", "results/small", "--split", "tset"), "has no split `tset`"),
        (("evaluate", "results/small/model.pt", "results/small", "--weight", "y", "x", "1"), "no concept `x`"),
        (("ablate", "results/small", "--table", "clusterings"), "did you mean `clustering`"),
        (("ablate", "results/none", "--table", "clustering"), "results/none does not exist"),
        (("ablations", "results/small", "--out", "page.md"), "holds no table"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(finished, arguments, message):
    done = finished.command(*arguments, check=False)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_number_of_seeds_is_above_0(finished):
    done = finished.command("ablate", "results/small", "--table", "types", "--seeds", "0", check=False)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].endswith("`0` is not a whole number above 0")


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} | {
        path: path.stat().st_mtime_ns for path in folder.rglob("*.zarr.zip")
    }


def test_only_what_differs_runs_again(workspace):
    results, derived = workspace.folder / "results/small", workspace.folder / "results/ablations/small"
    before = times(results)
    call = ("ablate", "results/small", "--seeds", "1", "--cores", "1")
    text = workspace.command(*call, "--table", "filters").stdout
    assert "| none |" in text and times(results) == before
    rows, attributes = read_rows(derived / "filters.parquet")
    assert len({row["variant"] for row in rows}) == 4 and not any(item["problem"] for item in attributes["variants"])
    made = stages_in(derived / "cache", times(derived / "cache"))
    assert made == {"concepts", "concept_layers", "score"}  # clips, poses, clusters and features are those of the run
    # Layers without any filter are one of the four; the other three differ in concepts or in the cut-off.
    assert len(list((derived / "cache/concept_layers").iterdir())) == 4

    first = times(derived / "cache")
    workspace.command(*call, "--table", "filters")
    assert times(derived / "cache") == first
    workspace.command(*call, "--table", "types")
    shared = times(derived / "cache")
    assert first.items() <= shared.items()
    assert stages_in(derived / "cache", shared.keys() - first.keys()) == {"score"}

    workspace.command("ablations", "results/small", "--out", "page.md")
    page = (workspace.folder / "page.md").read_text()
    assert "### Filters of objects and scenes" in page and "### Types of concepts" in page


def test_a_run_of_another_configuration_is_refused(workspace):
    config = workspace.config()
    config["datasets"]["small"]["motion"]["pose_clips"]["length"] = 12
    workspace.configure(config)
    done = workspace.command("ablate", "results/small", "--table", "types", "--seeds", "1", check=False)
    assert done.returncode == 2 and "other settings" in done.stderr and "snakemake" in done.stderr
    assert not list((workspace.folder / "results/ablations").glob("*/*.parquet"))
