"""Commands about runs: ``status`` of one, and ``stages``, what is declared of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.store.atomic import StageError
from pipeline.store.plain import as_json


def status(call: argparse.Namespace) -> int:
    """``conceptreel status RESULTS``; exit code 1 if some job has failed."""
    from pipeline.config import load
    from pipeline.inspection.text import table
    from pipeline.rules.status import HEADER, as_dict, closing_words, rows, run_status

    if not call.results.is_dir():
        raise StageError(f"{call.results} does not exist; `snakemake --cores all {call.results}/model.pt` begins a run")
    section = None
    if call.config.is_file():
        section = load(call.config).datasets.get(call.results.resolve().name)
    # results/<data set> lies below the folder that Snakemake runs in.
    folder = call.results.resolve()
    stages = run_status(folder, section, folder.parent.parent)
    if not stages:
        raise StageError(f"{call.results} holds neither artifacts nor logs of a run")
    failures = [failure for item in stages for failure in item.failures]
    if call.json:
        print(as_json(as_dict(stages)))
        return int(bool(failures))
    print(table(rows(stages), HEADER))
    for failure in failures:
        by = f" (SLURM job {failure.slurm})" if failure.slurm else ""
        print(f"\nfailed: {failure.job}{by}: {failure.error}\n  log: {failure.log}")
    print(f"\n{closing_words(stages)}")
    return int(bool(failures))


def _described(name: str) -> list[str]:
    """A declaration in words: code, settings, what it reads and writes, what it asks for."""
    from pipeline.rules.graph import STAGES

    stage = STAGES[name]
    kept = "data set" if stage.per == "videos" else "experiment"
    lines = [f"{name}: {stage.module}, kept per {kept}"]
    lines += [f"  settings  {item.path}{f' as {item.key}' if item.key else ''}" for item in stage.settings]
    lines += [f"  reads     {key:<16} {read.source}" for key, read in stage.reads.items()]
    lines += [f"  reads     {key:<16} named in {path}" for path in stage.files for key in ("files",)]
    lines += [f"  reads     {'weights':<16} named in {path}" for path in stage.checkpoints]
    lines += [f"  reads     {'videos':<16} the files themselves"] if stage.opens_videos else []
    lines += [f"  writes    {key:<16} results/<data set>/{path}" for key, path in stage.writes.items()]
    asks = f"{stage.memory_mb} MB, {stage.minutes} minutes, threads: {stage.threads}"
    return [*lines, f"  asks for  {asks}, a GPU where there is one" if stage.checkpoints else f"  asks for  {asks}"]


def stages(call: argparse.Namespace) -> int:
    """``conceptreel stages [NAME…]``: what a stage reads and writes, and with what resources."""
    from pipeline.rules.graph import STAGES
    from pipeline.store.names import find

    names = list(STAGES)
    wanted = [names[find(name, names, "stage")] for name in call.names] or names
    print("\n\n".join("\n".join(_described(name)) for name in wanted))
    return 0


def add_commands(commands: Any) -> None:
    """Add these commands to those of ``conceptreel``."""
    command = commands.add_parser(
        "status", help="jobs done, running and failed; time and memory used and asked; time left"
    )
    command.add_argument("results", type=Path, help="results/<data set>")
    command.add_argument("--config", type=Path, default=Path("config.yaml"), help="tells how many shards there are")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=status)

    command = commands.add_parser("stages", help="what each stage reads and writes, and with what resources")
    command.add_argument("names", nargs="*", metavar="NAME", help="of stages; all of them without")
    command.set_defaults(run=stages)
