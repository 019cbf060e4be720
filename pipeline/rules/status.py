"""How far a run is, from its caches and logs alone: neither Snakemake nor a scheduler has to be there."""

from __future__ import annotations

import contextlib
import math
import re
import shlex
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config import Dataset
from pipeline.jobs import joblog
from pipeline.jobs.messages import UNEXPLAINED
from pipeline.methods.registry import METHODS
from pipeline.rules.graph import STAGES, closure, home, settings_digest, shards
from pipeline.store.inspect import inspect_artifact, is_artifact

# Where SLURM writes what a job prints before its own log begins, or after it was killed; below the run folder.
SLURM_LOGS = Path(".snakemake/slurm_logs")
ENDED_BY_SLURM = re.compile(r"oom[-_ ]kill|out of memory|CANCELLED|DUE TO|TIMEOUT|NODE[ _]FAIL", re.IGNORECASE)
# SLURM lets a job live for half a minute after the line that says its end.
KILL_SECONDS = 60
STATES = ("done", "running", "failed", "waiting")


@dataclass
class Failure:
    """A job that has to run again.

    Attributes:
        job: ``poses 003-of-064``, or the stage alone.
        error: the last error line.
        log: where to read on.
        slurm: job id, empty outside SLURM.
    """

    job: str
    error: str
    log: str
    slurm: str = ""


@dataclass
class StageStatus:
    """One stage.

    Attributes:
        total: jobs that it needs: shards, or 1.
        stale: finished jobs that today's settings or code would run again; they count as waiting.
        seconds: median run time of the finished jobs, None before the first has finished.
        longest_seconds, peak_mb: of all jobs whose log tells it.
        asked_minutes, asked_mb: largest requests.
        left_seconds: estimate for the rest, None where nothing is known yet.
        lost: files that are gone although all that reads them is finished; Snakemake makes them again only where they
            are asked for.
        warnings: what the finished jobs have warned of.
    """

    stage: str
    total: int
    done: int = 0
    running: int = 0
    failed: int = 0
    waiting: int = 0
    stale: int = 0
    seconds: float | None = None
    longest_seconds: float = 0.0
    peak_mb: int = 0
    asked_minutes: int = 0
    asked_mb: int = 0
    left_seconds: float | None = None
    lost: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def _has_begun(folder: Path, stage: str) -> bool:
    """Whether a stage has left a log or a file."""
    logs = folder / "logs"
    if (logs / stage).exists() or (logs / f"{stage}.log").exists():
        return True
    return any(next(folder.glob(re.sub(r"{\w+}", "*", path)), None) for path in STAGES[stage].writes.values())


def needed_stages(section: Dataset | None, folder: Path) -> list[str]:
    """Stages that lead to the models of a data set, and whatever else has begun, in the order of `STAGES`.

    Args:
        section: None if the configuration is not at hand; then only the stages that have begun.
    """
    begun = [name for name in STAGES if _has_begun(folder, name)]
    if section is None:
        return begun
    own = [method.goal for method in METHODS.values() if not method.place or method.goal in begun]
    return closure(section, [*own, *begun])


def known_shards(section: Dataset | None, folder: Path) -> list[str]:
    """Shard names of a data set; without its configuration those of the largest count that some file names."""
    if section is not None:
        return shards(section)
    names = (re.match(r"[0-9]+-of-([0-9]+)\.", path.name) for path in folder.glob("*/*/*-of-*"))
    count = max((int(name[1]) for name in names if name), default=0)
    return [f"{index:03d}-of-{count:03d}" for index in range(count)]


def outputs_of(folder: Path, stage: str, shard: str) -> list[Path]:
    """Files that one job leaves below a results folder; ``shard`` is empty for stages without shards."""
    paths = [path.replace("{shard}", shard) for path in STAGES[stage].writes.values()]
    return [folder / path for path in paths if "{" not in path]


@dataclass(frozen=True)
class SlurmEnd:
    """What SLURM said when it ended a job.

    Attributes:
        path: of SLURM's log, named by the job's id; time: of its last change.
        wildcards: of the job as its folder has them; empty for a task of an array.
        text: all that was printed; Snakemake names the job's own log in it.
        words: the line that tells, for example ``… CANCELLED AT … DUE TO TIME LIMIT``.
    """

    path: Path
    time: float
    wildcards: str
    text: str
    words: str


