"""A real SLURM of one node, and runs of the small configuration on it. Only for ``make test-slurm``."""

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
# A test machine has no accounts and no accounting data base, and nothing to be spared by seldom questions.
SITE = (
    *("--slurm-status-command", "squeue", "--slurm-no-account"),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
    *("--latency-wait", "10", "--jobs", "6", "--cores", "2"),
)
SECONDS = 900
# All tasks of an array have one comment; the driver says which of them is which.
SUBMITTED = re.compile(r"Job \d+ \((\S+)\) has been submitted with SLURM jobid (\d+_\d+)")


class Cluster:
    """SLURM's own commands."""

    def script(self, action: str) -> None:
        subprocess.run(["bash", SCRIPT, action], check=True, timeout=120, stdin=subprocess.DEVNULL)

    def is_down(self) -> bool:
        told = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, timeout=60)
        return told.stdout.startswith("down")

    def jobs(self) -> list[tuple[str, str, str]]:
        """(id, state, what Snakemake says it is) of every job that SLURM remembers."""
        told = subprocess.run(
            ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%k"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        return [tuple(line.split("|", 2)) for line in told.splitlines()]


class ClusterRun:
    """A driver that submits to the cluster.

    Args:
        folder: where it runs.
        project: folder of the Snakefile.
        cluster: it begins with jobs of earlier tests, which do not count.
    """

    def __init__(self, folder: Path, project: Path, cluster: Cluster, *arguments: str):
        self._folder, self._project, self._cluster, self._arguments = folder, project, cluster, arguments
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


@pytest.fixture
def cluster_run(cluster, project) -> Iterator[Callable[..., ClusterRun]]:
    """Make runs in a folder; whatever still lives when the test ends is ended."""
    runs = []

    def make(folder: Path, *arguments: str) -> ClusterRun:
        runs.append(ClusterRun(folder, project, cluster, *arguments))
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
    """The finished small run without everything that comes from poses: 14 jobs are left to do."""
    results = workspace.folder / "results/small"
    for floor in ("motion", "bottleneck", "explain", "logs"):
        shutil.rmtree(results / floor)
    for name in ("model.pt", "metrics.json", "demo/evaluation.parquet"):
        (results / name).unlink()
    return workspace
