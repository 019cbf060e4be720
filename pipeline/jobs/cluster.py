"""Patches of release 2.8.0 of snakemake-executor-plugin-slurm: one per bug, to be taken out where a release mends it.

The first is always applied. The others give job arrays that can be relied on, and are applied where the environment
variable CONCEPTREEL_SLURM_ARRAYS is 1; without it, every job is submitted by itself. Only the standard library is
imported here: the Snakefile calls `repair` while it is parsed.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
import shlex
import subprocess
import time
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

logger = logging.getLogger("conceptreel")

PLUGIN = "snakemake-executor-plugin-slurm"
RELEASE = "2.8.0"
ARRAYS_VARIABLE = "CONCEPTREEL_SLURM_ARRAYS"
PATIENCE_SECONDS = 60
# SLURM is not asked for these, and they differ between shards.
_NOT_ASKED_FOR = ("disk_mb", "disk_mib", "tmpdir")
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


def asked(job: Any) -> tuple:
    """What a job asks SLURM for; only jobs that ask for the same may share an array."""
    resources = sorted((name, str(value)) for name, value in job.resources.items() if name not in _NOT_ASKED_FOR)
    return (job.name, job.threads, *resources)


def batches(jobs: Iterable[Any], limit: int) -> Iterator[list[Any]]:
    """Jobs to be submitted together, at most ``limit``; groups of jobs stay alone."""
    alike: dict[Any, list[Any]] = {}
    for job in jobs:
        alike.setdefault(id(job) if job.is_group() else asked(job), []).append(job)
    for group in alike.values():
        yield from (group[first : first + limit] for first in range(0, len(group), limit))


def script(commands: Iterable[str]) -> str:
    """Batch script of an array whose task n, from 1, runs the n-th command."""
    cases = "".join(f"{number})\n{command}\n;;\n" for number, command in enumerate(commands, start=1))
    return f"#!/bin/sh\ncase $SLURM_ARRAY_TASK_ID in\n{cases}esac\n"


def expanded(told: dict[str, str]) -> dict[str, str]:
    """State of every job and task, where SLURM says ``12_[4-6,8] → CANCELLED by 1000``.

    What it says about a single task is newer than what it says about those that had not begun.
    """
    together, single = {}, {}
    for job, state in told.items():
        array, bracket, tasks = job.partition("_[")
        state = state.partition(" ")[0]
        if not bracket:
            single[job] = state
            continue
        for first, last, step in _RANGE.findall(tasks.partition("%")[0]):
            for task in range(int(first), int(last or first) + 1, int(step or 1)):
                together[f"{array}_{task}"] = state
    return {**together, **single}


class Watch:
    """Knows the tasks of all arrays, to notice those that SLURM has forgotten.

    Attributes:
        sizes: id of an array → number of its tasks.
    """

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self._seen: set[str] = set()
        self._missing: dict[str, float] = {}

    def states(self, told: dict[str, str], now: float) -> dict[str, str]:
        """State of every job and task, given what SLURM says; forgotten tasks count as cancelled.

        The accounting data base is late and writes one record after the other: a task is given up only after its array
        has been seen and the task has been missing for a while.

        Args:
            now: seconds of any clock that only moves on.
        """
        found = expanded(told)
        self._seen |= {job.partition("_")[0] for job in found}
        tasks = {f"{array}_{task + 1}" for array in self._seen & set(self.sizes) for task in range(self.sizes[array])}
        self._missing = {task: self._missing.get(task, now) for task in tasks - set(found)}
        given_up = (task for task, since in self._missing.items() if now - since >= PATIENCE_SECONDS)
        return {**found, **dict.fromkeys(given_up, "CANCELLED")}


def _submit(plugin: ModuleType, watch: Watch, executor: Any, jobs: list[Any]) -> None:
    """Submit jobs that ask for the same as one array, whose tasks are in the order of their shards."""
    jobs = sorted(jobs, key=plugin.get_job_wildcards)
    first = jobs[0]
    folder = executor.slurm_logdir / f"rule_{first.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plugin.validate_slurm_extra(first)
        parameters = {
            "run_uuid": executor.run_uuid,
            "slurm_logfile": folder / "%A_%a.log",
            "comment_str": f"rule_{first.name}",
            "account": next(executor.get_account_arg(first)),
            "partition": executor.get_partition_arg(first),
            "workdir": executor.workflow.workdir_init,
        }
        settings = executor.workflow.executor_settings
        call = plugin.get_submit_command(first, parameters, settings=settings, failed_nodes=executor._failed_nodes)
        call += f"{plugin.set_gres_string(first)} --array=1-{len(jobs)}"
        commands = [executor.format_job_exec(job) for job in jobs]
        done = subprocess.run(shlex.split(call), input=script(commands), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"sbatch refused an array: {done.stderr.strip()}\n    {call}")
        array = plugin.validate_or_get_slurm_job_id(done.stdout.strip().split(";")[0], done.stdout)
    except Exception as error:  # this is a thread: what is not reported is lost, and the run waits for ever
        for job in jobs:
            executor._report_job_error_threadsafe(plugin.SubmittedJobInfo(job), msg=str(error))
        return
    watch.sizes[array] = len(jobs)
    clusters = (first.resources.get(name) for name in ("cluster", "clusters", "slurm_cluster"))
    executor._submitted_job_clusters.update(cluster for cluster in clusters if cluster)
    for number, job in enumerate(jobs, start=1):
        task, log = f"{array}_{number}", folder / f"{array}_{number}.log"
        name = f"rule_{job.name}_wildcards_{plugin.get_job_wildcards(job)}"
        executor.logger.info(f"Job {job.jobid} ({name}) has been submitted with SLURM jobid {task} (log: {log}).")
        submitted = plugin.SubmittedJobInfo(job, external_jobid=task, aux={"slurm_logfile": log})
        executor._report_job_submission_threadsafe(submitted)


def repair(plugin: ModuleType, arrays: bool) -> None:
    """Patch the imported plugin in place, if it is of the release that the patches are for.

    Args:
        arrays: submit the jobs of a rule that are ready together, and ask for the same, as job arrays.
    """
    release = importlib.metadata.version(PLUGIN)
    if release != RELEASE:
        if arrays:
            logger.warning(f"no job arrays: they need release {RELEASE} of {PLUGIN}, this is {release}")
        return
    watch, query = Watch(), plugin.query_job_status

    # `sacct` says `CANCELLED by 1000`, which counts as running, and SLURM forgets tasks that are cancelled before they
    # begin: in both cases the run waits for ever.
    async def query_job_status(command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        told, seconds = await query(command, logger)
        return (told if told is None else watch.states(told, time.monotonic())), seconds

    plugin.query_job_status = query_job_status
    if not arrays:
        return
    squeue, sacct = plugin.query_job_status_squeue, plugin.query_job_status_sacct

    # Jobs that are handed over while not all that are ready may go are dropped, and the run waits for ever; an array
    # asks for what its first job asks for, although a resubmitted job needs more.
    def run_jobs(self: Any, jobs: list[Any]) -> None:
        for batch in batches(jobs, self.max_array_size):
            if len(batch) == 1:
                self._submit_job(batch[0])
            else:
                self._submit_array_jobs(batch)

    plugin.Executor.run_jobs = run_jobs
    # Every task first starts Snakemake for the array's first job, which waits for that job's output, and deletes it
    # where the task fails.
    plugin.Executor.run_array_jobs = lambda self, jobs: _submit(plugin, watch, self, jobs)
    # Both are asked for ids by which they do not know tasks, so that each of them gets the state of the last one.
    plugin.query_job_status_squeue = lambda run: f"{squeue(run)} --array"
    # Without the variable long lists of tasks are cut short.
    plugin.query_job_status_sacct = lambda run: "env SLURM_BITSTR_LEN=0 " + sacct(run).replace("JobIdRaw", "JobID")
