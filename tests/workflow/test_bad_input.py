"""Broken videos and lists become statuses; too many of them, and mistakes in the configuration, stop the run."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def own(finished, make_workspace, tmp_path):
    """Twelve good clips of two classes, and one of every kind of trouble."""
    workspace = make_workspace(tmp_path)
    root = tmp_path / "data" / "mine"
    root.mkdir(parents=True)
    lines = []
    videos = finished.folder / "results/small/demo/videos"
    for name in ("ball_lift", "street_kick"):
        for video in sorted(videos.glob(f"{name}_train_*.mp4")):
            shutil.copy2(video, root / video.name)
            lines.append(f"{video.name},{name}")
    good = (root / "ball_lift_train_000.mp4").read_bytes()
    (root / "empty.mp4").write_bytes(b"")
    (root / "page.mp4").write_bytes(b"<!DOCTYPE html><html>no video</html>")
    (root / "cut.mp4").write_bytes(good[: len(good) // 3])
    lines += [f"{name},ball_lift" for name in ("empty.mp4", "page.mp4", "cut.mp4", "gone.mp4")]
    (root / "striped.mp4").write_bytes(good)
    lines += ["ball_lift_train_000.mp4,ball_lift", "striped.mp4,zebra"]
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    (root / "classes.txt").write_text("ball_lift\nstreet_kick\n")

    def configure(**decode):
        workspace.configure(
            {
                "datasets": {
                    "mine": {
                        "data": {
                            "root": "mine",
                            "shards": 1,
                            "index": {
                                "lists": {"train": "train.csv"},
                                "class_list": "classes.txt",
                                "validation_by": "video",
                                "max_failed_fraction": 0.5,
                            },
                            "decode": {"size": 112, **decode},
                        }
                    }
                }
            }
        )

    configure(max_failed_fraction=0.5)
    return workspace, configure


TARGET = "results/mine/motion/keyframes/000-of-001.parquet"


def test_trouble_becomes_a_status_that_inspect_shows(own):
    workspace, _ = own
    workspace.snakemake(TARGET)
    shown = workspace.command("inspect", "results/mine").stdout
    for video, word in (
        ("gone", "missing"),
        ("empty", "empty"),
        ("page", "not_a_video"),
        ("cut", "damaged"),
        ("ball_lift_train_000", "duplicate"),
        ("striped", "zebra"),
    ):
        assert any(video in line and word in line for line in shown.splitlines()), (video, word, shown)
    reports = {
        report["path"]: report for report in json.loads(workspace.command("inspect", "results/mine", "--json").stdout)
    }
    clips = reports["results/mine/data/clips/000-of-001.zarr.zip"]
    assert (clips["ok"], len(clips["failed"])) == (10, 3)


def test_too_many_failures_stop_with_the_list(own):
    workspace, configure = own
    configure(max_failed_fraction=0.0)
    done = workspace.snakemake(TARGET, check=False)
    assert done.returncode != 0
    log = (workspace.folder / "results/mine/logs/decode/000-of-001.log").read_text()
    assert "max_failed_fraction" in log and "page: not_a_video" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"moton": {}}, "did you mean `motion`"),
        ({"data": {"root": "mine", "shards": 1, "index": {"lists": {"train": "none.csv"}}}}, "none.csv does not exist"),
        ({"data": {"root": "mine", "shards": 2}}, "no shard 000-of-001"),
    ],
)
def test_mistakes_in_the_configuration_stop_before_any_job(own, change, words):
    workspace, _ = own
    config = workspace.config()
    config["datasets"]["mine"].update(change)
    workspace.configure(config)
    done = workspace.snakemake(TARGET, check=False)
    assert done.returncode != 0
    assert words in done.stdout + done.stderr
    assert not (workspace.folder / "results").exists()


def test_unknown_data_set(own):
    workspace, _ = own
    done = workspace.snakemake("results/mime/model.pt", check=False)
    assert done.returncode != 0
