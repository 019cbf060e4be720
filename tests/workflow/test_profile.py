"""The SLURM profile, without SLURM: what it plans, and what it would say to ``sbatch``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter

import pytest
import yaml

from pipeline.jobs import cluster

PROFILE = "workflow/profiles/slurm"
# Nothing ever runs here, so there is nothing to wait for.
SOON = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")
# Six jobs that are ready at once, under the name of a stage with shards, and two of a rule without shards.
SHARDS = """
import os
import snakemake_executor_plugin_slurm
from pipeline.jobs import cluster
cluster.repair(snakemake_executor_plugin_slurm, arrays=os.environ.get(cluster.ARRAYS_VARIABLE) == "1")
rule all:
    input: expand("out/{shard}", shard=range(6)), "single/0", "single/1"
rule decode:
    output: "out/{shard}"
    resources: mem_mb=lambda wildcards, attempt: 100 * 2 ** (attempt - 1), runtime=1
    shell: "touch {output}"
rule single:
    output: "single/{name}"
    resources: mem_mb=70, runtime=1
    shell: "touch {output}"
"""
# What a call of ``sbatch`` submits, from its arguments and its script.
TASK = re.compile(r"--target-jobs '?(\w+):\w+=(\d)'? .*?--attempt (\d)")


@pytest.fixture
def snakemake(project, tmp_path):
    """Call Snakemake with the profile, beside an ``sbatch`` that notes how it is called and refuses.

    A refused job is a failed job, so that the driver submits again, gives up, and ends by itself.
    """
    tools = tmp_path / "tools"
    tools.mkdir()
    noted = tmp_path / "calls"
    noted.mkdir()
    scripts = {
        "sbatch": f'{{ echo "$*"; cat; }} > "$(mktemp -p {noted})"; exit 1',
        "sacctmgr": "echo ours",
        "scontrol": 'echo "MaxArraySize = 1001"; echo "MinJobAge = 300 sec"',
    }
    for name in ("sbatch", "scontrol", "squeue", "sacct", "sacctmgr", "sinfo", "scancel"):
        (tools / name).write_text(f"#!/bin/sh\n{scripts.get(name, '')}\n")
        (tools / name).chmod(0o755)

    def call(
        *arguments: str, snakefile=project / "Snakefile", arrays: str = "1"
    ) -> tuple[subprocess.CompletedProcess, list[str]]:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(tmp_path)]
        done = subprocess.run(
            [*command, "--profile", str(project / PROFILE), *SOON, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "PATH": f"{tools}:{os.environ['PATH']}",
                "PYTHONPATH": str(project),
                cluster.ARRAYS_VARIABLE: arrays,
            },
        )
        return done, [call.read_text() for call in sorted(noted.iterdir(), key=lambda call: call.stat().st_mtime_ns)]

    (tmp_path / "config.yaml").write_text((project / "config.yaml").read_text())
    return call


def test_dry_run_plans_every_shard_and_gives_every_job_memory_and_time(snakemake):
    done, calls = snakemake("-n", "results/ucf101/model.pt")
    assert done.returncode == 0, done.stderr
    assert not calls
    plan = done.stdout + done.stderr
    assert len(re.findall(r"^rule poses:", plan, re.MULTILINE)) == 48
    resources = re.findall(r"^ +resources: (.*)$", plan, re.MULTILINE)
    assert len(resources) > 48
    assert all("mem_mb=" in line and "runtime=" in line for line in resources)


def test_the_profile_of_the_guide_sends_every_job_that_asks_for_a_gpu_to_its_partition(snakemake, project, tmp_path):
    """The YAML of docs/cluster.md is taken as it stands, beside the profile that is shipped."""
    (site,) = re.findall(r"^```yaml\n(.*?)^```", (project / "docs/cluster.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "my_site").mkdir()
    (tmp_path / "my_site/config.yaml").write_text(site)
    done, _ = snakemake("--profile", str(tmp_path / "my_site"), "-n", "results/ucf101/model.pt")
    assert done.returncode == 0, done.stderr
    jobs = re.findall(r"^(?:rule|checkpoint) (\w+):\n(?:    .*\n)*?    resources: (.*)$", done.stdout, re.MULTILINE)
    assert {name for name, _ in jobs} >= {"poses", "prompts", "finetune", "keyframes", "index"}
    for name, asked in jobs:
        gpus = int((re.search(r"gpu=(\d)", asked) or [0, 0])[1])
        assert f"slurm_partition={'GPU' if gpus else 'CPU'}" in asked, f"{name}: {asked}"
        assert "slurm_account=ME" in asked


def test_every_resubmission_asks_for_twice_the_memory_and_time(snakemake):
    done, calls = snakemake("--slurm-no-account", "results/demo/data/index.parquet")
    assert done.returncode != 0
    asked = [(int(re.search(r"--mem (\d+)", call)[1]), int(re.search(r"-t (\d+)", call)[1])) for call in calls]
    assert asked == [(2000, 60), (4000, 120), (8000, 240)]


def array_size(call: str) -> int:
    found = re.search(r"--array=1-(\d+)", call)
    return int(found[1]) if found else 1


def test_shards_that_are_ready_together_are_one_array(snakemake, tmp_path):
    (tmp_path / "Shards").write_text(SHARDS)
    done, calls = snakemake("--slurm-no-account", "--retries", "0", snakefile=tmp_path / "Shards")
    assert done.returncode != 0
    assert sorted(map(array_size, calls)) == [2, 6]
    (array,) = (call for call in calls if array_size(call) == 6)
    assert sorted(TASK.findall(array)) == [("decode", str(shard), "1") for shard in range(6)]
    assert re.search(r"--mem 100 ", array)  # as the rule says
    _, calls = snakemake(
        "--slurm-no-account", "--retries", "0", "--slurm-array-limit", "4", snakefile=tmp_path / "Shards"
    )
    assert sorted(map(array_size, calls[2:])) == [2, 2, 4]


def test_without_the_variable_every_shard_is_a_job_of_its_own(snakemake, tmp_path):
    (tmp_path / "Shards").write_text(SHARDS)
    _, calls = snakemake("--slurm-no-account", "--retries", "0", snakefile=tmp_path / "Shards", arrays="")
    assert [array_size(call) for call in calls] == [1] * 8
    assert len({task for call in calls for task in TASK.findall(call)}) == 8


def test_jobs_that_wait_for_a_place_in_the_queue_are_submitted_later(snakemake, tmp_path):
    (tmp_path / "Shards").write_text(SHARDS)
    done, calls = snakemake("--slurm-no-account", "--jobs", "2", "--retries", "0", snakefile=tmp_path / "Shards")
    assert done.returncode != 0
    assert max(map(array_size, calls)) <= 2
    submitted = Counter(task for call in calls for task in TASK.findall(call))
    assert len(submitted) == 8  # one job failed does not stop another: keep-going
    assert set(submitted.values()) == {1}


def test_attempts_do_not_share_an_array(snakemake, tmp_path):
    (tmp_path / "Shards").write_text(SHARDS)
    _, calls = snakemake("--slurm-no-account", "--jobs", "4", "--retries", "1", snakefile=tmp_path / "Shards")
    asked = Counter()
    for call in calls:
        tasks = TASK.findall(call)
        assert len(tasks) == array_size(call)
        assert len({(rule, attempt) for rule, _, attempt in tasks}) == 1
        asked.update((rule, shard, attempt, int(re.search(r"--mem (\d+)", call)[1])) for rule, shard, attempt in tasks)
    shards = {("decode", str(shard), str(attempt), 100 * attempt) for shard in range(6) for attempt in (1, 2)}
    assert asked == Counter(shards | {("single", str(name), str(attempt), 70) for name in (0, 1) for attempt in (1, 2)})
    assert any(array_size(call) > 1 for call in calls)


def test_account_and_partition_are_left_to_the_site(project, snakemake):
    # A table of default resources in a profile would replace the one that the site or the user gives.
    assert "default-resources" not in yaml.safe_load((project / PROFILE / "config.yaml").read_text())
    site = ["--default-resources", "slurm_account=ours", "slurm_partition=long"]
    _, calls = snakemake("--retries", "0", *site, "--", "results/demo/data/index.parquet")
    (call,) = calls
    assert re.search(r"-A '?ours'?", call) and re.search(r"-p '?long'?", call)


def resources_of(said: str, rule: str) -> str:
    return re.search(r"^ +resources: (.*)$", said.partition(f"rule {rule}:")[2], re.MULTILINE)[1]


def test_encoders_ask_for_a_gpu_or_for_the_time_that_a_processor_needs(snakemake, tmp_path):
    """A shard of UCF-101 poses for 36 hours on a core, and nobody has to say so."""
    shard = "results/ucf101/motion/pose_clips/000-of-048.zarr.zip"
    done, _ = snakemake("-n", shard)
    asked = resources_of(done.stdout + done.stderr, "poses")
    assert "gpu=1" in asked and "runtime=60" in asked
    assert "gpu=0" in resources_of(done.stdout + done.stderr, "keyframes")
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, "runtime": {"device": "cpu"}}))
    done, _ = snakemake("-n", shard)
    asked = resources_of(done.stdout + done.stderr, "poses")
    assert "gpu=0" in asked and 30 * 60 < int(re.search(r"runtime=(\d+)", asked)[1]) < 70 * 60


def test_fine_tuning_asks_for_a_gpu_per_process(snakemake, tmp_path):
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    config["runtime"] = {"device": "cuda", "finetune_processes": 4}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    done, _ = snakemake("-n", "results/ucf101/model.pt")
    rule = (done.stdout + done.stderr).partition("rule finetune:")[2].partition("rule ")[0]
    assert re.search(r"^ +resources: .*\bgpu=4\b", rule, re.MULTILINE)


def test_a_rule_can_be_given_other_resources(snakemake):
    """By its name, as every rule of Snakemake, although all rules are made of declarations."""
    done, _ = snakemake(
        "-n", "--set-resources", "poses:mem_mb=7777", "--", "results/ucf101/motion/poses/000-of-048.zarr.zip"
    )
    assert "mem_mb=7777" in done.stdout + done.stderr
