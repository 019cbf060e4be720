"""What a run will cost before it starts: work from counts, times measured rates, stage by stage.

Rates are those of earlier runs in the same results folder where there are some (seconds in the provenance of their
artifacts), else those that the stages declare (`pipeline.jobs.declare.Cost`) and `pipeline.encoding.known` holds for
the networks. Nothing here imports torch.
"""

from __future__ import annotations

import functools
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Dataset
from pipeline.data.entries import DEVELOPMENT, Entry
from pipeline.encoding.known import Known, is_of_mmpose, known
from pipeline.jobs.declare import Stage, computed, value_at
from pipeline.rules.graph import STAGES, closure
from pipeline.store.plain import as_json

if TYPE_CHECKING:
    from pipeline.store.inspect import Report

# Multiply-adds that a GPU does in a second when it runs these networks in bfloat16. Assumed, not measured: half of
# what the data sheet of an A100 promises is 78e12, and networks seldom reach half.
GPU_SPEED = 30e12
# A job imports torch and opens a network; Snakemake starts it.
JOB_SECONDS = 5
# Headers that are looked at for the length of the videos.
SAMPLED = 12
# What joins all videos grows faster than their number: a run tells it for up to so many times as many, or as few.
LIKE = 4
# Jobs ask for this many times of what they are expected to need.
SLACK = 1.5
_HEADERS = """
import json, sys, av
found = []
for path in sys.argv[1:]:
    try:
        with av.open(path) as file:
            stream = file.streams.video[0]
            seconds = stream.duration * stream.time_base if stream.duration else file.duration / 1e6
            rate = stream.average_rate or stream.guessed_rate
            found.append([stream.frames or round(float(seconds * rate)), float(seconds)])
    except Exception:
        pass
print(json.dumps(found))
"""


# ------------------------------------------------------------------------------------------------------------- counts


@dataclass(frozen=True)
class Counts:
    """How much there is.

    Attributes:
        videos, train: of all, and of the lists that are learned from (validation is among them); None: unknown.
        frames: of a video in the mean; None: unknown.
        seconds: that a video lasts in the mean; None: unknown.
        source: where these are from, in words.
    """

    videos: int | None
    train: int | None
    frames: float | None
    seconds: float | None = None
    source: str = ""

    def of(self, unit: str) -> float | None:
        """How many units of a `Cost` there are."""
        if unit == "frame":
            return None if self.videos is None or self.frames is None else self.videos * self.frames
        return self.train if unit == "train" else self.videos


