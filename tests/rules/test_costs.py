"""What a run will cost: arithmetic that can be done by hand."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipeline.cli import main
from pipeline.config import Datasets, load, published
from pipeline.data.entries import Entry
from pipeline.encoding.known import KNOWN
from pipeline.rules import costs
from pipeline.rules.costs import Counts, counts_of, downloads, expectation, lengths, minutes, run_costs, stage_cost
from pipeline.store.provenance import SCHEMA_VERSION
from pipeline.store.tables import write_table

UCF101 = Datasets({})["ucf101"]
# Nine of ten are learned from.
COUNTS = Counts(1000, 900, 200)


def write_video(path: Path, n_frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for k in range(n_frames):
        writer.write(np.full((48, 64, 3), k, np.uint8))
    writer.release()


def test_a_stage_costs_its_passes_through_networks_of_known_speed():
    poses = stage_cost(UCF101, "poses", COUNTS, None)
    assert poses.units == 200_000 and poses.jobs == 48
    assert poses.cpu_hours == pytest.approx((200_000 * (1.33 + 1.23 + 0.003) + 48 * costs.JOB_SECONDS) / 3600)
    assert poses.gpu_hours == pytest.approx(200_000 * (60.4 + 68.7) * 1e9 / costs.GPU_SPEED / 3600)
    prompts = stage_cost(UCF101, "prompts", COUNTS, None)
    # 8 frames of 49 circles in each video that is learned from; embeddings of 512 halves.
    assert prompts.cpu_hours == pytest.approx((900 * (8 * 49 * 0.38 + 0.01) + 48 * costs.JOB_SECONDS) / 3600)
    assert prompts.megabytes == pytest.approx(900 * 8 * 49 * 512 * 2 / 1e6)
    # A clip is 16 frames of 224 × 224 × 3, of which packing takes half.
    assert stage_cost(UCF101, "decode", COUNTS, None).megabytes == pytest.approx(1000 * (2408.448 / 2 + 2) / 1000)
    # docs/finetuning.md: 38 GB of views, and 23 GB of clips and 73 GB of views while it trains.
    whole = counts_of(UCF101, [], Path("nowhere"))
    assert stage_cost(UCF101, "views", whole, None).megabytes == pytest.approx(38_000, rel=0.05)
    assert stage_cost(UCF101, "finetune", whole, None).megabytes == pytest.approx(96_000, rel=0.01)
    # Looked at twice, and no detector.
    small = Datasets({"a": {"profile": "small"}})["a"]
    refined = stage_cost(small, "poses", COUNTS, None)
    assert refined.cpu_hours == pytest.approx((200_000 * (2 * 0.05 + 0.003) + 8 * costs.JOB_SECONDS) / 3600)


def test_what_is_not_known_is_unknown():
    without = Datasets({"a": {"backbone": {"features": {"model": "some/network"}}}})["a"]
    features = stage_cost(without, "features", COUNTS, None)
    assert features.cpu_hours is None and features.gpu_hours is None and features.source == "unknown"
    found = run_costs(UCF101, ["model"], Counts(None, None, None), None)
    assert all(cost.cpu_hours is None for cost in found)
    assert costs.amount(None, "video") == costs.hours(None) == costs.space(None) == "unknown"
    assert not costs.totals(found)["complete"]


def test_jobs_ask_for_the_time_that_they_are_expected_to_need():
    """A shard of a 48th of UCF-101 poses for 35 hours on a core; the hour that the stage declares is for a GPU."""
    counts = counts_of(UCF101, [], Path("nowhere"))
    assert (counts.videos, counts.frames) == (13_320, 180)
    hours = 13_320 * 180 * (1.33 + 1.23 + 0.003) / 3600 / 48
    assert minutes(UCF101, "poses", counts, gpu=False) == pytest.approx(60 * 1.5 * hours, rel=0.01)
    assert minutes(UCF101, "poses", counts, gpu=True) == 60
    assert minutes(UCF101, "keyframes", counts, gpu=False) == 20


def test_frames_are_counted_in_headers_and_a_broken_file_is_left_out(tmp_path):
    write_video(tmp_path / "a.mp4", 12)
    write_video(tmp_path / "b (1).mp4", 30)
    (tmp_path / "broken.mp4").write_bytes(b"<html>")
    found = lengths([tmp_path / name for name in ("a.mp4", "broken.mp4", "b (1).mp4")])
    assert [frames for frames, _ in found] == [12, 30]
    np.testing.assert_allclose([seconds for _, seconds in found], [12 / 25, 30 / 25])
    entries = [Entry(n, n, (0,), ("x",), split, split) for n, split in (("a.mp4", "train"), ("b (1).mp4", "test"))]
    counts = counts_of(UCF101, entries, tmp_path)
    assert (counts.videos, counts.train, counts.frames) == (2, 1, 21)


def finished(results: Path, dataset: str, settings: dict, seconds: float, device: str = "cpu", n: int = 100) -> None:
    """An artifact of the stage `features` that tells how long it took."""
    record = {
        "stage": "features",
        "module": "pipeline.backbone.features",
        "dataset": dataset,
        "settings": settings,
        "code_digest": "",
        "counts": {"ok": n, "failed": 0},
        "seconds": seconds,
        "device": device,
    }
    path = results / dataset / "backbone/features/000-of-001.parquet"
    path.parent.mkdir(parents=True)
    write_table(path, pa.table({"x": [0]}), {"schema": "features", "schema_version": SCHEMA_VERSION}, record)


def test_earlier_runs_of_the_same_encoder_tell_better(tmp_path, monkeypatch):
    """A run with another encoder tells nothing; one on a GPU tells of GPUs only."""
    from dataclasses import replace

    own = json.loads(json.dumps(costs.STAGES["features"].own_settings(UCF101)))
    monkeypatch.setitem(
        costs.STAGES,
        "features",
        replace(costs.STAGES["features"], writes={"features": "backbone/features/{shard}.parquet"}),
    )
    finished(tmp_path, "slow", own, 700)
    finished(tmp_path, "other", {**own, "model": "some/network"}, 1)
    finished(tmp_path, "fast", own, 50, "cuda:0")
    cost = stage_cost(UCF101, "features", COUNTS, tmp_path)
    assert cost.cpu_hours == pytest.approx(1000 * 7 / 3600) and cost.gpu_hours == pytest.approx(1000 * 0.5 / 3600)
    assert cost.source == "results/fast, results/slow" and cost.gpu_measured
    assert not stage_cost(UCF101, "features", COUNTS, None).gpu_measured


def test_a_network_of_mmpose_is_as_fast_as_its_conversion_found(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "weights/rtmpose"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "mmpose", "speed": {"multiply_adds": 0.4, "seconds": 0.02}}')
    own = "{profile: small, motion: {poses: {model: weights/rtmpose}}}"
    Path("config.yaml").write_text(f"datasets:\n  mine: {own}\n")
    mine = load(Path("config.yaml")).datasets["mine"]
    poses = stage_cost(mine, "poses", COUNTS, None)
    assert poses.cpu_hours == pytest.approx((200_000 * (2 * 0.02 + 0.003) + 8 * costs.JOB_SECONDS) / 3600)
    assert poses.gpu_hours == pytest.approx(200_000 * 2 * 0.4e9 / costs.GPU_SPEED / 3600)
    assert set(downloads(mine, ["poses", "features"])) == {"small/efficientnet-lite0"}
    for runtime, says in (
        ("", "weights/rtmpose is a network of MMPose and needs runtime.mmpose, which is not set"),
        (f"runtime: {{mmpose: {sys.executable}}}", f"runs under runtime.mmpose, {sys.executable}"),
        ("runtime: {mmpose: /no/python}", "cannot run: runtime.mmpose, /no/python, is no program"),
    ):
        Path("config.yaml").write_text(f"{runtime}\ndatasets:\n  mine: {own}\n")
        assert main(["plan", "results/mine"]) == 0
        assert says in capsys.readouterr().out
    # One that was converted before speeds were noted, and a folder of another network.
    (folder / "config.json").write_text('{"model_type": "mmpose"}')
    assert stage_cost(mine, "poses", COUNTS, None).source == "unknown"


def test_downloads_are_those_of_networks_that_run():
    names = [cost.stage for cost in run_costs(UCF101, ["model"], COUNTS, None)]
    assert {model: known.megabytes for model, known in downloads(UCF101, names).items()} == {
        "usyd-community/vitpose-plus-large": 1600,
        "PekingU/rtdetr_r50vd_coco_o365": 172,
        "openai/clip-vit-base-patch16": 599,
        "MCG-NJU/videomae-base": 377,
    }
    own = Datasets({"a": {"profile": "small"}})["a"]
    names = [cost.stage for cost in run_costs(own, ["model"], COUNTS, None)]
    assert set(downloads(own, names)) == {"small/movenet-thunder", "small/efficientnet-lite0"}
    imported = Datasets({})["penn_action"]
    assert downloads(imported, [cost.stage for cost in run_costs(imported, ["model"], COUNTS, None)]) == {}


def test_a_figure_is_expected_of_the_settings_that_it_was_measured_with():
    shipped = UCF101.model_dump(mode="json")
    top1, source = expectation(shipped, shipped)
    assert top1 == 0.868 and "Table 11" in source
    moved = Datasets({"ucf101": {"data": {"root": "elsewhere"}}})["ucf101"].model_dump(mode="json")
    assert expectation(shipped, moved)[0] == 0.868
    other = Datasets({"ucf101": {"backbone": {"finetune": {"enabled": False}}}})["ucf101"].model_dump(mode="json")
    top1, why = expectation(shipped, other)
    assert top1 is None and "`backbone` differs" in why
    split = Datasets({})["ucf101_split2"].model_dump(mode="json")
    assert split["expects"]["frames"] == 180 and expectation(split, split)[0] is None
    assert expectation(None, shipped) == (None, "these are videos of your own")


def test_no_published_set_takes_features_from_a_network_that_knows_no_actions():
    """Each is tuned, imported, the demo's own, or was trained with labels."""
    for name in published():
        backbone = Datasets({})[name].backbone
        known = KNOWN.get(backbone.features.model)
        assert backbone.finetune.enabled or not (known and known.self_supervised), name
    assert not KNOWN[Datasets({"a": {}})["a"].backbone.features.model].self_supervised


