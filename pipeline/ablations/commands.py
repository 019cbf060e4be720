"""Commands of the comparisons: ``ablate`` makes a table, ``ablations`` puts tables on one page."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.methods.commands import CONFIG, number_above_zero


def _folder(results: Path) -> Path:
    """Where the tables of a results folder lie: beside it, so that no artifact is taken for one of the run."""
    results = Path(os.path.abspath(results))
    return results.parent / "ablations" / results.name


def _share_runtime(config: Any, name: str, results: Path, data_root: Path | None) -> None:
    """Tell stages where the data lie, as the Snakefile does; processes that are started inherit it."""
    from pipeline.jobs.runtime import RUNTIME_VARIABLE

    root = config.root_of(name, results.parent, str(data_root or ""))
    os.environ[RUNTIME_VARIABLE] = json.dumps({**config.runtime.model_dump(mode="json"), "roots": {name: root}})
    # Each process has one thread: its matrices are small, and there is one process per core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def ablate(call: argparse.Namespace) -> int:
    """``conceptreel ablate RESULTS --table NAME``: variants over seeds, as Parquet and Markdown."""
    from pipeline.ablations.page import markdown
    from pipeline.ablations.run import comparisons_of, read_rows, run_table, write_rows
    from pipeline.config import dataset, load
    from pipeline.settings import ConfigError
    from pipeline.store.atomic import ArtifactError, replace_when_done

    if not call.results.is_dir():
        raise ArtifactError(f"{call.results} does not exist; `snakemake --cores all {call.results}/model.pt` makes it")
    results = Path(os.path.abspath(call.results))
    config = load(call.config, results.parent)
    section = dataset(config, results.name)
    known = comparisons_of(call.method).tables(section)
    wanted = list(known) if "all" in call.table else call.table
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean `{near[0]}`?" if near else f"{results.name} has {', '.join(known)}"
            raise ConfigError(f"there is no table `{name}`; {hint}")
    _share_runtime(config, results.name, results, call.data_root)
    folder = _folder(results)

    for name in dict.fromkeys(wanted):
        table, started = known[name], time.perf_counter()
        done, total = 0, len(table.variants) * call.seeds

        def tell(row: dict[str, Any], total: int = total) -> None:
            nonlocal done
            done += 1
            first = row["figures"].get("top1", next(iter(row["figures"].values()), None))
            figures = row["problem"] or ("no test video" if first is None else f"{first:.4f}")
            told = f"{done}/{total} {row['variant']}, seed {row['seed']}: {figures} ({row['seconds']:.0f} s)"
            print(told, file=sys.stderr, flush=True)

        rows = run_table(call.method, results, folder / "cache", section, table, call.seeds, call.cores, tell)
        seconds = time.perf_counter() - started
        path = folder / f"{name}.parquet"
        write_rows(path, results.name, table, rows, call.seeds, seconds)
        text = markdown(results.name, *read_rows(path))
        with replace_when_done(path.with_suffix(".md")) as temporary:
            temporary.write_text(text)
        print(text)
        print(f"table     {path.with_suffix('.md')}")
        print(f"rows      {path}   {seconds:.0f} s")
    return 0


def ablations(call: argparse.Namespace) -> int:
    """``conceptreel ablations RESULTS … --out PAGE``: all tables that were made, as one page."""
    from pipeline.ablations.page import markdown, page
    from pipeline.ablations.run import comparisons_of, read_rows
    from pipeline.config import dataset, load
    from pipeline.store.atomic import ArtifactError, replace_when_done

    config = load(call.config)
    parts: dict[str, list[str]] = {}
    for results in call.results:
        folder = _folder(results)
        order = list(comparisons_of("dance").tables(dataset(config, folder.name)))
        found = sorted(
            folder.glob("*.parquet"), key=lambda path: order.index(path.stem) if path.stem in order else len(order)
        )
        if not found:
            raise ArtifactError(f"{folder} holds no table; `conceptreel ablate {results} --table all` makes them")
        parts[folder.name] = [markdown(folder.name, *read_rows(path)) for path in found]
    with replace_when_done(call.out) as temporary:
        temporary.write_text(page(parts))
    print(f"{sum(map(len, parts.values()))} tables of {len(parts)} data sets in {call.out}")
    return 0


def add_commands(commands: Any) -> None:
    """Add the commands to the parser of ``conceptreel``."""
    command = commands.add_parser(
        "ablate",
        help="compare variants of a finished run: accuracy over seeds as a table",
        example="ablate results/demo --table clustering --seeds 3",
    )
    command.add_argument("results", type=Path, metavar="RESULTS", help="results/<data set>")
    command.add_argument(
        "--table",
        action="append",
        required=True,
        metavar="NAME",
        help="baselines, clustering, keyframes, clips, sources, number, pose_filters, sparsity, types, backbones, "
        "dual_encoders, filters, one of the configuration, or all; may be repeated",
    )
    command.add_argument("--method", default="dance", metavar="NAME", help="method to compare")
    command.add_argument(
        "--seeds", type=number_above_zero, default=5, metavar="N", help="repetitions, with other validation splits"
    )
    command.add_argument(
        "--cores", type=number_above_zero, default=os.cpu_count() or 1, metavar="N", help="parallel processes"
    )
    command.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="configuration of the run")
    command.add_argument("--data-root", type=Path, metavar="DIR", help="replaces data_root of the configuration")
    command.set_defaults(run=ablate)

    command = commands.add_parser(
        "ablations",
        help="put the tables of `ablate` on one page",
        example="ablations results/penn_action results/demo --out docs/ablations.md",
    )
    command.add_argument("results", type=Path, nargs="+", metavar="RESULTS", help="results/<data set>")
    command.add_argument("--out", type=Path, required=True, metavar="PAGE", help="the page, Markdown")
    command.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="configuration of the runs")
    command.set_defaults(run=ablations)
