"""The graph of all stages under a configuration: what exists, what reads what, what decides a result, where it lies.

Everything follows from the declarations (`pipeline.jobs.declare`). Used by the Snakefile while it is parsed and by the
commands that look into caches; standard library and pydantic only.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from pipeline.config import Dataset
from pipeline.jobs.declare import Read, Stage
from pipeline.methods.registry import METHODS
from pipeline.settings import ConfigError
from pipeline.store.provenance import canonical, digest_of

FLOORS = ("demo", "data", "motion", "context", "backbone", "graphs")


def _collected() -> dict[str, Stage]:
    """All stages by name, those that are read before those that read them.

    Raises:
        ValueError: two stages have one name, or one reads what no stage writes.
    """
    declared = [stage for floor in FLOORS for stage in importlib.import_module(f"pipeline.{floor}.stages").STAGES] + [
        stage for method in METHODS.values() for stage in method.stages
    ]
    named: dict[str, Stage] = {}
    for stage in declared:
        if stage.name in named:
            raise ValueError(f"{named[stage.name].module} and {stage.module} both declare a stage `{stage.name}`")
        named[stage.name] = stage
    ordered: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        for name, read in stage.reads.items():
            if read.output not in getattr(named.get(read.stage), "writes", ()):
                raise ValueError(f"stage `{stage.name}` reads {name} from `{read.source}`, which no stage writes")
            if read.stage not in ordered:
                visit(named[read.stage])
        ordered.setdefault(stage.name, stage)

    for stage in declared:
        visit(stage)
    return ordered


STAGES: dict[str, Stage] = _collected()


def reads(section: Dataset, stage: str, other: Dataset | None = None) -> dict[str, Read]:
    """Inputs that a stage has under this configuration.

    Args:
        other: section of the data set that `Read.when_of` names, where the stage has such an input.
    """
    return {
        name: read
        for name, read in STAGES[stage].reads.items()
        if read.when(section if read.when_of == "dataset" or other is None else other)
        and STAGES[read.stage].when(section)
    }


def settings(section: Dataset, stage: str) -> dict[str, Any]:
    """A stage's own settings and, under ``upstream``, the digests of the settings of all stages that it reads.

    The digests make an artifact that was touched or copied recognisable where it is read.
    """
    upstream = {
        read.stage: settings_digest(section, read.stage)
        for read in reads(section, stage).values()
        if read.decides and read.settings_count and read.of == "dataset"
    }
    return {**STAGES[stage].own_settings(section), "upstream": upstream}


def settings_digest(section: Dataset, stage: str) -> str:
    """Digest of `settings`, worked out once per section."""
    if stage not in section._digests:
        section._digests[stage] = digest_of(settings(section, stage))
    return section._digests[stage]


def settings_json(section: Dataset, stage: str) -> str:
    """The parameter of a rule that holds its settings: canonical JSON, so that equal settings are equal strings."""
    return canonical(settings(section, stage))


def home(section: Dataset, stage: str) -> str:
    """Name of the data set in whose folder the artifacts of a stage lie.

    What depends on videos and encoders alone belongs to the data set of an experiment, unless the experiment has other
    settings for it.

    Raises:
        ConfigError: the experiment changes what only its data set can say.
    """
    base = section.base
    if base is None or STAGES[stage].per != "videos":
        return section.name
    if STAGES[stage].looked_up or settings_digest(base, stage) == settings_digest(section, stage):
        return base.name
    if STAGES[stage].generates:
        raise ConfigError(
            f"`datasets.{section.name}` changes the videos of `{base.name}`; make it a data set of its own"
        )
    return section.name


def shards(section: Dataset) -> list[str]:
    """Shard names such as ``003-of-064``."""
    count = section.data.shards
    return [f"{index:03d}-of-{count:03d}" for index in range(count)]


def closure(section: Dataset, wanted: Iterable[str]) -> list[str]:
    """The wanted stages and all that they read, directly or not, in the order of `STAGES`."""
    found: set[str] = set()
    waiting = [name for name in wanted if STAGES[name].when(section)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [read.stage for read in reads(section, name).values() if read.of == "dataset"]
    return [name for name in STAGES if name in found]


def possible(section: Dataset) -> list[str]:
    """Stages that some target of this configuration can ask for, in the order of `STAGES`."""
    read_by_some = {read.stage for stage in STAGES.values() for read in stage.reads.values()}
    return closure(section, [name for name in STAGES if name not in read_by_some])


def artifacts(section: Dataset, stage: str) -> list[str]:
    """Files that a stage writes below ``results/<data set>``, without those with wildcards other than the shard."""
    parts = shards(section)
    return [
        path.replace("{shard}", shard)
        for path in STAGES[stage].writes.values()
        for shard in (parts if "{shard}" in path else [""])
        if "{" not in path.replace("{shard}", "")
    ]
