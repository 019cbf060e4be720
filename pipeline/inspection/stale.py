"""Why a target would be made again: which settings, sources, videos or files have changed, and what it would cost.

Which jobs run is Snakemake's own answer (`pipeline.inspection.plan`); what has changed is told by the provenance in the
artifacts, compared with today's configuration, sources and videos.
"""

from __future__ import annotations

import functools
import os
import shlex
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config import Config, Dataset, opened
from pipeline.data.lists import Entry, ListError, read_entries
from pipeline.data.sets import MADE
from pipeline.inspection.cache import RESULTS, Place, kind_of
from pipeline.inspection.diff import flattened
from pipeline.inspection.listing import changed_input
from pipeline.inspection.plan import Plan, PlannedJob
from pipeline.inspection.text import table
from pipeline.jobs import joblog, restart
from pipeline.rules.graph import STAGES
from pipeline.rules.status import duration
from pipeline.store.atomic import ArtifactError
from pipeline.store.code import PROJECT
from pipeline.store.inspect import Report, changed_sources, inspect_artifact, is_artifact
from pipeline.store.provenance import digest_of, fingerprint
from pipeline.store.tables import read_table

# Videos and files are printed one by one up to this number; settings and sources always are.
LISTED = 5


@dataclass(frozen=True)
class Cause:
    """Something that has changed.

    Attributes:
        kind: ``setting``, ``source``, ``video``, ``input``, ``inputs``, ``missing``, ``command``, ``upstream`` or
            ``unknown``.
        what: configuration key below the data set, file, video id or stage.
        how: in words, for example ``0.3 → 0.35`` or ``replaced``.
    """

    kind: str
    what: str
    how: str

    def __str__(self) -> str:
        return f"{self.what}: {self.how}" if self.how else self.what


@dataclass
class Rerun:
    """A job that would run again.

    Attributes:
        follows: stages that run before it and change what it reads.
        seconds: how long it took the last time, or its like took; None if nobody knows.
    """

    stage: str
    shard: str
    outputs: tuple[str, ...]
    causes: list[Cause] = field(default_factory=list)
    follows: list[str] = field(default_factory=list)
    seconds: float | None = None


@dataclass
class Answer:
    """What `stale` tells.

    Attributes:
        jobs: number of jobs that lead to the target.
        reruns: those that would run, in their order.
        believed: artifact → why it is stale although Snakemake holds it for current.
        unneeded: files that are not there, which nobody asks for.
        begun: outputs whose jobs have not reported their end: of a run at work, or of a killed one, whose successor
            makes them again.
    """

    target: str
    jobs: int
    reruns: list[Rerun]
    believed: dict[str, str]
    unneeded: list[str]
    begun: list[str]

    @property
    def seconds(self) -> float:
        return sum(job.seconds or 0.0 for job in self.reruns)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 1)}


def changed_settings(stage: str, then: dict[str, Any], now: dict[str, Any]) -> list[Cause]:
    """Keys of a stage's own settings that have another value than when it ran."""
    a, b = (flattened({key: value for key, value in settings.items() if key != "upstream"}) for settings in (then, now))
    causes = []
    for key in sorted(a.keys() | b.keys()):
        if a.get(key, ...) != b.get(key, ...):
            words = [repr(side[key]) if key in side else "absent" for side in (a, b)]
            place = STAGES[stage].config_key(key) if stage in STAGES else f"{stage}.{key}"
            causes.append(Cause("setting", place, " → ".join(words)))
    return causes


def changed_videos(then: dict[str, str], entries: Iterable[Entry], root: Path) -> list[Cause]:
    """Videos of a shard that have come, gone or been replaced.

    Args:
        then: id → `fingerprint` when the stage ran.
        entries: today's videos of the shard.
    """
    now = {}
    for entry in entries:
        if entry.problem is None:
            try:
                now[entry.video_id] = (entry.path, fingerprint(root / entry.path))
            except (OSError, ValueError):
                continue
    causes = [Cause("video", now[key][0], "added") for key in sorted(now.keys() - then.keys())]
    causes += [Cause("video", key, "removed") for key in sorted(then.keys() - now.keys())]
    return causes + [
        Cause("video", now[key][0], "replaced") for key in sorted(then.keys() & now.keys()) if then[key] != now[key][1]
    ]


