"""A data set's cache as a whole: which files today's configuration makes, and where a path lies in it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Config, Dataset, load
from pipeline.rules.graph import artifacts, home, possible
from pipeline.store import names
from pipeline.store.atomic import ArtifactError
from pipeline.store.inspect import inspect_artifact, is_artifact
from pipeline.store.places import shards_of
from pipeline.store.tables import read_table

RESULTS = "results"
SHARD = re.compile(r"[0-9]+-of-[0-9]+")


class InspectionError(ArtifactError):
    """What was asked for cannot be shown; one line says what would be right."""


@dataclass(frozen=True)
class Place:
    """Where a path lies.

    Attributes:
        run_folder: the folder that Snakemake runs in; ``results`` lies below it.
        dataset: name of the data set.
        target: the path from the run folder, as rules name it.
    """

    run_folder: Path
    dataset: str
    target: str

    @property
    def folder(self) -> Path:
        return self.run_folder / RESULTS / self.dataset


def place_of(path: Path) -> Place:
    """Find a path in the results of a run; it need not exist.

    Raises:
        InspectionError: it lies in no folder called ``results``.
    """
    whole = path.absolute()
    for parent in whole.parents:
        if parent.name == RESULTS:
            relative = whole.relative_to(parent.parent)
            return Place(parent.parent, relative.parts[1], relative.as_posix())
    raise InspectionError(f"{path} is not below a folder `results`; name results/<data set> or a file in it")


def artifacts_in(folder: Path) -> list[Path]:
    """Artifacts of a cache, sorted by their paths.

    Raises:
        InspectionError: there is none.
    """
    if not folder.exists():
        raise InspectionError(f"{folder} does not exist")
    if not folder.is_dir():
        raise InspectionError(f"{folder} is a file; name a folder such as results/<data set>")
    found = sorted(path for path in folder.rglob("*") if is_artifact(path))
    if not found:
        raise InspectionError(f"{folder} holds no artifact; `snakemake --cores all {folder}/model.pt` makes them")
    return found


def attributes_of(path: Path) -> dict[str, Any]:
    """Attributes of an artifact.

    Raises:
        InspectionError: it cannot be read.
    """
    report, attributes = inspect_artifact(path)
    if report.problem:
        raise InspectionError(report.problem)
    return attributes


def shards_in(folder: Path, kind: str) -> dict[Path, dict[str, Any]]:
    """Shards of one kind of array artifact with their attributes, in their order; empty if there are none.

    Args:
        kind: for example ``motion/poses``.

    Raises:
        InspectionError: one cannot be read.
    """
    return {path: attributes_of(path) for path in shards_of(folder, kind)}


def index_of(folder: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Rows of the index by video id, and the class names.

    Raises:
        InspectionError: the folder has no index.
    """
    path = folder / "data" / "index.parquet"
    if not path.is_file():
        raise InspectionError(f"{folder} has no data/index.parquet; name a folder such as results/<data set>")
    table, attributes = read_table(path)
    return {row["video_id"]: row for row in table.to_pylist()}, attributes["class_names"]


def section_of(folder: Path, config_path: Path) -> Dataset | None:
    """Today's configuration of a cache; None where there is none, as for a folder copied from elsewhere."""
    if not config_path.is_file():
        return None
    config: Config = load(config_path, folder.resolve().parent)
    return config.datasets.get(folder.resolve().name)


def kind_of(relative: str) -> tuple[str, str]:
    """A path below ``results/<data set>`` as (pattern with ``{shard}``, shard); the shard is empty where there is none.

    >>> kind_of("motion/poses/003-of-064.zarr.zip")
    ('motion/poses/{shard}.zarr.zip', '003-of-064')
    """
    folder, _, name = relative.rpartition("/")
    found = SHARD.match(name)
    if not found:
        return relative, ""
    return f"{folder}/{{shard}}{name[found.end() :]}", found[0]


def current_files(section: Dataset) -> set[str]:
    """Paths below ``results/<data set>`` of all files that today's configuration can make there."""
    own = [name for name in possible(section) if home(section, name) == section.name]
    return {path for name in own for path in artifacts(section, name)}


def nearest(name: str, known: Collection[str]) -> str:
    """What to say of a name that there is not: up to three near ones."""
    near = names.nearest(name, known)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {len(set(known))} others"