def slurm_ends(run_folder: Path, stage: str, dataset: str) -> list[SlurmEnd]:
    """Jobs of a stage that SLURM has ended, the latest first."""
    found = []
    # The rules of a generated data set have its name and no wildcards.
    for name, own in ((f"rule_{stage}", ""), (f"rule_{stage}_{dataset}", dataset)):
        folder = run_folder / SLURM_LOGS / name
        for path in folder.rglob("*.log"):
            with contextlib.suppress(OSError):  # Snakemake removes those of jobs that went well
                text, time_of_change = path.read_text(errors="replace"), path.stat().st_mtime
                told = [line for line in text.splitlines() if ENDED_BY_SLURM.search(line)]
                if told:
                    wildcards = own or "_".join(path.parent.relative_to(folder).parts)
                    found.append(SlurmEnd(path, time_of_change, wildcards, text, told[-1].strip()))
    return sorted(found, key=lambda item: -item.time)


def _end_of(ends: list[SlurmEnd], dataset: str, shard: str, place: Path, log: joblog.JobLog | None) -> SlurmEnd | None:
    """How SLURM ended the last attempt at a job: by the id in the job's log, or before a newer attempt had one.

    Args:
        place: of the job's log; log: what it tells.
    """
    own = f"{dataset}/logs/{f'{place.parent.name}/' * bool(shard)}{place.name}"
    last = 0.0 if log is None else place.stat().st_mtime
    for item in ends if log is None or log.slurm else ():
        # Where it was put into the queue again under its id, its log has gone on since.
        if (
            log is not None
            and item.path.stem == log.slurm
            and (log.state != "running" or item.time > last - KILL_SECONDS)
        ):
            return item
        named = own in item.text or item.wildcards == (f"{dataset}_{shard}" if shard else dataset)
        if named and item.time > last:
            return item
    return None


def _stale(section: Dataset | None, stage: str, outputs: Iterable[Path]) -> tuple[bool, float | None, str, list[str]]:
    """Whether a finished job would run again, its seconds, why its artifact cannot be read, and its warnings."""
    seconds, told = None, []
    for path in outputs:
        if not is_artifact(path):
            continue
        report, attributes = inspect_artifact(path)
        if report.problem:
            return False, None, report.problem, []
        seconds = max(seconds or 0.0, report.seconds)
        told += report.warnings
        made_with = attributes["provenance"].get("settings_digest")
        if report.stale or (section is not None and made_with != settings_digest(section, stage)):
            return True, seconds, "", told
    return False, seconds, "", told


def stage_status(
    folder: Path, stage: str, section: Dataset | None, parts: list[str], run_folder: Path, now: float
) -> StageStatus:
    """Count the jobs of one stage; see `StageStatus`."""
    if section is not None:
        folder = folder.parent / home(section, stage)
    keys = parts if STAGES[stage].sharded else [""]
    ends = slurm_ends(run_folder, stage, folder.name)
    status = StageStatus(stage, len(keys))
    seconds: list[float] = []
    for shard in keys:
        place = folder / "logs" / (f"{stage}/{shard}.log" if shard else f"{stage}.log")
        log = joblog.read(place, now)
        if log:
            status.longest_seconds = max(status.longest_seconds, log.seconds)
            status.peak_mb = max(status.peak_mb, log.peak_mb)
            status.asked_mb = max(status.asked_mb, log.asked_mb)
            status.asked_minutes = max(status.asked_minutes, log.asked_minutes)
        job = f"{stage} {shard}".strip()
        outputs = outputs_of(folder, stage, shard)
        if all(path.is_file() for path in outputs):
            stale, took, problem, told = _stale(section, stage, outputs)
            status.warnings = list(dict.fromkeys([*status.warnings, *told]))
            if problem:
                status.failed += 1
                status.failures.append(Failure(job, problem, str(log.path) if log else ""))
                continue
            took = log.seconds if log and log.state == "ok" else took
            seconds += [took] if took else []
            status.longest_seconds = max(status.longest_seconds, took or 0.0)
            status.stale += stale
            status.waiting += stale
            status.done += not stale
            continue
        # A job that was killed on another machine looks alive for a while; one that had not begun has no log.
        end = _end_of(ends, folder.name, shard, place, log)
        if end is None and (log is None or log.state == "ok"):
            status.waiting += 1
            if log is not None:
                gone = (path for path in outputs if not path.is_file())
                status.lost += [path.resolve().relative_to(run_folder.resolve()).as_posix() for path in gone]
        elif end is None and log.state == "running":
            status.running += 1
        else:
            own = log.error if log and joblog.STOPPED not in log.error else ""
            words = end.words if end else log.error or UNEXPLAINED
            slurm = end.path.stem if end else log.slurm
            status.failed += 1
            status.failures.append(Failure(job, own or words, str(place if log else end.path), slurm))
    if seconds:
        status.seconds = statistics.median(seconds)
    left = status.total - status.done
    if not left:
        status.left_seconds = 0.0
    elif status.seconds is not None:
        status.left_seconds = math.ceil(left / max(1, status.running)) * status.seconds
    return status


