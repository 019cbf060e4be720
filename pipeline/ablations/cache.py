"""Artifacts of changed configurations, made in this process and shared by everything that has the same settings.

Why not by Snakemake: a table is a hundred small variants, and Snakemake would start a process for each stage of each of
them; their imports alone would take longer than the work. Which stages there are, and what they read, the declarations
say.

The digest of a stage's settings covers those of all stages before it. Where it is the digest of the unchanged
configuration, the artifact of the run is used; everywhere else it names a folder of the cache. What a variant has in
common with the run, with other variants and with other tables is therefore never made twice.
"""

from __future__ import annotations

import fcntl
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config import Dataset
from pipeline.jobs.declare import Stage
from pipeline.jobs.stage import Job, StageError, parser
from pipeline.rules import graph
from pipeline.store.arrays import Arrays
from pipeline.store.atomic import ArtifactError
from pipeline.store.code import code_digest
from pipeline.store.inspect import is_artifact
from pipeline.store.provenance import canonical
from pipeline.store.tables import read_attributes


def _attributes(path: Path) -> dict[str, Any]:
    if path.suffix == ".parquet":
        return read_attributes(path)
    with Arrays(path) as artifact:
        return artifact.attributes


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two processes that need the same artifact: the second waits for the first."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class Cache:
    """The artifacts of one run and of everything derived from it.

    Attributes:
        results: ``results/<data set>``, of the run; nothing is written there.
        folder: for what is derived.
        base: the configuration that the run was made with.
        remakes: costly stages that may be made again, because a table is about them.
    """

    def __init__(self, results: Path, folder: Path, base: Dataset, remakes: tuple[str, ...] = ()):
        self.results = results
        self.folder = folder
        self.base = base
        self.remakes = remakes
        self._found: dict[tuple[str, str], dict[str, list[Path]]] = {}

    def paths(self, section: Dataset, name: str) -> dict[str, list[Path]]:
        """Outputs of a stage under a configuration: one path each, or one per shard; made if need be.

        Raises:
            StageError, ArtifactError: it cannot be made, or the run lacks it.
        """
        digest = graph.settings_digest(section, name)
        if (name, digest) not in self._found:
            self._found[name, digest] = self._find(section, name, digest)
        return self._found[name, digest]

    def _find(self, section: Dataset, name: str, digest: str) -> dict[str, list[Path]]:
        stage = graph.STAGES[name]
        of_run = digest == graph.settings_digest(self.base, name) or (stage.looked_up and stage.per == "videos")
        if not of_run and stage.costly and name not in self.remakes:
            raise StageError(
                f"a comparison cannot change what `{name}` makes: it would be made again from every video; give such a "
                f"variant an experiment of its own in the configuration"
            )
        folder = self.results.parent / graph.home(self.base, name) if of_run else self.folder / name / digest
        if not of_run:
            self._make(section, stage, folder)
        found = {
            output: [folder / pattern.replace("{shard}", shard) for shard in _shards(section, pattern)]
            for output, pattern in stage.writes.items()
        }
        for path in (path for paths in found.values() for path in paths if of_run):
            made_so = not is_artifact(path) or _attributes(path)["provenance"]["settings_digest"] == digest
            if not path.is_file() or not (made_so or stage.looked_up):
                raise ArtifactError(
                    f"{path} does not exist, or was made with other settings than the configuration has now; "
                    f"`snakemake --cores all {self.results}/model.pt` makes it"
                )
        return found

    def _make(self, section: Dataset, stage: Stage, folder: Path) -> None:
        inputs = {name: [] for name in stage.reads} | {
            name: self.paths(section, read.stage)[read.output]
            for name, read in graph.reads(section, stage.name).items()
        }
        settings = canonical(graph.settings(section, stage.name))
        for shard in _shards(section, next(iter(stage.writes.values()))):
            own = {
                # What is not in shards is the same for all of them.
                key: [path for path in paths if len(paths) == 1 or not shard or path.name.startswith(shard)]
                for key, paths in inputs.items()
            }
            outputs = {key: folder / pattern.replace("{shard}", shard) for key, pattern in stage.writes.items()}
            run_step(stage.module, stage.name, self.results.name, settings, own, outputs, shard)


def _shards(section: Dataset, pattern: str) -> list[str]:
    """Names of the shards of an artifact, one empty name where it has none."""
    return graph.shards(section) if "{shard}" in pattern else [""]


def run_step(
    module: str,
    name: str,
    dataset: str,
    settings: str,
    inputs: dict[str, list[Path]],
    outputs: dict[str, Path],
    shard: str = "",
) -> None:
    """Call a stage in this process, unless its outputs were made by this code from these inputs already.

    Args:
        settings: canonical JSON.
    """
    with _alone(next(iter(outputs.values())).parent):
        # The index reads lists and files of the user, which leave no digest that could be compared.
        if name != "index" and all(_current(path, module, inputs) for path in outputs.values()):
            return
        arguments = ["--dataset", dataset, "--settings", settings, "--shard", shard]
        for key, paths in inputs.items():
            arguments += ["--input", key, *map(str, paths)]
        for key, path in outputs.items():
            arguments += ["--output", key, str(path)]
        job = Job(name, module, parser().parse_args(arguments))
        importlib.import_module(module).build(job)


def _current(path: Path, module: str, inputs: dict[str, list[Path]]) -> bool:
    """Whether an artifact still follows from the code and from its inputs; its settings are those its name says."""
    if not path.is_file():
        return False
    try:
        record = _attributes(path)["provenance"]
    except ArtifactError:
        return False
    present = {
        f"{key}/{path.name}": _attributes(path)["content_digest"]
        for key in inputs
        for path in inputs[key]
        if is_artifact(path)  # weights are no artifact; the curve that came with them knows their digest
    }
    # A stage may read less than it is given, and the files of the user stand there too.
    read = {key: digest for key, digest in record["inputs"].items() if key.partition("/")[0] in inputs}
    return record["code_digest"] == code_digest(module) and read.items() <= present.items()