def changed_rows(path: Path, entries: Iterable[Entry]) -> list[Cause]:
    """Rows of a table of videos, or of the index, that would be other ones today."""
    rows, _ = read_table(path)

    def row_of(entry: Entry) -> dict[str, Any]:
        return {
            "path": entry.path,
            "class_names": list(entry.class_names),
            "split": entry.split,
            "group": entry.group or "",
            "reason": entry.problem or "",
        }

    then = {row["video_id"]: row for row in rows.to_pylist()}
    now = {entry.video_id: row_of(entry) for entry in entries}
    causes = [Cause("video", now[key]["path"], "added to the data set") for key in sorted(now.keys() - then.keys())]
    causes += [
        Cause("video", then[key]["path"], "removed from the data set") for key in sorted(then.keys() - now.keys())
    ]
    for key in sorted(then.keys() & now.keys()):
        names = [name for name, value in now[key].items() if name in then[key] and then[key][name] != value]
        if names:
            causes.append(Cause("video", now[key]["path"], f"its {', '.join(names)} changed"))
    return causes


class _Explainer:
    """Answers for the jobs of one plan; paths are those of the run folder."""

    def __init__(self, place: Place, plan: Plan):
        self.place = place
        self.plan = plan
        self.config: Config = opened(plan.config)
        self.section: Dataset = self.config.datasets[place.dataset]
        self.maker = {output: job for job in plan.jobs for output in job.outputs}

    @functools.cached_property
    def root(self) -> Path:
        """Folder of the videos; where they are generated they are outputs of a rule, and inputs like any other."""
        return Path(self.config.root_of(self.place.dataset, self.place.run_folder / RESULTS))

    @functools.cached_property
    def entries(self) -> list[Entry] | None:
        """Today's videos; None where they are generated, or not at hand."""
        if self.section.data.index.source in MADE:
            return None
        try:
            return read_entries(self.section.data.index, self.root)
        except ListError:
            return None

    @functools.cache  # noqa: B019 — it lives as long as one answer
    def record(self, path: str) -> tuple[Report, dict[str, Any]]:
        """What an artifact says about itself, and its provenance; both are empty for other files."""
        file = self.place.run_folder / path
        if not is_artifact(file):
            return Report(path, 0), {}
        report, attributes = inspect_artifact(file)
        return report, attributes.get("provenance", {})

    def provenance(self, job: PlannedJob) -> dict[str, Any]:
        return next(filter(None, (self.record(path)[1] for path in job.outputs)), {})

    def name_of(self, path: str) -> str:
        """A file as people know it: sources from the project folder, everything else from the run folder."""
        file = Path(os.path.normpath(self.place.run_folder / path))
        first = PROJECT if file.is_relative_to(PROJECT / "pipeline") else self.place.run_folder
        for folder in (first, PROJECT):
            if file.is_relative_to(folder):
                return file.relative_to(folder).as_posix()
        return str(file)

    def _videos(self, job: PlannedJob, record: dict[str, Any]) -> list[Cause]:
        if self.entries is None:
            return []
        if STAGES[job.stage].looked_up:
            try:
                return changed_rows(self.place.run_folder / job.outputs[0], self.entries)
            except ArtifactError:
                return []
        if "videos" not in record or not job.shard:
            return []
        part, count = (int(number) for number in job.shard.split("-of-"))
        return changed_videos(record["videos"], [e for e in self.entries if e.in_shard(part, count)], self.root)

    def causes(self, job: PlannedJob) -> list[Cause]:
        """What has changed for this job itself, not for those before it."""
        record = self.provenance(job)
        causes = [Cause("missing", path, "is not there") for path in job.missing if job.needed]
        then = record.get("settings") or job.settings_then
        if then and job.settings:
            causes += changed_settings(job.stage, then, job.settings)
        updated = {self.name_of(path): path for path in job.updated}
        sources = {name for name in updated if name.startswith("pipeline/") and name.endswith(".py")}
        if record and not (job.missing and job.needed):
            sources.update(changed_sources(record))
            if "definitions" not in record:
                causes.append(Cause("source", "its code", "another release made it"))
        causes += [Cause("source", name, "edited") for name in sorted(sources)]
        for name in sorted(updated.keys() - sources):
            causes.append(Cause("input", name, "is newer than what was made from it"))
        causes += self._videos(job, record)
        if job.inputs_added or job.inputs_removed:
            names = [f"+{self.name_of(path)}" for path in job.inputs_added]
            names += [f"-{self.name_of(path)}" for path in job.inputs_removed]
            # Many files at once are other shards or a moved project; a list of them would say less.
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            causes.append(Cause("inputs", "it reads other files", f"{', '.join(names[:LISTED])}{more}"))
        if job.command_changed:
            causes.append(Cause("command", f"the command of rule {job.rule}", "changed"))
        if not causes and not job.follows:
            causes.append(self._upstream(job))
        return causes

    def _upstream(self, job: PlannedJob) -> Cause:
        """For jobs that run although nothing of their own has changed and nothing before them runs."""
        before = (job.settings_then or {}).get("upstream", {})
        now = (job.settings or {}).get("upstream", {})
        stages = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
        if job.parameters_changed and before and stages:
            return Cause("upstream", f"settings of {', '.join(stages)}", "changed since it read their artifacts")
        if job.parameters_changed:
            what = "its videos, or a folder that its settings name,"
            return Cause("video", what, "changed; this artifact does not tell which")
        return Cause("unknown", "Snakemake", "has no record of how it was made, and something is newer")

    def follows(self, job: PlannedJob) -> list[str]:
        stages = {self.maker[path].stage for path in job.follows if path in self.maker}
        return [name for name in STAGES if name in stages]

    def _took(self, job: PlannedJob) -> float | None:
        log = joblog.read(self.place.folder / "logs" / f"{'/'.join(filter(None, (job.stage, job.shard)))}.log")
        if log is not None and log.state == "ok":
            return log.seconds
        return self.provenance(job).get("seconds")

    def seconds(self, jobs: list[PlannedJob]) -> dict[str, float | None]:
        """First output → recorded seconds; of shards that never ran, the median of the others of their stage."""
        took = {job.outputs[0]: self._took(job) for job in jobs}
        by_stage: dict[str, list[float]] = {}
        for job in jobs:
            if took[job.outputs[0]] is not None:
                by_stage.setdefault(job.stage, []).append(took[job.outputs[0]])
        for job in jobs:
            if took[job.outputs[0]] is None and job.stage in by_stage:
                took[job.outputs[0]] = statistics.median(by_stage[job.stage])
        return took

    def believed(self, job: PlannedJob) -> dict[str, str]:
        """Artifacts that Snakemake holds for current and that are not what today's configuration would make."""
        found = {}
        for path in job.outputs:
            report, record = self.record(path)
            if report.problem:
                found[path] = report.problem
            if not record:
                continue
            if job.settings is not None and record["settings_digest"] != digest_of(job.settings):
                own = changed_settings(job.stage, record["settings"], job.settings)
                found[path] = "; ".join(map(str, own)) or "made from artifacts of other settings"
            elif report.stale:
                found[path] = report.stale
            elif stale := self._stale_input(job, record):
                found[path] = f"made from another {stale} than is there now"
        return found

    def _stale_input(self, job: PlannedJob, record: dict[str, Any]) -> str:
        present: dict[str, set[str]] = {}
        for path in job.inputs:
            report, _ = self.record(path)
            if report.content:
                present.setdefault(Path(path).name, set()).add(report.content)
        return changed_input(record, present)


