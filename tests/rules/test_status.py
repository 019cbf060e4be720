from __future__ import annotations

import json
import os

import numpy as np
import pytest
import yaml

from pipeline.cli import main
from pipeline.config import validate
from pipeline.jobs import joblog, stage
from pipeline.rules.graph import settings_json, shards
from pipeline.rules.status import duration, run_status

OWN = {"data": {"shards": 4, "index": {"source": "folders"}}}
PUBLISHED = {
    "data": {"shards": 1},
    "motion": {"poses": {"source": "penn_action"}, "keyframes": {"source": "list"}},
    "context": {"dual_encoder": {"source": "tensor"}, "texts": {"source": "tensor"}},
    "backbone": {"features": {"source": "tensor"}},
    "bottleneck": {"concept_layers": {"kinds": ["dance"]}},
}
CONFIG = {"datasets": {"own": OWN, "published": PUBLISHED, "demo": {"data": {"index": {"source": "generated"}}}}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    result = tmp_path / "results" / "own"
    result.mkdir(parents=True)
    return result


def artifact(path, name: str, module: str, *warnings: str) -> None:
    """An artifact as the stage ``name`` of the data set `own` would write it today."""
    arguments = ["--dataset", "own", "--settings", settings_json(validate(CONFIG).datasets["own"], name)]
    job = stage.Job(name, module, stage.parser().parse_args([*arguments, "--output", "x", str(path)]))
    for sentence in warnings:
        job.warn(sentence)
    job.write_arrays("x", {"v": np.arange(3)}, {"video_id": ["a", "b", "c"]}, n_ok=3)


def log(path, ended=None, error="", **started) -> None:
    record = {"time": 0, "pid": 0, "host": "", "slurm": "", "mem_mb": 8000, "minutes": 60, **started}
    lines = [f"INFO started {json.dumps(record)}"]
    lines += [f"ERROR {error}"] if error else []
    lines += [f"INFO ended {json.dumps(ended)}"] if ended else []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"2033-05-18 03:33:20,000 {line}\n" for line in lines))


@pytest.fixture
def half(folder):
    """Poses: 000 and 001 done, 002 failed for lack of memory, 003 killed by SLURM's time limit."""
    names = shards(validate(CONFIG).datasets["own"])
    for name, seconds, memory in zip(names[:2], (100, 200), (900, 1500), strict=True):
        artifact(folder / f"motion/poses/{name}.zarr.zip", "poses", "pipeline.motion.poses")
        log(folder / f"logs/poses/{name}.log", {"outcome": "ok", "seconds": seconds, "peak_mb": memory})
    failed = {"outcome": "failed", "seconds": 10, "peak_mb": 8100}
    log(folder / f"logs/poses/{names[2]}.log", failed, "poses: out of memory; ask for more than 8000 MB", slurm="71_3")
    log(folder / f"logs/poses/{names[3]}.log", slurm="71_4", host="node-of-old")
    os.utime(folder / f"logs/poses/{names[3]}.log", (0, 0))
    printed = folder.parents[1] / f".snakemake/slurm_logs/rule_poses/own/{names[3]}/71_4.log"
    printed.parent.mkdir(parents=True)
    printed.write_text("slurmstepd: error: *** JOB 71 ON n1 CANCELLED AT 2033-05-18T03:33:20 DUE TO TIME LIMIT ***\n")
    return folder


def poses(folder, now=4e9):
    section = validate(CONFIG).datasets["own"]
    (found,) = (item for item in run_status(folder, section, folder.parents[1], now) if item.stage == "poses")
    return found


def test_counts_times_and_memory(half):
    found = poses(half)
    assert (found.total, found.done, found.running, found.failed, found.waiting) == (4, 2, 0, 2, 0)
    assert (found.seconds, found.longest_seconds, found.left_seconds) == (150, 200, 300)
    assert (found.peak_mb, found.asked_mb, found.asked_minutes) == (8100, 8000, 60)


def test_why_a_job_failed_and_where_to_read_on(half):
    first, second = poses(half).failures
    assert (first.job, first.slurm) == ("poses 002-of-004", "71_3")
    assert first.error == "poses: out of memory; ask for more than 8000 MB"
    assert first.log.endswith("logs/poses/002-of-004.log")
    assert "DUE TO TIME LIMIT" in second.error


