"""Declarations as what Snakemake wants of a rule: named inputs and outputs, a log, resources, parameters, a command."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config import Config, Dataset
from pipeline.data.entries import ListError
from pipeline.data.stages import VIDEOS
from pipeline.demo.stages import is_rendered
from pipeline.jobs.declare import Read, Stage, value_at
from pipeline.rules import costs
from pipeline.rules.graph import STAGES, closure, home, reads, settings_json, shards
from pipeline.rules.videos import Videos
from pipeline.settings import ConfigError
from pipeline.store.code import code_digest
from pipeline.store.provenance import fingerprint

# Rows of processors that a GPU's encoder keeps busy with preparing.
CORES_PER_GPU = 4
WEIGHTS = (".json", ".safetensors")


def places_named(section: Dataset, paths: tuple[str, ...], root: str, project: str) -> list[str]:
    """Files and folders that settings name, below the root of the data set or shipped with the project.

    A missing one is left out: the stage, which knows what it is for, says that it is missing.
    """
    found = []
    for path in paths:
        named = value_at(section, path)
        values = list(named.values()) if isinstance(named, dict) else [named]
        for file in (file for value in values for file in ([value] if isinstance(value, str) else value)):
            places = [os.path.join(folder, file) for folder in (root, project)]
            found += [os.path.relpath(place) for place in places if file and os.path.exists(place)][:1]
    return found


def weights_of(section: Dataset, paths: tuple[str, ...], project: str) -> list[str]:
    """The weights of encoders that settings name, where they are local folders; a hub id is pinned by its revision."""
    folders = [Path(project, name) for path in paths if (name := value_at(section, path))]
    return sorted(os.path.relpath(path) for folder in folders for path in folder.glob("*") if path.suffix in WEIGHTS)


@functools.cache
def searches_on_gpu() -> bool:
    """Whether the faiss of this environment, which the jobs share, is one for GPUs."""
    import faiss  # slow, and asked on clusters alone

    return hasattr(faiss, "StandardGpuResources")


class Rules:
    """What the rules of all stages are made of.

    Args:
        project: folder of the Snakefile.
        cores: that a run may use, None where each job has a machine's part to itself.
        checkpoints: Snakemake's; an input function that asks it waits for the table that shards look up.
        ancient: Snakemake's mark of an input whose time of change means nothing.
        stop: called with an error that a person must act upon; raises.
        note: called with each data set that a rule is asked for.
        needs_videos: jobs will run; without the folder of the videos they could not.
    """

    def __init__(
        self,
        config: Config,
        project: str,
        cores: int | None,
        on_cluster: bool,
        checkpoints: Any,
        ancient: Callable[[Any], Any],
        stop: Callable[[Exception], Any],
        note: Callable[[str], Any] = lambda name: None,
        needs_videos: bool = False,
    ):
        self.config, self.project = config, project
        self.cores, self.on_cluster = cores, on_cluster
        self.checkpoints, self.ancient, self.stop = checkpoints, ancient, stop
        self.note = note
        self.videos = Videos(config, needs_videos)

    def _told(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """An input or parameter function whose expected errors end the run in one line."""

        @functools.wraps(function)
        def call(wildcards: Any) -> Any:
            try:
                return function(wildcards)
            except (ConfigError, ValueError) as error:
                return self.stop(error)

        return call

    def section(self, name: str) -> Dataset:
        return self.config.datasets[name]

    # --------------------------------------------------------------------------------------------------------- inputs

    def paths(self, name: str, source: Read, shard: str = "") -> list[str]:
        """Where an artifact lies that a stage of a data set reads: of one shard, or of all."""
        place = home(self.section(name), source.stage)
        path = f"results/{place}/{STAGES[source.stage].writes[source.output]}"
        if "{shard}" not in path:
            return [path]
        return [path.replace("{shard}", part) for part in ([shard] if shard else shards(self.section(place)))]

    def _input(self, stage: Stage, name: str, read: Read) -> Callable[[Any], Any]:
        def files(wildcards: Any) -> list[str]:
            own, other = wildcards.dataset, getattr(wildcards, read.when_of)
            if name not in reads(self.section(own), stage.name, self.section(other)):
                return []
            if not read.decides:
                self.check_shard(own, wildcards.shard)
                place = home(self.section(own), read.stage)
                return list(getattr(self.checkpoints, read.stage).get(dataset=place).output)
            return self.paths(
                getattr(wildcards, read.of), read, getattr(wildcards, "shard", "") if stage.sharded else ""
            )

        function = self._told(files)
        return function if read.decides else self.ancient(function)

    def check_shard(self, name: str, shard: str) -> None:
        """Raises: ConfigError: a path names a shard that the data set does not have."""
        known = shards(self.section(name))
        if shard not in known:
            raise ConfigError(f"{name} has no shard {shard}; with data.shards: {len(known)} they end with {known[-1]}")

    def _check_home(self, stage: Stage, name: str) -> None:
        place = home(self.section(name), stage.name)
        if place != name:
            raise ConfigError(f"{stage.name} of {name} is that of {place}: ask for results/{place} instead")

    def inputs(self, stage: Stage) -> dict[str, Callable[[Any], Any]]:
        """Input functions by name; what a configuration does not have is an empty list."""
        found = {name: self._input(stage, name, read) for name, read in stage.reads.items()}

        def foreign(wildcards: Any) -> list[str]:
            self._check_home(stage, wildcards.dataset)
            self.note(wildcards.dataset)
            paths = self._named(stage, wildcards.dataset)
            return [path for path in paths if os.path.isfile(path) and "{" not in path]

        found["files"] = self._told(foreign)
        found["tables"] = self.ancient(self._told(self._awaited(stage)))
        if stage.opens_videos:
            found["opened"] = self._told(self._made_videos)
        return found

    def _awaited(self, stage: Stage) -> Callable[[Any], list[str]]:
        """Names no file, but waits for the table that shards look up, where any of them is on the way to a stage.

        As long as that table is to be made, Snakemake overlooks what else is stale between it and the stage, and would
        start the stage on an outdated input as soon as the index is there.
        """
        looked_up_by = functools.cache(lambda name: VIDEOS.stage in closure(self.section(name), [stage.name]))

        def wait(wildcards: Any) -> list[str]:
            name = wildcards.dataset
            if stage.name != VIDEOS.stage and looked_up_by(name):
                getattr(self.checkpoints, VIDEOS.stage).get(dataset=home(self.section(name), VIDEOS.stage))
            return []

        return wait

    def _named(self, stage: Stage, name: str) -> list[str]:
        """Files and folders that a stage reads and no rule makes: shipped, named by settings, weights."""
        section, root = self.section(name), self.config.root_of(name)
        shipped = [os.path.relpath(os.path.join(self.project, path)) for path in stage.ships]
        named = places_named(section, stage.files, root, self.project)
        return [*shipped, *named, *weights_of(section, stage.checkpoints, self.project)]

    def _made_videos(self, wildcards: Any) -> list[str]:
        """Videos that a rule makes; those on a user's disk are followed by a digest, one stat each."""
        section = self.section(wildcards.dataset)
        if is_rendered(section):  # as many as a shard has, told by its manifest
            return self.paths(wildcards.dataset, Read("synthesise.manifest"), wildcards.shard)
        maker = next((stage for stage in STAGES.values() if stage.generates and stage.when(section)), None)
        if maker is None:
            return []
        root = os.path.relpath(self.config.root_of(home(section, maker.name)))
        entries = self.videos.entries(wildcards.dataset)
        if hasattr(wildcards, "shard"):
            part, count = shards(section).index(wildcards.shard), section.data.shards
            entries = [entry for entry in entries if entry.in_shard(part, count)]
        return [f"{root}/{entry.path}" for entry in entries]

    # ------------------------------------------------------------------------------------------- outputs, parameters

    def outputs(
        self, stage: Stage, dataset: str = "{dataset}", mark: Callable[..., Any] | None = None
    ) -> dict[str, Any]:
        """Paths by name.

        Args:
            mark: Snakemake's mark of an output that its report shows.
        """
        found: dict[str, Any] = {name: f"results/{dataset}/{path}" for name, path in stage.writes.items()}
        for name, page in stage.captions.items() if mark else ():
            found[name] = mark(found[name], category=dataset, caption=f"../report/{page}")
        if stage.generates and dataset != "{dataset}":
            module, _, function = stage.generates.partition(":")
            more = getattr(importlib.import_module(module), function)(self.section(dataset))
            found["generated"] = [f"results/{dataset}/{path}" for path in more]
        return found

    def makers(self) -> list[tuple[Stage, str]]:
        """Stages whose outputs depend on the configuration, with each data set that they make."""
        return [
            (stage, name)
            for stage in STAGES.values()
            if stage.generates
            for name in self.config.datasets.sound()
            if not self.section(name).dataset and stage.when(self.section(name))
        ]

    def settings(self, stage: Stage) -> Callable[[Any], str]:
        """What of the configuration decides the result, as one text: Snakemake compares values without their names."""
        known = functools.cache(lambda name: settings_json(self.section(name), stage.name))
        return self._told(lambda wildcards: known(wildcards.dataset))

    def followed(self, stage: Stage) -> Callable[[Any], str]:
        """Digest of the videos whose coming, going or replacement reruns the stage, and of what cannot be an input.

        As an input a folder would tell that a file has come or gone, and not that one has another content; and braces
        in a path Snakemake would take for wildcards.
        """

        @functools.cache
        def others(name: str) -> list[str]:
            paths = self._named(stage, name)
            return [fingerprint(path) for path in paths if os.path.isdir(path) or "{" in path]

        def digest(wildcards: Any) -> str:
            videos = self.videos.digest(wildcards.dataset, stage.follows, getattr(wildcards, "shard", ""))
            return " ".join([videos, *others(wildcards.dataset)])

        return self._told(digest)

    def code(self, stage: Stage) -> Callable[[Any], str]:
        """Digest of the code that the stage can reach: Snakemake does not see imported code by itself."""
        return lambda wildcards: code_digest(stage.module)

    def arguments(self, stage: Stage, dataset: str = "") -> Callable[[Any], list[str]]:
        """What a stage is told of its files: ``--input name path …``, ``--output name path``, and its shard.

        Args:
            dataset: where the rule has no wildcard for it.
        """

        def named(wildcards: Any) -> list[str]:
            own = dataset or wildcards.dataset
            filled = {**dict(wildcards.items() if wildcards else ()), "dataset": own}
            found = ["--shard", filled["shard"]] if stage.sharded else []
            for name, read in stage.reads.items():
                there = reads(self.section(own), stage.name, self.section(filled[read.when_of]))
                shard = filled.get("shard", "") if stage.sharded else ""
                found += ["--input", name, *(self.paths(filled[read.of], read, shard) if name in there else [])]
            for name, path in stage.writes.items():
                found += ["--output", name, f"results/{own}/{path.format(**filled)}"]
            return found

        return self._told(named)

    # ------------------------------------------------------------------------------------------------------ resources

    def threads(self, stage: Stage) -> int:
        """Cores of a job: one encoder at a time where all share a GPU, as many as there are cores elsewhere."""
        everything = self.cores or 1
        if stage.threads in ("one", "all"):
            return everything if stage.threads == "all" else 1
        if stage.threads == "finetune":
            return CORES_PER_GPU * self.config.runtime.finetune_processes if self.gpus(stage) else everything
        if self.on_cluster:
            return CORES_PER_GPU if self.gpus(stage) else 1
        device = self.config.runtime.device
        has_gpu = device.startswith("cuda") or (device == "auto" and shutil.which("nvidia-smi") is not None)
        return everything if has_gpu else 1

    def gpus(self, stage: Stage) -> int:
        """GPUs of a job on a cluster: of each that runs on one, unless ``runtime.device`` is ``cpu``."""
        wanted = self.on_cluster and self.config.runtime.device != "cpu" and self._runs_on_gpu(stage)
        return int(wanted) * (self.config.runtime.finetune_processes if stage.threads == "finetune" else 1)

    @staticmethod
    def _runs_on_gpu(stage: Stage) -> bool:
        if stage.gpu == "search":
            return searches_on_gpu()
        return stage.gpu == "network" or bool(stage.checkpoints)

    def minutes(self, stage: Stage) -> Callable[..., int]:
        """Run time that a job asks for: what its stage declares, on a cluster at least what `costs` expects of it."""
        if not self.on_cluster:
            return self.doubling(stage.minutes)

        @functools.cache
        def first(name: str) -> int:
            try:
                counts = costs.counts_of(self.section(name), self.videos.entries(name), Path(self.config.root_of(name)))
            except ListError:  # the stage `videos` says what is wrong
                return stage.minutes
            return costs.minutes(self.section(name), stage.name, counts, gpu=bool(self.gpus(stage)))

        return lambda wildcards, attempt: first(wildcards.dataset) * 2 ** (attempt - 1)

    @staticmethod
    def doubling(first: int) -> Callable[..., int]:
        """A resource that doubles with every resubmission: what was too little once is not asked for again."""
        return lambda wildcards, attempt: first * 2 ** (attempt - 1)
