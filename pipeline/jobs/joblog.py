"""What a job says about itself in its log, so that `conceptreel status` needs no scheduler and no data base.

A log begins with ``started {…}`` and ends with ``ended {…}``, both JSON. While the job lives, the time of change of its
log moves on; a log without an end whose time stands still is that of a job that was killed without a word.
Only the standard library is imported here.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

logger = logging.getLogger("conceptreel")

BEAT_SECONDS = 15
# Several beats, and room for the attribute cache of a network file system.
SILENT_SECONDS = 120
# A stack trace ends with its error; more of a log than this is never needed.
TAIL_BYTES = 64 * 1024
STOPPED = "ended from outside (time limit, scancel, or the workflow was stopped)"
_RECORD = re.compile(r"\bINFO (started|ended) (\{.*\})$")


class Stopped(RuntimeError):
    """Somebody else ended this job: the scheduler at its time limit, ``scancel``, or the end of the workflow."""


def peak_megabytes() -> int:
    """Largest resident memory of this process and of the largest of its children so far."""
    kilobytes = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(kilobytes / 1024)


def slurm_id() -> str:
    """``123`` or, in an array, ``123_4``, as ``squeue`` and ``scancel`` name it; empty outside SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


class Reporter:
    """Writes the records of one job and keeps its log fresh; use as a context manager.

    Args:
        path: the log, or None for a call by hand.
        asked: resources that were asked for: ``mem_mb`` and ``minutes``, 0 where nothing was.
    """

    def __init__(self, path: Path | None, asked: dict[str, int]):
        self._path = path
        self._asked = asked
        self._over = threading.Event()
        self.outcome = "killed"

    def __enter__(self) -> Reporter:
        self._began = time.time()
        record = {"time": round(self._began, 1), "pid": os.getpid(), "host": socket.gethostname(), "slurm": slurm_id()}
        logger.info("started %s", json.dumps({**record, **self._asked}))
        signal.signal(signal.SIGTERM, self._stop)
        if self._path is not None:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        seconds = round(time.time() - self._began, 1)
        logger.info("ended %s", json.dumps({"outcome": self.outcome, "seconds": seconds, "peak_mb": peak_megabytes()}))

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                os.utime(self._path)
            except OSError:  # the folder may be gone or full; the job has worse to tell then
                continue

    def _stop(self, number: int, frame: FrameType | None) -> None:
        raise Stopped(STOPPED)


@dataclass(frozen=True)
class JobLog:
    """What a log tells.

    Attributes:
        state: ``running``, ``ok``, ``failed``, or ``killed`` where it stops without a word.
        error: last error line, empty if there is none.
        slurm: the job id of SLURM, empty elsewhere.
        host, pid: where it runs.
        seconds: run time so far, or in all.
        peak_mb: largest memory in megabytes, 0 where it is not known.
        asked_mb, asked_minutes: what was asked for, 0 where nothing was.
    """

    path: Path
    state: str
    error: str = ""
    slurm: str = ""
    host: str = ""
    pid: int = 0
    seconds: float = 0.0
    peak_mb: int = 0
    asked_mb: int = 0
    asked_minutes: int = 0


def _is_alive(record: dict[str, Any], path: Path, now: float) -> bool:
    if record.get("host") == socket.gethostname():
        # On this machine the process itself can be looked at, which is surer than any clock.
        try:
            return b"pipeline." in Path(f"/proc/{int(record['pid'])}/cmdline").read_bytes()
        except (OSError, KeyError, ValueError):
            return False
    return now - path.stat().st_mtime < SILENT_SECONDS


def read(path: Path, now: float | None = None) -> JobLog | None:
    """What a log tells; None where there is none, or where it tells neither a beginning nor an error.

    Args:
        now: seconds since 1970; the present by default.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            tail = file.read()
    except OSError:
        return None
    records: dict[str, dict[str, Any]] = {}
    for line in (*head.decode(errors="replace").splitlines()[:1], *tail.decode(errors="replace").splitlines()):
        found = _RECORD.search(line)
        if found:
            try:
                records[found[1]] = json.loads(found[2])
            except ValueError:
                continue
    error = last_error(tail.decode(errors="replace"))
    if "started" not in records:
        return JobLog(path, "failed", error) if error else None
    started, ended = records["started"], records.get("ended", {})
    now = time.time() if now is None else now
    state = ended.get("outcome") or ("running" if _is_alive(started, path, now) else "killed")
    return JobLog(
        path,
        state,
        error="" if state in ("ok", "running") else error,
        slurm=str(started.get("slurm", "")),
        host=str(started.get("host", "")),
        pid=int(started.get("pid", 0)),
        seconds=float(ended.get("seconds") or (now - started.get("time", now) if state == "running" else 0)),
        peak_mb=int(ended.get("peak_mb", 0)),
        asked_mb=int(started.get("mem_mb", 0)),
        asked_minutes=int(started.get("minutes", 0)),
    )


def last_error(text: str) -> str:
    """The line that says what went wrong: the end of a stack trace, else the last line marked as an error."""
    lines = text.splitlines()
    marked = [number for number, line in enumerate(lines) if " ERROR " in line]
    if not marked:
        return ""
    first = lines[marked[-1]].partition(" ERROR ")[2]
    rest = [line for line in lines[marked[-1] + 1 :] if line.strip() and not _RECORD.search(line)]
    if first.endswith(":") and rest and not rest[-1].startswith(" "):
        return rest[-1].strip()  # "failed in its code:" and a stack trace
    return first.strip()