def lengths(paths: Iterable[Path]) -> list[tuple[int, float]]:
    """Frames and seconds that the headers of some videos tell; read in a process of its own, a broken file may kill it.

    Those that cannot be read are left out.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _HEADERS, *map(str, paths)], capture_output=True, text=True, timeout=20
        )
        return [(int(frames), float(seconds)) for frames, seconds in json.loads(done.stdout)]
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return []


def counts_of(section: Dataset, entries: list[Entry], root: Path, problem: str = "no video is there") -> Counts:
    """What the lists and a few headers tell; what the section expects where the videos are not there yet.

    Args:
        problem: why there are no entries, where there are none.
    """
    expected = section.expects
    if not entries:
        source = f"as published; {problem}" if expected.videos else problem
        return Counts(expected.videos, expected.train, expected.frames, source=source)
    good = [entry for entry in entries if not entry.problem]
    train = sum(entry.split in DEVELOPMENT for entry in good)
    cut = [entry.frames[1] - entry.frames[0] for entry in good if entry.frames]
    if cut and len(cut) == len(good):
        return Counts(len(good), train, statistics.mean(cut), source="the lists")
    if section.data.index.source == "images":
        return Counts(len(good), train, 1, source="pictures")
    places = [root / entry.path for entry in good[:: max(1, len(good) // SAMPLED)][:SAMPLED]]
    found = lengths(path for path in places if path.is_file())
    if not found:
        source = "the lists; lengths as published" if expected.frames else "the lists; no header can be read"
        return Counts(len(good), train, expected.frames, source=source)
    frames, seconds = (statistics.mean(item) for item in zip(*found, strict=True))
    return Counts(len(good), train, frames, seconds, f"the lists, and the headers of {len(found)} videos")


# -------------------------------------------------------------------------------------------------------------- rates


@dataclass(frozen=True)
class Rate:
    """Seconds per unit that finished jobs of a stage have needed: on a processor's core, or on a GPU.

    Attributes:
        runs: names of the data sets that tell it.
    """

    cpu: float | None = None
    gpu: float | None = None
    runs: tuple[str, ...] = ()


def _units(report: Report, stage: Stage, run: Path) -> int:
    """How many units a finished job has done, as its artifact tells; what joins all videos has done all of its run."""
    from pipeline.store.inspect import inspect_artifact, is_artifact

    if not stage.sharded:
        index = run / "data/index.parquet"
        return inspect_artifact(index)[0].ok if is_artifact(index) else 0
    if stage.cost.unit != "frame":
        return report.ok
    arrays = report.arrays
    return max((arrays[name]["shape"][0] for name in ("present", "diff_sum") if name in arrays), default=0)


@functools.cache
def _told(results: Path, name: str) -> list[tuple[dict[str, Any], str, str, int, float]]:
    """Settings, data set, device, units and seconds of all finished jobs of a stage."""
    from pipeline.store.inspect import inspect_artifact, is_artifact  # NumPy, which the Snakefile does without

    stage, found = STAGES[name], []
    # The artifact that tells how many frames there were is the last one to be written.
    path = list(stage.writes.values())[-1].replace("{shard}", "*")
    for file in sorted(results.glob(f"*/{path}")) if "{" not in path else ():
        if not is_artifact(file):
            continue
        report, attributes = inspect_artifact(file)
        if not report.problem and report.seconds:
            record = attributes["provenance"]
            device = str(record.get("device", "cpu")).partition(":")[0]
            units = _units(report, stage, results / file.relative_to(results).parts[0])
            found.append((record["settings"], record["dataset"], device, units, report.seconds))
    return found


def rate_of(section: Dataset, name: str, results: Path, wanted: float | None) -> Rate:
    """What earlier runs tell of a stage: those whose settings are as fast as today's, and of like size.

    Args:
        wanted: units that there are; None: unknown.
    """
    stage = STAGES[name]
    own = json.loads(as_json(stage.own_settings(section)))
    alike = [
        (dataset, device, seconds / units)
        for settings, dataset, device, units, seconds in _told(results, name)
        if units
        and all(settings.get(key) == own.get(key) for key in stage.cost.alike)
        and (stage.sharded or (wanted and 1 / LIKE <= wanted / units <= LIKE))
    ]
    by_device = {
        kind: [rate for _, device, rate in alike if (device == "cuda") == (kind == "cuda")] for kind in ("cpu", "cuda")
    }
    medians = {kind: statistics.median(rates) if rates else None for kind, rates in by_device.items()}
    return Rate(medians["cpu"], medians["cuda"], tuple(sorted({dataset for dataset, _, _ in alike})))


# ------------------------------------------------------------------------------------------------------------ a stage


@dataclass(frozen=True)
class StageCost:
    """What one stage of a run costs.

    Attributes:
        jobs: how many; units: how much work, of the kind ``unit``; None: unknown.
        cpu_hours: of one core, where everything runs on processors; gpu_hours: where its networks run on a GPU, 0 for a
            stage without a network, beside which cores are busy for ``beside_hours``; None: unknown.
        megabytes: that it writes; None: unknown.
        source: where its rates are from: runs, ``declared`` or ``unknown``.
        gpu_measured: whether a run on a GPU tells `gpu_hours`; otherwise they rest on `GPU_SPEED`, an assumption.
    """

    stage: str
    jobs: int
    unit: str
    units: float | None
    cpu_hours: float | None
    gpu_hours: float | None
    beside_hours: float | None
    megabytes: float | None
    source: str
    gpu_measured: bool = False


def networks(section: Dataset, stage: Stage) -> dict[str, float]:
    """Encoder → passes per unit, of those that run."""
    found = {}
    for path, passes in stage.cost.encoders.items():
        if count := passes(section):
            model = value_at(section, path)
            found[model] = found.get(model, 0) + count
    return found


def _seconds(section: Dataset, stage: Stage) -> float | None:
    """Of one core per unit, by what is declared; None where a part is unknown."""
    parts = [stage.cost.seconds or (0.0 if stage.cost.encoders else None)]
    for model, passes in networks(section, stage).items():
        seconds = (known(model) or Known()).seconds
        parts.append(None if seconds is None else passes * seconds)
    return None if None in parts else sum(parts)


def _gpu_seconds(section: Dataset, stage: Stage) -> float | None:
    """Of a GPU per unit, by multiply-adds and `GPU_SPEED`."""
    parts = []
    for model, passes in networks(section, stage).items():
        counted = (known(model) or Known()).multiply_adds
        parts.append(None if counted is None else passes * counted * 1e9 / GPU_SPEED)
    return None if None in parts else sum(parts)


def stage_cost(section: Dataset, name: str, counts: Counts, results: Path | None) -> StageCost:
    """Estimate one stage; see `StageCost`.

    Args:
        results: where earlier runs lie; None asks none.
    """
    stage, cost = STAGES[name], STAGES[name].cost
    jobs = section.data.shards if stage.sharded else 1
    units = counts.of(cost.unit)
    rate = Rate() if results is None else rate_of(section, name, results, units)
    runs_networks = bool(networks(section, stage))
    declared, on_gpu = _seconds(section, stage), _gpu_seconds(section, stage) if runs_networks else 0.0
    source = "declared" if declared is not None else "unknown"
    if rate.cpu is not None:
        declared = rate.cpu
    if rate.gpu is not None:
        on_gpu = rate.gpu
    if rate.runs:
        source = ", ".join(f"results/{run}" for run in rate.runs)
    start = jobs * JOB_SECONDS if rate.cpu is None and declared is not None else 0

    def hours(seconds: float | None, extra: float = 0) -> float | None:
        return None if seconds is None or units is None else (units * seconds + extra) / 3600

    kilobytes = None if counts.frames is None and cost.unit == "frame" else cost.kilobytes(section, counts.frames or 0)
    files = counts.train if cost.unit == "train" else counts.videos
    megabytes = None if kilobytes is None or files is None else files * kilobytes / 1000
    alone = hours(declared, start)
    beside = hours(cost.seconds or 0.0, start) if runs_networks else alone
    on_gpu_hours = hours(on_gpu) if runs_networks else 0.0
    return StageCost(
        name, jobs, cost.unit, units, alone, on_gpu_hours, beside, megabytes, source, gpu_measured=rate.gpu is not None
    )


def run_costs(section: Dataset, goals: Iterable[str], counts: Counts, results: Path | None) -> list[StageCost]:
    """What all stages cost that lead to some, in their order. Those that lie with another data set are among them."""
    return [stage_cost(section, name, counts, results) for name in closure(section, goals)]


def minutes(section: Dataset, name: str, counts: Counts, gpu: bool) -> int:
    """What a job of a stage asks for at first: what it declares, or more where its work needs it.

    Args:
        gpu: whether its networks run on one.
    """
    stage = STAGES[name]
    cost = stage_cost(section, name, counts, None)
    hours = cost.cpu_hours if not gpu else (cost.gpu_hours or 0) + (cost.beside_hours or 0)
    return max(stage.minutes, round(60 * SLACK * (hours or 0) / cost.jobs))


# --------------------------------------------------------------------------------------------------------- downloads


def downloads(section: Dataset, stages: Iterable[str]) -> dict[str, Known | None]:
    """Encoders that the stages name, with what is known of them; those that come with the project are left out."""
    found: dict[str, Known | None] = {}
    for name in stages:
        stage = STAGES[name]
        for path in stage.checkpoints:
            model, floor = value_at(section, path), path.rpartition(".")[0]
            unused = path in stage.cost.encoders and not stage.cost.encoders[path](section)
            imported = hasattr(value_at(section, floor), "source") and not computed(floor)(section)
            if model and not unused and not imported and not model.startswith("pipeline/") and not Path(model).is_dir():
                found[model] = known(model)
    return found


def of_mmpose(section: Dataset, python: str, stages: Iterable[str]) -> list[str]:
    """What a plan says of pose networks that run in an environment of MMPose, one line each.

    Args:
        python: ``runtime.mmpose``; stages: of the plan.
    """
    models = {model for name in stages for model in networks(section, STAGES[name]) if is_of_mmpose(model)}
    where = (
        f"runs under runtime.mmpose, {python}"
        if python
        else "needs runtime.mmpose, which is not set (docs/packages.md)"
    )
    if python and not shutil.which(python):
        where = f"cannot run: runtime.mmpose, {python}, is no program (docs/packages.md)"
    return [f"{model} is a network of MMPose and {where}" for model in sorted(models)]


def expectation(shipped: Mapping[str, Any] | None, own: Mapping[str, Any]) -> tuple[float | None, str]:
    """Accuracy to expect, and who says so; None with the reason where nobody does.

    Args:
        shipped: the section as the project ships it, None for a data set of one's own; own: as it is configured here.
    """
    if shipped is None:
        return None, "these are videos of your own"
    expects = own.get("expects", {})
    others = sorted(
        key
        for key in (shipped.keys() | own.keys()) - {"expects", "ablations"}
        if _without_places(shipped.get(key)) != _without_places(own.get(key))
    )
    if others:
        return None, f"the figure that is known is for the settings as shipped, and `{others[0]}` differs here"
    if expects.get("top1") is None:
        return None, expects.get("source") or "no figure is published for this set"
    return expects["top1"], expects["source"]


def _without_places(section: Any) -> Any:
    """A section without what changes no figure."""
    if not isinstance(section, Mapping):
        return section
    return {key: value for key, value in section.items() if key not in ("root", "shards")}


# ----------------------------------------------------------------------------------------------------------- in words

UNKNOWN = "unknown"
# Megabytes below which a stage that takes no time is not worth a row.
LITTLE = 100


def amount(value: float | None, unit: str) -> str:
    """A number as people say it, with its unit: ``2.4 million frames``."""
    if value is None:
        return UNKNOWN
    if value >= 1e6:
        return f"{value / 1e6:.1f} million {unit}s"
    return f"{value:,.0f} {unit}{'' if round(value) == 1 else 's'}"


def hours(value: float | None) -> str:
    """Hours as people say them."""
    if value is None:
        return UNKNOWN
    if value * 3600 < 1:
        return "< 1 s" if value else "0"
    if value < 1.5:
        return f"{max(1, round(value * 60))} min" if value * 60 >= 1 else f"{value * 3600:.0f} s"
    return f"{value:,.1f} h" if value < 10 else f"{value:,.0f} h"


def space(megabytes: float | None) -> str:
    """Megabytes as people say them."""
    if megabytes is None:
        return UNKNOWN
    if megabytes < 1:
        return "< 1 MB"
    return f"{megabytes:,.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:,.1f} GB"


HEADER = ["stage", "jobs", "work", "disk", "on one core", "on a GPU", "measured in"]
# Where rates that the project declares were measured.
MEASURED = {"declared": "bench/"}


def rows(costs: list[StageCost]) -> tuple[list[list[str]], list[str]]:
    """Rows of the printed table, and what is left out of it, in words: what is little, and what is unknown."""
    found, little, unknown = [], [], []
    for cost in costs:
        if cost.cpu_hours is None and not cost.gpu_hours and (cost.megabytes or 0) < LITTLE:
            unknown.append(cost.stage)
        elif cost.cpu_hours is not None and cost.cpu_hours * 60 < 1 and (cost.megabytes or 0) < LITTLE:
            little.append(cost.stage)
        else:
            on_gpu = hours(cost.gpu_hours) if cost.gpu_hours != 0 else ""
            if cost.gpu_hours and not cost.gpu_measured:
                on_gpu += ", assumed"
            work = amount(cost.units, "video" if cost.unit == "train" else cost.unit)
            row = [cost.stage, f"{cost.jobs}", work, space(cost.megabytes), hours(cost.cpu_hours), on_gpu]
            found.append([*row, MEASURED.get(cost.source, cost.source)])
    left = [f"less than a minute: {', '.join(little)}"] if little else []
    return found, [*left, *([f"{UNKNOWN}, no run here tells: {', '.join(unknown)}"] if unknown else [])]


def totals(costs: list[StageCost]) -> dict[str, float | bool]:
    """Sums over the stages whose figures are known, and whether all are."""
    networks = [cost for cost in costs if cost.gpu_hours != 0]
    return {
        "cpu_hours": sum(cost.cpu_hours or 0 for cost in costs),
        "gpu_hours": sum(cost.gpu_hours or 0 for cost in networks),
        "beside_hours": sum(cost.beside_hours or 0 for cost in costs),
        "megabytes": sum(cost.megabytes or 0 for cost in costs),
        "complete": all(cost.cpu_hours is not None and cost.megabytes is not None for cost in costs),
    }