def explain(place: Place, plan: Plan) -> Answer:
    """Give every job that would run its causes and its cost.

    Raises:
        ConfigError: the configuration does not fit the schema.
    """
    explainer = _Explainer(place, plan)
    seconds = explainer.seconds(plan.jobs)
    answer = Answer(place.target, len(plan.jobs), [], {}, [], [])
    outputs = {path for job in plan.jobs for path in job.outputs}
    answer.begun = sorted({mark.output for mark in restart.marks(place.run_folder)} & outputs)
    for job in plan.jobs:
        if job.runs:
            answer.reruns.append(
                Rerun(
                    job.stage,
                    job.shard,
                    job.outputs,
                    explainer.causes(job),
                    explainer.follows(job),
                    seconds[job.outputs[0]],
                )
            )
            continue
        answer.believed.update(explainer.believed(job))
        answer.unneeded += job.missing
    return answer


def _grouped(items: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _cause_lines(reruns: list[Rerun]) -> list[str]:
    """Causes with the jobs that they touch, one line each; of many alike some."""
    touched: dict[Cause, list[Rerun]] = {}
    for job in reruns:
        for cause in job.causes:
            touched.setdefault(cause, []).append(job)
    lines = []
    for causes in _grouped(touched, lambda cause: (cause.kind, cause.how if cause.kind == "video" else "")).values():
        listed = causes if causes[0].kind in ("setting", "source") else causes[:LISTED]
        for cause in listed:
            jobs = touched[cause]
            stages = list(dict.fromkeys(job.stage for job in jobs))
            shards = sorted({job.shard for job in jobs if job.shard})
            where = f" ({shards[0]})" if len(shards) == 1 else f" ({len(shards)} shards)" if shards else ""
            lines.append(f"  {cause}  [{', '.join(stages)}{where}]")
        if len(causes) > len(listed):
            lines.append(f"  … and {len(causes) - len(listed)} more of the kind `{causes[0].kind}`")
    return lines


def lines(answer: Answer) -> list[str]:
    """The answer as people read it."""
    reruns = answer.reruns
    if reruns:
        unknown = list(dict.fromkeys(job.stage for job in reruns if job.seconds is None))
        cost = f"about {duration(answer.seconds)} of computing, from recorded times"
        cost += f", not counting {', '.join(unknown)}, whose time is unknown" if unknown else ""
        if all(job.seconds is None for job in reruns):
            cost = "for an unknown time: no stage of these has run yet"
        told = [f"{answer.target}: {len(reruns)} of {answer.jobs} jobs would run again, {cost}", "", "because:"]
        told += [*_cause_lines(reruns), ""]
        rows = []
        for stage, jobs in _grouped(reruns, lambda job: job.stage).items():
            own = sum(bool(job.causes) for job in jobs)
            follows = [name for name in STAGES if any(name in job.follows for job in jobs)]
            reasons = ([f"itself ({own})" if own < len(jobs) else "itself"] if own else []) + follows
            known = [job.seconds for job in jobs if job.seconds is not None]
            named = [job.shard for job in jobs if job.shard] if len(jobs) <= 2 else []
            rows.append(
                [
                    " ".join([stage, *named]),
                    str(len(jobs)),
                    f"{sum(known):.1f}" if known else "unknown",
                    ", ".join(reasons),
                ]
            )
        told.append(table(rows, ["stage", "jobs", "seconds", "changed"]))
        if any(STAGES[job.stage].looked_up for job in reruns):
            told += [
                "",
                "When that table is made, Snakemake looks at the shards again; those of changed videos follow.",
            ]
    else:
        verdict = "but it is stale" if answer.believed else "it is up to date"
        told = [f"{answer.target}: none of {answer.jobs} jobs would run; {verdict}"]
    if answer.unneeded:
        told += ["", "missing, but no job needs it:", *(f"  {path}" for path in answer.unneeded)]
        told.append(f"to make it again: snakemake --cores all {shlex.join(answer.unneeded)}")
    if answer.begun:
        told += ["", "begun and not finished, by a run at work or a killed one; the latter's are made again:"]
        told += [f"  {path}" for path in answer.begun]
    if answer.believed:
        told += [
            "",
            "stale, though Snakemake holds it for current (touched or copied?); delete it to have it made again:",
        ]
        by_reason = _grouped(answer.believed, lambda path: (kind_of(path)[0], answer.believed[path]))
        for (kind, reason), paths in by_reason.items():
            told.append(f"  {paths[0] if len(paths) == 1 else f'{kind} ({len(paths)} shards)'}: {reason}")
    return told