def printed_by_slurm(half):
    return half.parents[1] / ".snakemake/slurm_logs/rule_poses/own/003-of-004/71_4.log"


def test_a_job_whose_log_is_fresh_is_running(half):
    printed_by_slurm(half).unlink()
    found = poses(half, joblog.SILENT_SECONDS / 2)
    assert (found.running, found.failed) == (1, 1)


def test_what_slurm_has_ended_is_not_running_however_fresh_its_log(half):
    found = poses(half, joblog.SILENT_SECONDS / 2)
    assert (found.running, found.failed) == (0, 2)
    assert "DUE TO TIME LIMIT" in found.failures[1].error and found.failures[1].slurm == "71_4"
    # Under the same id, but long ago: it was put into the queue again, and its log has gone on.
    own = half / "logs/poses/003-of-004.log"
    os.utime(own, (9000, 9000))
    os.utime(printed_by_slurm(half), (1000, 1000))
    found = poses(half, 9000 + joblog.SILENT_SECONDS / 2)
    assert (found.running, found.failed) == (1, 1)


def test_a_polite_end_from_outside_is_explained_by_slurm(half):
    log(half / "logs/poses/003-of-004.log", {"outcome": "failed"}, f"poses: {joblog.STOPPED}", slurm="71_4", host="n1")
    assert "DUE TO TIME LIMIT" in poses(half).failures[1].error
    printed_by_slurm(half).unlink()
    assert joblog.STOPPED in poses(half).failures[1].error
    # A reason of its own says more than SLURM does.
    assert poses(half).failures[0].error == "poses: out of memory; ask for more than 8000 MB"


@pytest.mark.parametrize("place", ["rule_poses/own_003-of-004/88.log", "rule_poses/88_2.log"])
def test_a_job_that_was_ended_before_its_own_log_began_has_failed(half, place):
    """The first is a job alone, the second a task of an array, whose log is known by what Snakemake prints."""
    (half / "logs/poses/003-of-004.log").unlink()
    printed_by_slurm(half).unlink()
    assert (poses(half).failed, poses(half).waiting) == (1, 1)
    path = half.parents[1] / ".snakemake/slurm_logs" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    end = "slurmstepd: error: *** JOB 88 ON n1 CANCELLED AT 2033-05-18T03:33:20 DUE TO TIME LIMIT ***\n"
    path.write_text(f"rule poses:\n    log: results/own/logs/poses/003-of-004.log\n{end}")
    found = poses(half)
    assert (found.failed, found.waiting) == (2, 0)
    assert "TIME LIMIT" in found.failures[1].error and found.failures[1].log == str(path)
    assert found.failures[1].slurm == path.stem
    # What another shard's job printed tells nothing of this one, nor does a room in a path.
    path.write_text("rule poses:\n    log: results/own/logs/poses/003-of-004.log\n    input: bedroom.mp4\n")
    assert poses(half).waiting == 1


def test_an_attempt_that_never_began_is_newer_than_the_log_of_the_one_before(half):
    path = half.parents[1] / ".snakemake/slurm_logs/rule_poses/own_003-of-004/99.log"
    path.parent.mkdir(parents=True)
    path.write_text("error: *** JOB 99 ON n2 CANCELLED AT 2033-05-18T05:00:00 DUE TO NODE FAILURE ***\n")
    log(half / "logs/poses/003-of-004.log", {"outcome": "ok", "seconds": 1}, slurm="71_9")
    os.utime(half / "logs/poses/003-of-004.log", (0, 0))
    assert "NODE FAILURE" in poses(half).failures[1].error


def test_a_killed_job_that_nobody_explains(half):
    log(half / "logs/poses/003-of-004.log", host="node-of-old")
    os.utime(half / "logs/poses/003-of-004.log", (0, 0))
    assert "killed without a word" in poses(half).failures[1].error


def test_unreadable_and_stale_artifacts_are_not_done(half):
    path = half / "motion/poses/000-of-004.zarr.zip"
    path.write_bytes(path.read_bytes()[:-40])
    found = poses(half)
    assert (found.done, found.failed) == (1, 3)
    assert "damaged" in found.failures[0].error
    config = validate({"datasets": {"own": {**OWN, "motion": {"poses": {"max_gap": 9}}}}})
    (found,) = (i for i in run_status(half, config.datasets["own"], now=4e9) if i.stage == "poses")
    assert (found.done, found.stale, found.waiting) == (0, 1, 1)


