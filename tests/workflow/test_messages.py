"""What a person reads whose run fails, or cannot begin."""

from __future__ import annotations

import pytest

TARGET = "results/mine/context/texts.zarr.zip"


@pytest.fixture
def mine(finished, make_workspace, tmp_path):
    """Videos of two classes, and no candidates: the stage `texts` will stop."""
    workspace = make_workspace(tmp_path)
    video = next((finished.folder / "results/small/demo/videos").glob("*.mp4")).read_bytes()
    for number in range(6):
        path = tmp_path / f"data/mine/{'ab'[number % 2]}/{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video)
    index = {"source": "folders", "validation_by": "video", "test_fraction": 0.3, "validation_fraction": 0.3}
    workspace.configure({"datasets": {"mine": {"data": {"root": "mine", "index": index}}}})
    return workspace


def said(done) -> str:
    """What Snakemake has printed after it has introduced itself."""
    return (done.stdout + done.stderr).partition("Building DAG of jobs...")[2]


def test_a_failed_job_prints_its_last_line_and_no_settings(mine):
    done = mine.snakemake("-q", "--", TARGET, check=False)
    told = said(done)
    assert done.returncode == 1
    assert "ERROR texts: context.texts.candidates must name a file for each of object, scene" in told
    assert "\nfailed: texts (log: results/mine/logs/texts.log)\n" in told
    assert "\nstarted: index\n" in told  # quiet, not blind
    assert "CONCEPTREEL_RUNTIME" not in told and "--settings" not in told and len(told) < 1500


def test_without_data_a_run_ends_after_one_line(make_workspace, tmp_path):
    workspace = make_workspace(tmp_path)
    workspace.configure({"datasets": {"mine": {"data": {"root": "none", "index": {"source": "folders"}}}}})
    done = workspace.snakemake("results/mine/model.pt", check=False)
    assert done.returncode == 1 and not (tmp_path / "results").exists()
    (line,) = said(done).strip().splitlines()
    assert line.endswith("none does not exist; data_root and data.root name the folder of the data set")


def test_a_wrong_key_is_told_once(make_workspace, tmp_path):
    workspace = make_workspace(tmp_path)
    workspace.configure({"datasets": {"mine": {"moton": {}}}})
    done = workspace.snakemake("-n", "results/mine/model.pt", check=False)
    assert done.returncode == 1 and (done.stdout + done.stderr).count("unknown key `datasets.mine.moton`") <= 2
    assert "Traceback" not in done.stderr


def test_a_dry_run_of_a_finished_run_says_that_nothing_is_to_be_done(finished):
    assert "Nothing to be done" in said(finished.snakemake("-n", "results/small/model.pt"))
