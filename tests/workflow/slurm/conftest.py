"""A real SLURM of two nodes, and runs of the small configuration on it. Only for ``make test-slurm``."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("slurm.sh")
# A test machine has no accounts, and nothing to be spared by seldom questions.
SITE = (
    "--slurm-no-account",
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
    *("--latency-wait", "10", "--jobs", "6", "--cores", "2"),
)
SECONDS = 900
# All tasks of an array have one comment; the driver says which of them is which.
SUBMITTED = re.compile(r"Job \d+ \((\S+)\) has been submitted with SLURM jobid (\d+_\d+)")


class Cluster:
    """SLURM's own commands."""

    def script(self, *action: str) -> None:
        subprocess.run(["bash", SCRIPT, *action], check=True, timeout=120, stdin=subprocess.DEVNULL)

    def is_down(self, node: str) -> bool:
        told = subprocess.run(
            ["sinfo", "--noheader", f"--nodes={node}", "--format=%T"], capture_output=True, text=True, timeout=60
        )
        return told.stdout.startswith("down")

    def _told(self, what: str) -> list[list[str]]:
        """What squeue says in some of its fields about every job that SLURM remembers; the last may hold any sign."""
        command = ["squeue", "--noheader", "--array", "--states=all", f"--format={what}"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        return [line.split("|", what.count("|")) for line in told.splitlines()]

    def jobs(self) -> list[tuple[str, str, str]]:
        """(id, state, what Snakemake says it is) of every job that SLURM remembers."""
        return [tuple(fields) for fields in self._told("%i|%T|%k")]

    def nodes(self) -> dict[str, str]:
        """Id of every job → node that it runs on or ran on last; empty for one that waits."""
        return dict(self._told("%i|%N"))

    def gpus(self) -> dict[str, str]:
        """Id of every job → GPUs that it asked for, for example ``gres:gpu:1``; ``N/A`` without."""
        command = ["squeue", "--noheader", "--array", "--states=all", "--Format=JobArrayID:40,tres-per-job:40"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        return dict(line.split() for line in told.splitlines())


class ClusterRun:
    """A driver that submits to the cluster.

    Args:
        folder: where it runs.
        project: folder of the Snakefile.
        cluster: it begins with jobs of earlier tests, which do not count.
        status: the command that the driver asks for states, ``squeue`` or ``sacct``.
    """

    def __init__(self, folder: Path, project: Path, cluster: Cluster, *arguments: str, status: str = "squeue"):
        self._folder, self._project, self._cluster = folder, project, cluster
        self._arguments = ("--slurm-status-command", status, *arguments)
        self._earlier = {number for number, _, _ in cluster.jobs()}
        self._driver: subprocess.Popen | None = None

    def start(self, *targets: str) -> None:
        """Start a driver; call it again after `kill`."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self._project / "Snakefile")]
        command += ["--profile", str(self._project / "workflow/profiles/slurm"), *SITE, *self._arguments]
        with open(self._folder / "driver.log", "ab") as log:
            self._driver = subprocess.Popen(
                [*command, "--", *targets],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "CONCEPTREEL_SLURM_ARRAYS": "1"},
            )

    def said(self) -> str:
        return (self._folder / "driver.log").read_text(errors="replace")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition, as long as the driver lives."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self._driver.poll() is None, f"the run ended before {what}:\n{self.said()[-5000:]}"
            assert time.monotonic() < deadline, f"no sign of {what} within {SECONDS} s:\n{self.said()[-5000:]}"
            time.sleep(0.2)

    def end(self) -> int:
        """Exit status of the driver, once it has ended."""
        return self._driver.wait(SECONDS)

    def kill(self) -> None:
        """End the driver and its helpers without a word; the jobs on the cluster live on."""
        os.killpg(self._driver.pid, signal.SIGKILL)
        self._driver.wait()

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        os.killpg(self._driver.pid, signal.SIGINT)

    def jobs(self) -> list[tuple[str, str, str]]:
        """(id, state, what it makes) of the jobs of this run, but not what is left of an array without its tasks."""
        names = {number: name for name, number in SUBMITTED.findall(self.said())}
        jobs = self._cluster.jobs()
        named = [
            (number, state, names.get(number, said)) for number, state, said in jobs if number not in self._earlier
        ]
        return [job for job in named if "_wildcards_" in job[2]]

    def states(self, word: str = "") -> dict[str, list[str]]:
        """States of all jobs of this run, by what they make, for example ``rule_poses_wildcards_small_000-of-003``."""
        states: dict[str, list[str]] = {}
        for _, state, name in self.jobs():
            if word in name:
                states.setdefault(name, []).append(state)
        return states

    def ids(self, word: str, state: str) -> list[str]:
        """Ids of jobs of this run in one state."""
        return [number for number, found, name in self.jobs() if word in name and found == state]

    def running_on(self, node: str, word: str = "") -> list[str]:
        """Ids of jobs of this run that are at work on a node."""
        nodes = self._cluster.nodes()
        return [number for number in self.ids(word, "RUNNING") if nodes.get(number) == node]

    def completed(self) -> Counter[str]:
        """How often each job was completed."""
        return Counter({job: states.count("COMPLETED") for job, states in self.states().items()})


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("only root can start slurmd and munged")
    started = subprocess.run(
        ["bash", SCRIPT, "start"], stderr=subprocess.PIPE, text=True, timeout=600, stdin=subprocess.DEVNULL
    )
    if started.returncode == 3:
        pytest.skip(started.stderr.strip().splitlines()[-1])
    assert started.returncode == 0, started.stderr
    yield Cluster()
    subprocess.run(["bash", SCRIPT, "stop"], check=True, timeout=120)


@pytest.fixture(scope="session")
def accounting(cluster) -> None:
    """From here on SLURM has a data base of what it does."""
    command = ["bash", SCRIPT, "accounting"]
    added = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=600, stdin=subprocess.DEVNULL)
    if added.returncode == 3:
        pytest.skip(added.stderr.strip().splitlines()[-1])
    assert added.returncode == 0, added.stderr


@pytest.fixture(params=["squeue", "sacct"])
def status(request) -> str:
    """The command by which the driver learns the states of its jobs."""
    if request.param == "sacct":
        request.getfixturevalue("accounting")
    return request.param


@pytest.fixture
def cluster_run(cluster, project) -> Iterator[Callable[..., ClusterRun]]:
    """Make runs in a folder; whatever still lives when the test ends is ended."""
    runs = []

    def make(folder: Path, *arguments: str, status: str = "squeue") -> ClusterRun:
        runs.append(ClusterRun(folder, project, cluster, *arguments, status=status))
        return runs[-1]

    yield make
    for run in runs:
        if run._driver is not None and run._driver.poll() is None:
            run.kill()
        left = [number for number, state, _ in cluster.jobs() if state in ("PENDING", "RUNNING", "SUSPENDED")]
        if left:
            with contextlib.suppress(subprocess.SubprocessError):
                subprocess.run(["scancel", *left], timeout=60)


@pytest.fixture
def without_motion(workspace):
    """The finished small run without everything that comes from poses: 15 jobs are left to do."""
    results = workspace.folder / "results/small"
    for floor in ("motion", "bottleneck", "explain", "logs"):
        shutil.rmtree(results / floor)
    for name in ("model.pt", "metrics.json", "demo/evaluation.parquet"):
        (results / name).unlink()
    workspace.configure({**workspace.config(), "runtime": {"device": "cpu"}})
    return workspace
