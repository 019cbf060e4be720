"""A run that was killed is simply started again: this clears away what a dead driver left.

Snakemake marks the outputs of running jobs and locks them. After ``kill -9`` or a power cut the marks and locks remain,
and it would ask the user for ``--unlock`` and ``--rerun-incomplete``. It cannot know that their owner is dead; we can:
every driver holds a lock of the operating system, which ends with its process, on one file of the run folder.
Only the standard library is imported here: the Snakefile calls this while it is parsed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import fcntl
import logging
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.jobs import joblog

logger = logging.getLogger("conceptreel")

LOCK = Path(".snakemake/conceptreel.lock")
LOCKS = Path(".snakemake/locks")
MARKS = Path(".snakemake/incomplete")
POLL_SECONDS = 5
# Clocks of file servers and nodes differ by seconds.
CLOCK_SECONDS = 60


class ReadOnlyError(RuntimeError):
    """Nothing can be computed in this folder; the message is for the person who tried."""


@dataclass(frozen=True)
class Mark:
    """Snakemake's note that a job has begun to make an output.

    Attributes:
        file: the note itself.
        output: path as the rule names it.
    """

    file: Path
    output: str


def marks(run_folder: Path) -> Iterator[Mark]:
    """Outputs whose jobs did not report their end. Snakemake names a note after the output, in base 64."""
    folder = run_folder / MARKS
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        encoded = "".join(part.removeprefix("@") for part in file.relative_to(folder).parts)
        try:
            output = base64.urlsafe_b64decode(encoded).decode()
        except (binascii.Error, ValueError):
            continue
        yield Mark(file, output)


def _squeue(run_folder: Path) -> dict[str, str]:
    """State of each job that was submitted from a run folder and has not ended; empty where there is no SLURM.

    Snakemake's notes do not tell: a job that has begun overwrites the id that its driver has noted.
    """
    try:
        told = subprocess.run(
            ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i|%T|%k|%Z"],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    jobs = (line.strip().split("|", 3) for line in told.splitlines() if line.count("|") >= 3)
    # The comment is that of Snakemake; the driver may itself be a job, in the same folder.
    return {
        job: state
        for job, state, comment, folder in jobs
        if comment.startswith("rule_") and Path(folder).resolve() == run_folder.resolve()
    }


def settle_cluster(run_folder: Path) -> None:
    """Let jobs of a dead driver that run on the cluster finish, and cancel those that have not begun.

    What runs is worth waiting for: its shard would only be computed again.
    """
    states = _squeue(run_folder)
    pending = [job for job, state in states.items() if state == "PENDING"]
    if pending:
        logger.warning(f"cancelling {len(pending)} jobs of an earlier run that have not begun: {', '.join(pending)}")
        subprocess.run(["scancel", *pending], timeout=60, stdin=subprocess.DEVNULL, check=False)
    told: set[str] = set()
    while states := _squeue(run_folder):
        if set(states) - told:
            told |= set(states)
            logger.warning(
                f"waiting for {len(states)} jobs of an earlier run that are at work: {', '.join(sorted(states))}; "
                f"`scancel` them to have them computed anew"
            )
        time.sleep(POLL_SECONDS)


def end_orphans(run_folder: Path) -> None:
    """End jobs of a dead driver on this machine: left alone they would compute beside their successors."""
    for path in sorted((run_folder / "results").glob("*/logs/**/*.log")):
        log = joblog.read(path)
        if log is None or log.state != "running" or log.host != socket.gethostname():
            continue
        try:
            ours = Path(f"/proc/{log.pid}/cwd").resolve() == run_folder.resolve()
            ours &= os.fsencode(path.relative_to(run_folder)) in Path(f"/proc/{log.pid}/cmdline").read_bytes()
            if ours:
                logger.warning(f"ending the job {log.pid} of an earlier run ({path.relative_to(run_folder)})")
                os.kill(log.pid, signal.SIGKILL)
        except OSError:
            continue  # it has just ended by itself


def _remove_half(run_folder: Path, output: str) -> None:
    """Remove an output whose job did not report its end, and temporary files of its writers."""
    path = run_folder / output
    if (run_folder / "results").resolve() not in path.resolve().parents:
        return
    name = re.escape(path.name)
    temporary = re.compile(rf"\.\d+\.{name}|\.{name}\.\d+\.tmp")
    with contextlib.suppress(OSError):
        for other in path.parent.iterdir():
            if other.name == path.name or temporary.fullmatch(other.name):
                other.unlink()


def clear(run_folder: Path) -> int:
    """Remove what a dead driver left; number of jobs' outputs that will be made again."""
    left = list(marks(run_folder))
    locks = list((run_folder / LOCKS).glob("*.lock"))
    if left or locks:  # a driver may be killed before it has noted a job that it has submitted
        settle_cluster(run_folder)
        end_orphans(run_folder)
        left = list(marks(run_folder))  # jobs that finished meanwhile have removed theirs
        for mark in left:
            _remove_half(run_folder, mark.output)
            mark.file.unlink(missing_ok=True)
    for lock in locks:
        lock.unlink(missing_ok=True)
    return len(left)


def correct_future(run_folder: Path) -> int:
    """Give results that claim to be from the future the present time; their number.

    After a clock was wrong, what depends on them would look older than they are, and be made again by every run until
    that future has come.
    """
    now = time.time()
    corrected = 0
    for path in (run_folder / "results").rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime > now + CLOCK_SECONDS:
                os.utime(path, (now, now))
                corrected += 1
    return corrected


def begin(run_folder: Path) -> IO[str] | None:
    """Register this driver, and clear up if no other one lives.

    Drivers that make different files may run side by side, as Snakemake allows; only the first one may clear up.

    Returns:
        An open file whose lock lasts as long as it; keep it. None where the folder cannot be locked: then Snakemake
        says what is wrong, or behaves as it does everywhere.

    Raises:
        ReadOnlyError: the folder cannot be written.
    """
    path = run_folder / LOCK
    try:
        path.parent.mkdir(exist_ok=True)
        file = open(path, "a+")  # noqa: SIM115 — it must outlive this function
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES):
            raise ReadOnlyError(
                f"nothing can be computed in {run_folder} ({error.strerror}); `conceptreel status`, `inspect` and "
                f"`predict` need no right to write"
            ) from None
        return None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            logger.warning(f"another run is at work in this folder ({file.read().strip() or 'it has just begun'})")
        else:
            cleared = clear(run_folder)
            if cleared:
                logger.warning(f"an earlier run was killed; {cleared} unfinished outputs are made again")
            corrected = correct_future(run_folder)
            if corrected:
                logger.warning(
                    f"{corrected} results claim to be from the future (a clock was wrong?); "
                    f"what depends on them is made again"
                )
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
            file.flush()
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError as error:
        logger.warning(f"cannot lock {path} ({error.strerror}); after a kill, `snakemake --unlock` may be needed")
        file.close()
        return None
    return file
