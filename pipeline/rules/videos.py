"""The videos behind the rules: which there are, and digests that tell when those that a stage reads have changed."""

from __future__ import annotations

import functools
import logging
import os

from pipeline.config import Config
from pipeline.data.entries import DEVELOPMENT, Entry, ListError, by_shard, members_digest
from pipeline.data.lists import read_entries
from pipeline.data.sets.generated import planned_entries, planned_graphs
from pipeline.demo.stages import has_generated_graphs, is_generated, is_rendered
from pipeline.rules.graph import shards
from pipeline.store.provenance import digest_of

logger = logging.getLogger("conceptreel")


class Videos:
    """Videos of all data sets, each read when it is asked for first and never again.

    Args:
        must_exist: a data set whose folder is missing is an error; else it has no videos, and a warning says so.
    """

    def __init__(self, config: Config, must_exist: bool = False):
        self.config, self.must_exist = config, must_exist
        self._entries = functools.cache(self._read)
        self._digests = functools.cache(self._digests_of)
        self.developed = functools.cache(self._developed)

    def _read(self, name: str) -> list[Entry]:
        section, root = self.config.datasets[name], self.config.root_of(name)
        if is_generated(section):
            return planned_entries(section.demo.generate)
        if has_generated_graphs(section):
            return planned_graphs(section.demo.graphs)
        try:
            return read_entries(section.data.index, root)
        except ListError as error:
            if self.must_exist or os.path.isdir(root):
                raise
            # Without the data a dry run still shows the plan.
            logger.warning(f"{name}: {error}")
            return []

    def entries(self, name: str) -> list[Entry]:
        """Videos with labels and splits.

        Raises:
            ListError: the lists cannot be used.
        """
        return self._entries(name)

    def _digests_of(self, name: str, follows: str) -> list[str]:
        """Digests of the videos of every shard that a stage follows. Each stage asks, and a large set takes seconds."""
        section = self.config.datasets[name]
        count = section.data.shards
        # There the videos are inputs.
        made = is_generated(section) or has_generated_graphs(section) or is_rendered(section)
        root = None if made else self.config.root_of(name)
        if follows == "all":
            return [members_digest(part, root) for part in by_shard(self.entries(name), count)]
        if follows == "train":
            chosen = [entry for entry in self.entries(name) if entry.split == "train"]
        else:
            developed = self.developed(name)
            chosen = [entry for entry in self.entries(name) if entry.video_id in developed]
        return [members_digest(part, None) for part in by_shard(chosen, count)]

    def _developed(self, name: str) -> set[str]:
        """Ids of the videos that some experiment on a data set trains on or chooses by."""
        return {
            entry.video_id
            for experiment in self.config.datasets.experiments_on(name)
            for entry in self._of_experiment(experiment, name)
            if entry.split in DEVELOPMENT
        }

    def _of_experiment(self, experiment: str, name: str) -> list[Entry]:
        """Videos of an experiment, read for their splits alone: whether files are there is not looked at."""
        if experiment == name:
            return self.entries(name)
        index = self.config.datasets[experiment].data.index
        try:
            return read_entries(index.model_copy(update={"check_files": False}), self.config.root_of(name))
        except ListError:
            return []  # lists of another split need not be there; the stage `videos` notes it

    def digest(self, name: str, follows: str, shard: str = "") -> str:
        """Digest of the videos that a stage follows; see `pipeline.jobs.declare.Stage.follows`."""
        if not follows:
            return ""
        if follows == "labels":
            return members_digest(self.entries(name), None, with_labels=True)
        if follows == "listed":
            return digest_of([members_digest(self.entries(name), None), sorted(self.developed(name))])
        return self._digests(name, follows)[shards(self.config.datasets[name]).index(shard)]