def test_the_command_tells_all_of_it_without_torch(project, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text((project / "config.yaml").read_text())
    assert main(["plan", "results/ucf101"]) == 0
    said = re.sub(" +", " ", capsys.readouterr().out)
    for words in (
        "ucf101: 13,320 videos, 180 frames each on average (as published; ",
        "openai/clip-vit-base-patch16 (599 MB)",
        "poses 48 2.4 million frames 480 MB 1,707 h 2.9 h, assumed bench/",
        "unknown, no run here tells: motion_concepts,",
        "expected accuracy: top-1 0.868 (DANCE",
        "not measured",
    ):
        assert words in said
    assert main(["plan", "results/ucf101", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {item["stage"] for item in told["stages"]} >= {"poses", "finetune", "model"}
    assert told["counts"]["videos"] == 13_320 and told["downloads"]["MCG-NJU/videomae-base"] == 377
    assert main(["plan", "results/ucf102"]) == 2 and "ucf101" in capsys.readouterr().err


def test_a_set_that_is_there_in_part_is_planned_as_published(project, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/kth").mkdir(parents=True)
    Path("config.yaml").write_text((project / "config.yaml").read_text())
    assert main(["plan", "results/kth"]) == 0
    assert "kth: 2,391 videos, 121 frames each on average (as published; 00sequences.txt is" in capsys.readouterr().out


def test_a_plan_of_own_videos(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for k in range(10):
        write_video(tmp_path / f"data/clips/{'ab'[k % 2]}/{k}.mp4", 20)
    section = (
        "{profile: small, data: {root: clips, index: {source: folders, validation_by: video, test_fraction: 0.2}}}"
    )
    Path("config.yaml").write_text(f"datasets:\n  mine: {section}\n")
    assert load(Path("config.yaml")).datasets["mine"].motion.poses.model == "small/movenet-thunder"
    assert main(["plan", "results/mine"]) == 0
    said = capsys.readouterr().out
    assert "mine: 10 videos, 20 frames each on average (the lists, and the headers of 10 videos)" in said
    assert "`conceptreel fetch small`" in said and "expected accuracy: unknown (these are videos of your own)" in said


def test_what_a_plan_needs_imports_no_torch(project):
    import subprocess

    code = "import sys, pipeline.rules.costs, pipeline.rules.videos; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=project, check=True)
