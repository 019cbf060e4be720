"""Job arrays without a cluster: which jobs share one, what its script does, and what is read out of SLURM's words."""

from __future__ import annotations

import asyncio
import importlib.metadata
import subprocess
from types import SimpleNamespace

import pytest

from pipeline.jobs import cluster


def job(name: str, threads: int = 1, group: bool = False, **resources):
    return SimpleNamespace(name=name, threads=threads, resources=resources, is_group=lambda: group)


def test_only_jobs_that_ask_for_the_same_share_an_array():
    small = [job("poses", mem_mb=8, disk_mb=size, tmpdir="/tmp") for size in range(3)]
    others = [
        job("poses", mem_mb=16),
        job("poses", mem_mb=8, gpu=1),
        job("poses", threads=2, mem_mb=8),
        job("decode", mem_mb=8),
    ]
    assert list(cluster.batches([*small, *others], 10)) == [small, *([other] for other in others)]


def test_groups_stay_single_and_arrays_have_a_limit():
    jobs = [job("poses"), job("poses"), job("poses"), job("index"), job("index"), job("poses", group=True)]
    assert [len(batch) for batch in cluster.batches(jobs, 2)] == [2, 1, 2, 1]
    assert [len(batch) for batch in cluster.batches(jobs, 9)] == [3, 2, 1]


@pytest.mark.parametrize("task", [1, 2, 3])
def test_each_task_runs_its_own_command_and_returns_its_status(task):
    script = cluster.script([f"""echo "it's {number};;" && exit {number}""" for number in (1, 2, 3)])
    done = subprocess.run(
        ["sh"], input=script, env={"SLURM_ARRAY_TASK_ID": str(task)}, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == (f"it's {task};;\n", task)


def test_states_of_tasks_in_brackets():
    told = {
        "7": "RUNNING",
        "12_1": "COMPLETED",
        "12_5": "FAILED",
        "12_[4-6,8%2]": "CANCELLED by 0",
        "13_[1-7:3]": "PENDING",
    }
    tasks = {"12_4": "CANCELLED", "12_6": "CANCELLED", "12_8": "CANCELLED"}
    later = {"13_1": "PENDING", "13_4": "PENDING", "13_7": "PENDING"}
    assert cluster.expanded(told) == {"7": "RUNNING", "12_1": "COMPLETED", "12_5": "FAILED", **tasks, **later}


def test_a_task_that_slurm_forgot_is_given_up_after_a_while():
    watch = cluster.Watch()
    watch.sizes["12"] = 3
    assert watch.states({}, 0) == watch.states({}, 1000) == {}  # the data base is late
    assert watch.states({"12_[1-3]": "PENDING"}, 1001) == dict.fromkeys(("12_1", "12_2", "12_3"), "PENDING")
    told, known = {"12_1": "RUNNING", "12_[3]": "PENDING"}, {"12_1": "RUNNING", "12_3": "PENDING"}
    assert watch.states(told, 1010) == watch.states(told, 1069) == known
    assert watch.states(told, 1070) == {**known, "12_2": "CANCELLED"}
    assert "12_3" not in watch.states({"12_1": "COMPLETED"}, 1080)
    assert watch.states({"12_1": "COMPLETED", "12_3": "RUNNING"}, 1090)["12_3"] == "RUNNING"
    assert "12_3" not in watch.states({"12_1": "COMPLETED"}, 1145)  # it was back in between
    assert watch.states({}, 1205) == dict.fromkeys(("12_2", "12_3"), "CANCELLED")


class Executor:
    """As much of the plugin's as is called."""

    def __init__(self):
        self.max_array_size, self.submitted = 9, []

    def run_jobs(self, jobs):
        self.submitted += [[job] for job in jobs]

    def _submit_job(self, job):
        self.submitted.append([job])

    def _submit_array_jobs(self, jobs):
        self.submitted.append(jobs)


@pytest.fixture
def plugin():
    async def query(command, logger):
        return {"3_[1-2]": "PENDING", "4": "CANCELLED by 1000"}, 0.1

    return SimpleNamespace(
        Executor=type("Executor", (Executor,), {"run_jobs": Executor.run_jobs}),
        query_job_status=query,
        query_job_status_squeue=lambda run: f"squeue --name {run}",
        query_job_status_sacct=lambda run: f"sacct --format=JobIdRaw,State --name {run}",
    )


def told(plugin) -> dict[str, str]:
    return asyncio.run(plugin.query_job_status("", None))[0]


def test_the_repaired_plugin_asks_for_tasks(plugin):
    cluster.repair(plugin, arrays=True)
    executor, jobs = plugin.Executor(), [job("poses"), job("poses"), job("index")]
    executor.run_jobs(jobs)
    assert executor.submitted == [jobs[:2], jobs[2:]]
    assert plugin.query_job_status_squeue("me").split() == ["squeue", "--name", "me", "--array"]
    assert "--format=JobID,State" in plugin.query_job_status_sacct("me")
    assert told(plugin) == {"3_1": "PENDING", "3_2": "PENDING", "4": "CANCELLED"}


def test_without_arrays_only_states_are_mended(plugin):
    cluster.repair(plugin, arrays=False)
    executor, jobs = plugin.Executor(), [job("poses"), job("poses")]
    executor.run_jobs(jobs)
    assert executor.submitted == [[one] for one in jobs]
    assert plugin.query_job_status_squeue("me") == "squeue --name me"
    assert told(plugin)["4"] == "CANCELLED"


@pytest.mark.parametrize("arrays", [True, False])
def test_another_release_is_left_alone_and_that_is_said(plugin, arrays, monkeypatch, caplog):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.9.0")
    before = dict(vars(plugin)), plugin.Executor.run_jobs
    cluster.repair(plugin, arrays)
    assert (dict(vars(plugin)), plugin.Executor.run_jobs) == before
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == arrays and all("2.9.0" in line and cluster.RELEASE in line for line in said)