def test_stages_that_a_data_set_does_not_need_are_not_listed(folder):
    config = validate(CONFIG)
    names = {key: [item.stage for item in run_status(folder, config.datasets[key])] for key in CONFIG["datasets"]}
    assert "decode" not in names["published"] and "poses" in names["published"]
    assert {"decode", "texts", "model"} <= set(names["own"])
    assert "generate" not in names["own"] and "generate" in names["demo"]
    # What nobody has asked for is no part of a run; what has begun is.
    assert "pictures" not in names["own"]
    log(folder / "logs/pictures.log")
    assert "pictures" in [item.stage for item in run_status(folder, config.datasets["own"])]


def test_without_a_configuration_the_files_tell_the_shards(half, capsys):
    (half.parents[1] / "config.yaml").unlink()
    assert main(["status", "results/own"]) == 1
    printed = capsys.readouterr().out
    assert "2/4" in printed and "decode" not in printed


def test_the_command(half, capsys):
    assert main(["status", "results/own"]) == 1
    printed = capsys.readouterr().out
    assert "8100 of 8000 MB" in printed and "3 min of 60 min" in printed
    assert "failed: poses 002-of-004 (SLURM job 71_3): poses: out of memory" in printed
    assert "2 of " in printed and "not counting videos, index, decode" in printed
    assert main(["status", "results/own", "--json"]) == 1
    by_stage = {item["stage"]: item for item in json.loads(capsys.readouterr().out)}
    assert by_stage["poses"]["done"] == 2 and by_stage["decode"]["waiting"] == 4
    assert main(["status", "results/none"]) == 2
    (half.parent / "empty").mkdir()
    assert main(["status", "results/empty"]) == 2
    errors = capsys.readouterr().err
    assert "does not exist" in errors and "neither artifacts nor logs" in errors


def test_warnings_of_finished_jobs_are_told_once(half, capsys):
    names = shards(validate(CONFIG).datasets["own"])
    for name in names[:2]:
        artifact(half / f"motion/pose_clips/{name}.zarr.zip", "pose_clips", "pipeline.motion.pose_clips", "poses jump")
    main(["status", "results/own"])
    assert capsys.readouterr().out.count("warning: pose_clips: poses jump\n") == 1


def test_durations():
    assert [duration(value) for value in (None, 0, 0.4, 99, 3000, 9000)] == [
        "unknown", "0 s", "< 1 s", "99 s", "50 min", "2 h 30 min"
    ]  # fmt: skip


def test_nothing_is_estimated_where_nothing_is_known(folder, capsys):
    (folder / "logs").mkdir()
    log(folder / "logs/videos.log")
    os.utime(folder / "logs/videos.log", (0, 0))
    assert main(["status", "results/own"]) == 1
    told = capsys.readouterr().out
    assert told.splitlines()[-1].endswith("time left: unknown, no stage has run yet")
    assert "about" not in told.splitlines()[-1] and " 0 s" not in told


def test_a_deleted_shard_is_told_with_the_command_that_makes_it_again(folder, capsys):
    """Snakemake asks for no shard that only finished stages have read."""
    names = shards(validate(CONFIG).datasets["own"])
    for name in names:
        artifact(folder / f"motion/pose_clips/{name}.zarr.zip", "pose_clips", "pipeline.motion.pose_clips")
        if name != names[1]:
            artifact(folder / f"motion/poses/{name}.zarr.zip", "poses", "pipeline.motion.poses")
        log(folder / f"logs/poses/{name}.log", {"outcome": "ok", "seconds": 100, "peak_mb": 900})
    gone = f"results/own/motion/poses/{names[1]}.zarr.zip"
    assert poses(folder).lost == [gone]
    main(["status", "results/own"])
    told = capsys.readouterr().out
    assert f"{gone} is gone" in told and f"\n  snakemake --cores all {gone}\n" in told
    os.unlink(folder / f"motion/pose_clips/{names[0]}.zarr.zip")
    assert poses(folder).lost == []  # it is made again on the way to what is missing
