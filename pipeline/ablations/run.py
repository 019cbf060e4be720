"""Variants × seeds of a table, spread over processes, as one row of figures each."""

from __future__ import annotations

import importlib
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from pipeline.ablations.cache import Cache
from pipeline.ablations.variants import Table, Variant
from pipeline.config import Dataset
from pipeline.jobs.stage import StageError
from pipeline.methods.registry import METHODS
from pipeline.settings import ConfigError
from pipeline.store.atomic import ArtifactError
from pipeline.store.code import code_digest, recorded_definitions
from pipeline.store.provenance import SCHEMA_VERSION, digest_of, git_state, versions
from pipeline.store.tables import read_table, write_table

Row = dict[str, Any]


def comparisons_of(method: str) -> ModuleType:
    """A method's module of comparisons; see `pipeline.ablations.variants`.

    Raises:
        ConfigError: it has none.
    """
    if not METHODS[method].comparisons:
        raise ConfigError(f"the method {method} has no comparisons")
    return importlib.import_module(METHODS[method].comparisons)


def run_cell(
    method: str,
    results: Path,
    folder: Path,
    section: Dataset,
    variant: Variant,
    seed: int,
    remakes: tuple[str, ...] = (),
) -> Row:
    """One row: variant, seed, figures, seconds, and why there are no figures where a variant is impossible.

    Args:
        remakes: see `pipeline.ablations.variants.Table`.
    """
    started = time.perf_counter()
    compared = comparisons_of(method)
    own = compared.section_of(section, variant, seed)
    try:
        figures, problem = compared.figures_of(Cache(results, folder, section, remakes), own, variant), ""
    except StageError as error:
        # A variant that its data do not allow (no third partition, say) is a line without figures, not an end.
        figures, problem = {}, str(error)
    seconds = round(time.perf_counter() - started, 3)
    return {"variant": variant.name, "seed": seed, "problem": problem, "seconds": seconds, "figures": figures}


def run_table(
    method: str,
    results: Path,
    folder: Path,
    section: Dataset,
    table: Table,
    seeds: int,
    processes: int,
    tell: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """All rows of a table, by variant and seed.

    Args:
        method: whose comparison it is.
        results: of the run; folder: of what is derived from it.
        section: the configuration of the run.
        seeds: repetitions; the first has the run's own seeds.
        tell: called with each row when it is there.

    Raises:
        ConfigError: a change is not possible.
        ArtifactError: the run is not complete, or was made with another configuration.
        StageError: no variant has a figure.
    """
    for variant in table.variants:
        comparisons_of(method).section_of(
            section, variant, 0
        )  # mistakes in the configuration are told before anything runs
    # Seed by seed: what the variants of one seed share is made once, and the table is useful early.
    cells = [(variant, seed) for seed in range(seeds) for variant in table.variants]
    rows = []
    if processes == 1:
        for variant, seed in cells:
            rows.append(run_cell(method, results, folder, section, variant, seed, table.remakes))
            tell(rows[-1])
    else:
        # Forked processes would inherit the locks of threads that they do not have.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(processes, len(cells)), mp_context=context) as pool:
            waiting = [pool.submit(run_cell, method, results, folder, section, *cell, table.remakes) for cell in cells]
            try:
                for done in as_completed(waiting):
                    rows.append(done.result())
                    tell(rows[-1])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    if not any(row["figures"] for row in rows):
        raise StageError(f"no variant of {table.name} could be made; the first: {rows[0]['problem']}")
    order = {variant.name: position for position, variant in enumerate(table.variants)}
    return sorted(rows, key=lambda row: (order[row["variant"]], row["seed"]))


def write_rows(path: Path, dataset: str, table: Table, rows: list[Row], seeds: int, seconds: float) -> None:
    """The rows as Parquet, long form, with what is needed to print them again."""
    lines = [
        {"variant": row["variant"], "seed": row["seed"], "figure": name, "value": float(value)}
        for row in rows
        for name, value in row["figures"].items()
    ]
    columns = pa.table({key: [line[key] for line in lines] for key in ("variant", "seed", "figure", "value")})
    content = {
        "schema": "ablation",
        "schema_version": SCHEMA_VERSION,
        "table": table.name,
        "title": table.title,
        "source": table.source,
        "variants": [
            {
                "name": variant.name,
                "changes": variant.changes,
                "paper": variant.paper,
                "problem": next((row["problem"] for row in rows if row["variant"] == variant.name), ""),
            }
            for variant in table.variants
        ],
        "seeds": seeds,
        "failed": [],
    }
    provenance = {
        "stage": "ablation",
        "module": "pipeline.ablations.run",
        "dataset": dataset,
        "shard": None,
        "settings": {"table": table.name, "seeds": seeds},
        "settings_digest": digest_of({"table": table.name, "seeds": seeds}),
        "code_digest": code_digest("pipeline.ablations.run"),
        "definitions": recorded_definitions("pipeline.ablations.run"),
        "git": git_state(),
        "versions": versions(),
        "inputs": {},
        "counts": {"ok": len(rows), "failed": 0},
        "seconds": round(seconds, 3),
    }
    write_table(path, columns, content, provenance)


def read_rows(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Long rows and attributes of a table that `write_rows` wrote.

    Raises:
        ArtifactError: it is something else.
    """
    table, attributes = read_table(path)
    if attributes.get("schema") != "ablation":
        raise ArtifactError(f"{path} is no table of `conceptreel ablate`")
    return table.to_pylist(), attributes
