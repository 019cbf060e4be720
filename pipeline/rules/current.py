"""Whether a finished run is what the configuration would make today."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import load
from pipeline.methods.registry import METHODS
from pipeline.rules.graph import STAGES, settings_digest
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.inspect import inspect_artifact, is_artifact
from pipeline.store.provenance import SCHEMA_VERSION
from pipeline.store.tables import read_attributes


def of_earlier_releases(results: Path) -> list[str]:
    """Names of the data sets whose caches an earlier release made; this one would make all of it again."""
    names = []
    for index in sorted(results.glob("*/data/index.parquet")):
        try:
            version = read_attributes(index).get("schema_version", SCHEMA_VERSION)
        except (ArtifactError, OSError):
            continue
        if version < SCHEMA_VERSION:
            names.append(index.parent.parent.name)
    return names


def check_current(results: Path, config_path: Path, method: str) -> None:
    """Refuse a run that the configuration has outgrown: its numbers would be old.

    Raises:
        StageError: a method's model was made with other settings than the configuration has now.
    """
    if not config_path.is_file():
        return  # a run that was copied from elsewhere can be looked at, but not judged
    datasets = load(config_path, results.resolve().parent).datasets
    name = results.resolve().name
    if name not in datasets:
        return
    goal, own = METHODS[method].goal, {stage.name for stage in METHODS[method].stages if stage.per == "experiment"}
    asked = own & {goal, *(read.stage for read in STAGES[goal].reads.values())}
    files = [(stage, results / path) for stage in STAGES if stage in asked for path in STAGES[stage].writes.values()]
    for stage, path in files:
        if not is_artifact(path):
            continue
        record = inspect_artifact(path)[1].get("provenance", {})
        if record.get("settings_digest") != settings_digest(datasets[name], stage):
            raise StageError(
                f"{results} is stale: it was made with other settings than {config_path} has now; `snakemake --cores "
                f"all {results / STAGES[goal].writes['model']}` makes it again, `conceptreel inspect {results}` tells "
                f"what"
            )