def run_status(
    folder: Path, section: Dataset | None, run_folder: Path = Path("."), now: float | None = None
) -> list[StageStatus]:
    """Status of every stage of a data set.

    Args:
        folder: ``results/<data set>``.
        section: its configuration, or None where that is not at hand.
        run_folder: where Snakemake runs, for what SLURM has said.
    """
    now = time.time() if now is None else now
    parts = known_shards(section, folder)
    found = [stage_status(folder, stage, section, parts, run_folder, now) for stage in needed_stages(section, folder)]
    finished = {item.stage for item in found if item.done == item.total}
    for item in found:
        if not any(item.stage in (read.stage for read in STAGES[name].reads.values()) for name in finished):
            item.lost = []  # what reads it is still to be done, and so is it
    return found


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "unknown"
    if 0 < seconds < 1:
        return "< 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def rows(stages: list[StageStatus]) -> list[list[str]]:
    """Rows of the printed table, without its header."""
    found = []
    for item in stages:
        asked_time = f" of {item.asked_minutes} min" if item.asked_minutes else ""
        asked_memory = f" of {item.asked_mb}" if item.asked_mb else ""
        found.append(
            [
                item.stage,
                f"{item.done}/{item.total}",
                *(str(getattr(item, name) or "") for name in STATES[1:]),
                str(item.stale or ""),
                duration(item.longest_seconds) + asked_time if item.longest_seconds else "",
                f"{item.peak_mb}{asked_memory} MB" if item.peak_mb else "",
                duration(item.left_seconds),
            ]
        )
    return found


HEADER = ["stage", "done", *STATES[1:], "stale", "longest", "memory", "left"]


def closing_words(stages: list[StageStatus]) -> str:
    """One line for the whole run."""
    counts = Counter({name: sum(getattr(item, name) for item in stages) for name in STATES})
    total = sum(item.total for item in stages)
    left = sum(item.left_seconds or 0.0 for item in stages)
    unknown = [item.stage for item in stages if item.left_seconds is None]
    words = f"{counts['done']} of {total} jobs done, {counts['running']} running, {counts['failed']} failed"
    if not left and not unknown:
        return f"{words}; nothing is left to do"
    if all(item.seconds is None for item in stages if item.left_seconds != 0):
        run = any(item.seconds is not None for item in stages)
        return f"{words}; time left: unknown, {'none of the stages that are left' if run else 'no stage'} has run yet"
    without = f", not counting {', '.join(unknown)}, whose time is unknown" if unknown else ""
    return f"{words}; {'at least' if unknown else 'about'} {duration(left)} left at this pace{without}"


def lost_words(stages: list[StageStatus]) -> list[str]:
    """What is gone although all that reads it is finished, and the one command that makes it again."""
    lost = [path for item in stages for path in item.lost]
    if not lost:
        return []
    which = f"{len(lost)} files are" if len(lost) > 1 else f"{lost[0]} is"
    return [
        f"{which} gone, but no remaining job needs {'them' if len(lost) > 1 else 'it'}; to make "
        f"{'them' if len(lost) > 1 else 'it'} again:",
        f"  snakemake --cores all {' '.join(map(shlex.quote, lost))}",
    ]


def as_dict(stages: list[StageStatus]) -> list[dict[str, Any]]:
    """For ``--json``."""
    return [asdict(item) for item in stages]
