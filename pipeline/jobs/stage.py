"""The entry that every stage shares: parse the call, open inputs, write outputs with their provenance.

A stage module ends with::

    if __name__ == "__main__":
        stage.run("keyframes", build)

and is called as ``python -m pipeline.motion.keyframes --settings JSON --input name path … --output name path``.
``build(job)`` reads ``job.settings`` and ``job.inputs``, calls pure functions and writes through the job.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.jobs import joblog
from pipeline.jobs.runtime import RUNTIME_VARIABLE, Runtime
from pipeline.store import arrays as array_store
from pipeline.store import tables as table_store
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.code import code_digest, recorded_definitions
from pipeline.store.plain import defined
from pipeline.store.provenance import SCHEMA_VERSION, digest_of, digest_of_file, fingerprint, git_state, versions

logger = logging.getLogger("conceptreel")
T = TypeVar("T")


def job_name(record: Mapping[str, Any]) -> str:
    """``stage`` or ``stage/shard`` of the job that a provenance tells of."""
    shard = record.get("shard")
    return f"{record.get('stage')}/{shard[0]}" if shard else str(record.get("stage"))


class Job:
    """One call of one stage.

    Attributes:
        settings: what changes the result: the stage's section of the configuration, and ``upstream``: for each kind of
            input artifact the digest of the settings that it must have been made with.
        inputs: name → paths.
        outputs: name → path.
        shard: (index, count) or None.
        threads: cores that this job may use.
        runtime: hardware that it may use.
    """

    def __init__(self, name: str, module: str, call: argparse.Namespace):
        self.name = name
        self.module = module
        self.settings: dict[str, Any] = json.loads(call.settings)
        self.upstream: dict[str, str] = self.settings.pop("upstream", {})
        self.inputs = {entry[0]: [Path(path) for path in entry[1:]] for entry in call.input}
        self.outputs = {key: Path(path) for key, path in call.output}
        self.dataset: str = call.dataset
        self.shard = tuple(int(part) for part in call.shard.split("-of-")) if call.shard else None
        self.threads: int = call.threads
        told = json.loads(os.environ.get(RUNTIME_VARIABLE, "{}"))
        self.runtime = Runtime.from_mapping(told)
        self._roots: dict[str, str] = told.get("roots", {})
        self._videos_of: dict[str, str] = told.get("videos_of", {})
        self._started = time.perf_counter()
        self._input_digests: dict[str, str] = {}
        self._videos: dict[str, str] = {}
        self._took: dict[str, float] = {}
        self._warnings: dict[str, list[str]] = {}
        self._shared: set[str] = set()

    # ------------------------------------------------------------------------------------------------------ reading

    @property
    def root(self) -> Path:
        """Folder of the data set; see ``data.root`` and ``data_root`` of the configuration."""
        return Path(self._roots.get(self.dataset, "."))

    @property
    def videos_of(self) -> str:
        """The data set that an experiment is on; empty for a data set."""
        return self._videos_of.get(self.dataset, "")

    def given(self, name: str) -> list[Path]:
        """Files under an input name; none where this configuration has no such input.

        Raises:
            StageError: the stage's declaration has no such input.
        """
        if name not in self.inputs:
            raise StageError(
                f"{self.name} opens `{name}`, which its declaration does not name; see stages.py of its floor"
            )
        return self.inputs[name]

    def input(self, name: str) -> Path:
        """The single file given under an input name."""
        (path,) = self.given(name)
        return path

    @property
    def took(self) -> dict[str, float]:
        """Seconds of every job behind the artifacts that were read, by ``stage`` or ``stage/shard``."""
        return dict(sorted(self._took.items()))

    def _accept(self, path: Path, name: str, attributes: Mapping[str, Any]) -> None:
        record = attributes.get("provenance", {})
        if attributes.get("schema_version") != SCHEMA_VERSION:
            raise ArtifactError(
                f"{path} has schema version {attributes.get('schema_version')}, this code reads {SCHEMA_VERSION}; "
                f"run the pipeline again, or use the release that wrote it"
            )
        expected = self.upstream.get(record.get("stage", name))
        if expected is not None and record.get("settings_digest") != expected:
            raise ArtifactError(
                f"{path} was made with other settings than the configuration has now (a touched or copied file?); "
                f"delete it and run the pipeline again"
            )
        self._input_digests[f"{name}/{path.name}"] = attributes["content_digest"]
        self._took |= record.get("took", {})
        self._took[job_name(record)] = record.get("seconds", 0.0)
        self._shared |= {record.get("dataset", self.dataset)} - {self.dataset}
        for stage, sentences in record.get("warnings", {}).items():
            self._warnings[stage] = list(dict.fromkeys([*self._warnings.get(stage, ()), *sentences]))

    def read_arrays(self, name: str) -> Iterator[tuple[dict[str, np.ndarray], dict[str, Any]]]:
        """(arrays, attributes) of every shard given under one input name, checked."""
        for path in self.given(name):
            arrays, attributes = array_store.read_arrays(path)
            self._accept(path, name, attributes)
            yield arrays, attributes

    @contextlib.contextmanager
    def open_arrays(self, name: str) -> Iterator[array_store.Arrays]:
        """The single artifact given under an input name, for stages that begin before they have read all of it.

        Read it with ``blocks``, which checks the content; nothing may be written before the last block has come.
        """
        path = self.input(name)
        with array_store.Arrays(path) as artifact:
            self._accept(path, name, artifact.attributes)
            yield artifact

    def read_table(self, name: str) -> tuple[Any, dict[str, Any]]:
        """The single table given under an input name, checked."""
        path = self.input(name)
        table, attributes = table_store.read_table(path)
        self._accept(path, name, attributes)
        return table, attributes

    def note_file(self, name: str, path: Path) -> Path:
        """Record a foreign input file (a list, a checkpoint) in the provenance."""
        self._input_digests[f"{name}/{path.name}"] = digest_of_file(path)
        return path

    def note_files(self, name: str, paths: Iterable[Path]) -> None:
        """Record many foreign input files as one digest of their names and contents."""
        self._input_digests[name] = digest_of({path.name: digest_of_file(path) for path in paths})

    def note_videos(self, paths: Mapping[str, str]) -> None:
        """Record size and time of change of videos, so that `conceptreel stale` can name one that was replaced.

        Args:
            paths: video id → path below the root of the data set; what is not there has nothing to be recorded.
        """
        for video_id, path in paths.items():
            with contextlib.suppress(OSError, ValueError):
                self._videos[video_id] = fingerprint(self.root / path)

    # ------------------------------------------------------------------------------------------------------ writing

    def _records(
        self, artifact: str, content: Mapping[str, Any], failed: Mapping[str, str], n_ok: int, extra: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        described = {
            "schema": artifact,
            "schema_version": SCHEMA_VERSION,
            **defined(content),
            "failed": [{"video_id": key, "reason": reason} for key, reason in sorted(failed.items())],
        }
        provenance = {
            "stage": self.name,
            "module": self.module,
            "dataset": self.dataset,
            "shard": list(self.shard) if self.shard else None,
            "settings": self.settings,
            "settings_digest": digest_of({**self.settings, "upstream": self.upstream}),
            "code_digest": code_digest(self.module),
            "definitions": recorded_definitions(self.module),
            "git": git_state(),
            "versions": versions(),
            "inputs": dict(sorted(self._input_digests.items())),
            **({"videos": self._videos} if self._videos else {}),
            # Data sets whose artifacts an experiment shares.
            **({"shared": sorted(self._shared)} if self._shared else {}),
            "took": self.took,
            **({"warnings": self._warnings} if self._warnings else {}),
            "counts": {"ok": n_ok, "failed": len(failed)},
            "seconds": round(time.perf_counter() - self._started, 3),
            **defined(extra),
        }
        return described, provenance

    def write_arrays(
        self,
        output: str,
        arrays: Mapping[str, np.ndarray],
        content: Mapping[str, Any],
        *,
        n_ok: int,
        failed: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> str:
        """Write an array artifact; ``failed`` maps video ids to reasons, ``extra`` goes into the provenance.

        Returns:
            The content digest.
        """
        described, provenance = self._records(output, content, failed or {}, n_ok, extra)
        digest = array_store.write_arrays(self.outputs[output], arrays, described, provenance)
        logger.info("wrote %s (%d ok, %d failed)", self.outputs[output], n_ok, len(failed or {}))
        return digest

    def write_table(
        self,
        output: str,
        table: Any,
        content: Mapping[str, Any] | None = None,
        *,
        failed: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        """Write a table artifact; see `write_arrays`."""
        described, provenance = self._records(output, content or {}, failed or {}, table.num_rows, extra)
        table_store.write_table(self.outputs[output], table, described, provenance)
        logger.info("wrote %s (%d rows)", self.outputs[output], table.num_rows)

    # -------------------------------------------------------------------------------------------------------- judging

    def warn(self, sentence: str) -> None:
        """Say what a person must know of a result that is there all the same, before it is written.

        The provenance keeps it, also in what is made from the result; `conceptreel inspect` shows it.
        """
        logger.warning(sentence)
        self._warnings.setdefault(self.name, []).append(sentence)

    @property
    def warnings(self) -> list[str]:
        """What this job and all jobs behind the artifacts that were read have warned of."""
        return [sentence for _, sentences in sorted(self._warnings.items()) for sentence in sentences]

    def check_failures(self, failed: Mapping[str, str], total: int, allowed_fraction: float, slack: int = 0) -> None:
        """Stop above the allowed part of failed items, with the list.

        Args:
            slack: so many failures are always accepted; shards pass 1, because one broken video in a small shard says
                nothing about the data set (the exact count is taken where the shards are joined).
        """
        for video_id, reason in sorted(failed.items()):
            logger.warning("%s: %s", video_id, reason)
        if len(failed) > max(slack, allowed_fraction * total):
            listed = "\n  ".join(f"{key}: {reason}" for key, reason in sorted(failed.items())[:50])
            raise StageError(
                f"{self.name}: {len(failed)} of {total} videos failed, more than max_failed_fraction = "
                f"{allowed_fraction} allows. Mend or remove them, or raise the limit:\n  {listed}"
            )


# Elements of a matrix from which on several threads multiply it faster than one.
LARGE_MATRIX = 4_000_000


def limit_threads(n_elements: int) -> None:
    """Keep this process to one thread where its matrices are small.

    At the barriers between threads small products lose more than they win, and where another job keeps one of the cores
    busy they lose all: 3 s on one thread became 98 s on two (concept layers of Penn Action).
    """
    if n_elements < LARGE_MATRIX:
        from threadpoolctl import threadpool_limits

        if "torch" in sys.modules:  # to load it takes a second, and not every stage multiplies with it
            sys.modules["torch"].set_num_threads(1)
        threadpool_limits(1)


# Items from which on progress is worth the log.
MANY = 20


def progress(items: Iterable[T], description: str, total: int | None = None, unit: str = "video") -> Iterable[T]:
    """A progress bar on a terminal, and a line in the log for each tenth of what is many and counted."""
    from tqdm import tqdm

    shown = tqdm(items, desc=description, total=total, unit=unit, disable=not sys.stderr.isatty(), leave=False)
    for number, item in enumerate(shown, 1):
        yield item
        whole = shown.total
        if whole and whole >= MANY and number * 10 // whole > (number - 1) * 10 // whole:
            logger.info("%s: %d of %d", description, number, whole)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description="One stage of the pipeline; normally called by Snakemake.")
    result.add_argument("--dataset", required=True)
    result.add_argument("--settings", required=True, help="JSON: what changes the result")
    result.add_argument("--input", nargs="+", action="append", default=[], metavar=("NAME", "PATH"))
    result.add_argument("--output", nargs=2, action="append", default=[], metavar=("NAME", "PATH"))
    result.add_argument("--shard", default="", help="for example 003-of-064")
    result.add_argument("--threads", type=int, default=1)
    result.add_argument("--log", type=Path)
    result.add_argument("--mem-mb", type=int, default=0, help="memory that was asked for, to compare with what is used")
    result.add_argument("--minutes", type=int, default=0, help="run time that was asked for")
    return result


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether memory ran out; torch says so with errors of its own, in words on a CPU."""
    words = ("can't allocate memory", "out of memory", "Insufficient memory", "Cannot allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def run(name: str, build: Callable[[Job], None]) -> None:
    """Parse the command line, call ``build`` and turn expected errors into one line and exit code 1."""
    call = parser().parse_args()
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if call.log:
        try:
            call.log.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(call.log, mode="w"))
        except OSError as error:
            sys.exit(f"{name}: cannot write its log: {error}")
        handlers[0].setLevel(logging.ERROR)
    logging.raiseExceptions = False  # on a full disk the log cannot grow; the error itself still reaches stderr
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=handlers)
    module = sys.modules["__main__"].__spec__.name
    with joblog.Reporter(call.log, {"mem_mb": call.mem_mb, "minutes": call.minutes}) as reporter:
        try:
            build(Job(name, module, call))
            reporter.outcome = "ok"
            return
        except (StageError, ArtifactError, OSError, joblog.Stopped) as error:
            logger.error("%s: %s", name, error)
        except Exception as error:
            if _is_lack_of_memory(error):
                logger.error("%s: out of memory; ask for more than %d MB", name, call.mem_mb or joblog.peak_megabytes())
            else:
                logger.error("%s failed in its code:\n%s", name, traceback.format_exc())
        reporter.outcome = "failed"
    sys.exit(1)
