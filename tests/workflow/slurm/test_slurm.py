"""Runs on a real SLURM: what fails there is mended by resubmission, and nothing that is finished is computed twice."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from contents import contents, differences, finished_artifacts, made_again

from pipeline.jobs import joblog

pytestmark = pytest.mark.slurm

TARGET = "results/small/model.pt"
# Enough jobs for the cases in which it does not matter what comes after them.
MOTION = "results/small/motion/motion_concepts.zarr.zip"
POSES = "rule_poses"


@pytest.fixture
def check(finished):
    """What every disturbed run must come to: all or, where only the motion was asked for, the motion."""
    expected = contents(finished.folder / "results/small")

    def check(workspace, run, before, floor="") -> None:
        assert run.end() == 0, run.said()[-5000:]
        found = contents(workspace.folder / "results/small")
        wanted = {name: content for name, content in expected.items() if name.startswith(floor)}
        assert differences({name: found[name] for name in found if name.startswith(floor)}, wanted) == []
        if not floor:
            metrics, undisturbed = workspace.metrics("small"), finished.metrics("small")
            assert metrics.pop("seconds") and undisturbed.pop("seconds")
            assert metrics == undisturbed
        assert made_again(before, finished_artifacts(workspace.folder)) == []
        assert set(run.completed().values()) == {1}, run.completed()
        assert any("_" in number for number in run.ids("", "COMPLETED"))  # arrays

    return check


def test_the_demo_end_to_end(cluster_run, make_workspace, project, tmp_path):
    workspace = make_workspace(tmp_path)
    (tmp_path / "config.yaml").write_text((project / "config.yaml").read_text())
    run = cluster_run(tmp_path)
    run.start("results/demo/model.pt")
    assert run.end() == 0, run.said()[-5000:]
    assert workspace.metrics("demo")["top1"] >= 0.90
    assert set(run.completed().values()) == {1}
    stages = json.loads(workspace.command("status", "results/demo", "--json").stdout)
    assert all(stage["done"] == stage["total"] for stage in stages)
    assert all(stage["asked_mb"] and stage["peak_mb"] for stage in stages)
    assert workspace.planned("results/demo/model.pt") == {}


@pytest.fixture
def few_videos(make_workspace, small_config, tmp_path):
    """A workspace in which nothing has been made yet."""
    workspace = make_workspace(tmp_path)
    small = small_config["datasets"]["small"]
    generate = {**small["demo"]["generate"], "train_per_class": 3}
    small = {**small, "demo": {**small["demo"], "generate": generate}}
    workspace.configure({"runtime": {"device": "cpu"}, "datasets": {"small": small}})
    return workspace


def test_a_short_run_of_arrays_in_which_a_shard_lacks_memory(cluster_run, few_videos, tmp_path, status):
    """Few videos, and no more than decoding them; what CI has time for."""
    starved = "decode:mem_mb=60 if attempt == 1 and wildcards.shard == '001-of-003' else 4000 * 2 ** (attempt - 1)"
    run = cluster_run(tmp_path, "--set-resources", starved, status=status)
    clips = [f"results/small/data/clips/00{shard}-of-003.zarr.zip" for shard in range(3)]
    run.start(*clips)
    assert run.end() == 0, run.said()[-5000:]
    assert all((tmp_path / path).exists() for path in clips)
    assert set(run.completed().values()) == {1}, run.completed()
    states = run.states("rule_decode")
    assert sorted(map(len, states.values())) == [1, 1, 2]
    log = (tmp_path / "results/small/logs/decode/001-of-003.log").read_text()
    assert '"mem_mb": 8000' in log
    asked_alike = {number.partition("_")[0] for number in run.ids("rule_decode", "COMPLETED") if "_" in number}
    assert len(asked_alike) == 1  # one array of the two others


def test_a_shard_without_enough_memory_is_submitted_again_with_more(cluster_run, without_motion, check):
    """The first attempt at one shard asks for 60 MB, less than Python takes; the others ask for what the rule says."""
    starved = "keyframes:mem_mb=60 if attempt == 1 and '001-of-003' in str(input) else 2000 * 2 ** (attempt - 1)"
    run = cluster_run(without_motion.folder, "--set-resources", starved)
    before = finished_artifacts(without_motion.folder)
    run.start(TARGET)
    check(without_motion, run, before)
    states = run.states("rule_keyframes")
    assert sorted(map(len, states.values())) == [1, 1, 2]
    (twice,) = (tried for tried in states.values() if len(tried) == 2)
    assert "COMPLETED" in twice and set(twice) & {"FAILED", "OUT_OF_MEMORY", "CANCELLED"}
    log = (without_motion.folder / "results/small/logs/keyframes/001-of-003.log").read_text()
    assert '"mem_mb": 4000' in log


def test_cancelled_jobs_are_submitted_again(cluster_run, without_motion, check, status):
    """One that is at work, and one that waits: SLURM forgets a task of an array that is cancelled before it begins."""
    run = cluster_run(without_motion.folder, status=status)
    before = finished_artifacts(without_motion.folder)
    run.start(MOTION)
    logs = without_motion.folder / "results/small/logs/poses"
    run.until(lambda: list(logs.glob("*.log")) and run.ids(POSES, "RUNNING"), "a job at work")
    (cancelled, *_), (waiting, *_) = run.ids(POSES, "RUNNING"), run.ids("", "PENDING")
    assert "_" in cancelled and "_" in waiting
    subprocess.run(["scancel", cancelled, waiting], check=True, timeout=60)
    run.until(lambda: cancelled in run.ids(POSES, "CANCELLED"), "the end of the cancelled job")
    check(without_motion, run, before, "motion/")
    assert waiting not in run.ids("", "COMPLETED")


def test_an_interrupted_driver_cancels_its_jobs(cluster_run, without_motion):
    run = cluster_run(without_motion.folder)
    run.start(MOTION)
    run.until(lambda: run.ids("", "RUNNING") and run.ids("", "PENDING"), "jobs at work and jobs that wait")
    run.interrupt()
    assert run.end() != 0
    assert not run.ids("", "PENDING") and set(run.ids("", "CANCELLED")) >= set(run.ids(POSES, "CANCELLED")) != set()


def test_a_node_that_fails_while_the_other_one_goes_on(cluster, cluster_run, without_motion, check):
    """What ran there is lost; the driver submits it again, and it runs on the node that is left."""
    run = cluster_run(without_motion.folder)
    before = finished_artifacts(without_motion.folder)
    run.start(MOTION)
    run.until(lambda: run.running_on("one", POSES) and run.running_on("two", POSES), "jobs at work on both nodes")
    lost, untouched = run.running_on("one"), run.running_on("two")
    cluster.script("node-down", "one")
    try:
        run.until(lambda: cluster.is_down("one"), "SLURM's knowledge that the node is down")
        check(without_motion, run, before, "motion/")
    finally:
        cluster.script("node-up", "one")
    completed = set(run.ids("", "COMPLETED"))
    # A job that is about to end may still report it, without its slurmd.
    assert set(untouched) <= completed and set(lost) - completed


def test_a_rule_that_needs_a_gpu_asks_for_one(cluster, cluster_run, few_videos):
    """There is none behind the name that SLURM has for it: the job fails, and says so in one line."""
    few_videos.configure({**few_videos.config(), "runtime": {"device": "cuda"}})
    run = cluster_run(few_videos.folder, "--retries", "0", "--max-threads", "2")
    run.start(*(f"results/small/motion/poses/00{shard}-of-003.zarr.zip" for shard in range(3)))
    assert run.end() != 0
    gpus = cluster.gpus()
    asked = {name: gpus[number] for number, _, name in run.jobs()}
    assert [gpu for name, gpu in asked.items() if POSES in name] == ["gres:gpu:1"] * 3
    assert {gpu for name, gpu in asked.items() if POSES not in name} == {"N/A"}
    stages = json.loads(few_videos.command("status", "results/small", "--json", check=False).stdout)
    (failures,) = [stage["failures"] for stage in stages if stage["stage"] == "poses"]
    assert len(failures) == 3
    assert all("runtime.device is cuda, but torch" in failure["error"] for failure in failures), failures


def test_slurmd_restarted_under_running_jobs(cluster, cluster_run, without_motion, check):
    """A restart that is shorter than SLURM's patience costs no job that is at work."""
    run = cluster_run(without_motion.folder)
    before = finished_artifacts(without_motion.folder)
    run.start(MOTION)
    logs = without_motion.folder / "results/small/logs/poses"

    def at_work() -> set[str]:
        told = [joblog.read(path) for path in logs.glob("*.log")]
        return {log.slurm for log in told if log is not None and log.state == "running"}

    run.until(lambda: at_work() & set(run.running_on("one")), "a job at work on the node")
    untouched = at_work()
    cluster.script("node-down", "one")
    cluster.script("node-up", "one")
    check(without_motion, run, before, "motion/")
    assert untouched <= set(run.ids(POSES, "COMPLETED"))


def test_a_driver_that_is_killed_and_started_again(cluster_run, without_motion, check):
    run = cluster_run(without_motion.folder)
    run.start(TARGET)
    poses = without_motion.folder / "results/small/motion/poses"
    run.until(lambda: list(poses.glob("0*.zarr.zip")) and run.ids("", "RUNNING"), "a finished shard beside one at work")
    run.kill()
    before = finished_artifacts(without_motion.folder)
    at_work = run.ids("", "RUNNING")
    run.start(TARGET)
    check(without_motion, run, before)
    assert set(at_work) <= set(run.ids("", "COMPLETED"))
    assert os.path.exists(without_motion.folder / TARGET)
