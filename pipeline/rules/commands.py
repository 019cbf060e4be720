"""Commands about runs: ``status`` of one, and ``stages``, what is declared of them."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline.methods.commands import CONFIG
from pipeline.store.atomic import StageError
from pipeline.store.plain import as_json


def status(call: argparse.Namespace) -> int:
    """``conceptreel status RESULTS``; exit code 1 if some job has failed."""
    from pipeline.config import load
    from pipeline.inspection.text import table
    from pipeline.rules.status import HEADER, as_dict, closing_words, lost_words, rows, run_status
    from pipeline.rules.times import settle

    if not call.results.is_dir():
        raise StageError(f"{call.results} does not exist; `snakemake --cores all {call.results}/model.pt` begins a run")
    section = None
    if call.config.is_file():
        section = load(call.config, call.results.resolve().parent).datasets.get(call.results.resolve().name)
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
    for item in stages:
        for sentence in item.warnings:
            print(f"\nwarning: {item.stage}: {sentence}")
    for failure in failures:
        by = f" (SLURM job {failure.slurm})" if failure.slurm else ""
        print(f"\nfailed: {failure.job}{by}: {failure.error}\n  log: {failure.log}")
    if section is not None and (copied := settle(section, folder.parent, dry=True)):
        print(f"\n{copied}")
    if lost := lost_words(stages):
        print("\n" + "\n".join(lost))
    print(f"\n{closing_words(stages)}")
    return int(bool(failures))


def plan(call: argparse.Namespace) -> int:
    """``conceptreel plan RESULTS``: what a run will cost, and what to expect of it, before it starts."""
    from pipeline.config import Datasets, dataset, load, published
    from pipeline.data.entries import ListError
    from pipeline.methods.registry import METHODS
    from pipeline.rules import costs
    from pipeline.rules.videos import Videos

    name = call.results.name
    config = load(call.config)
    section = dataset(config, name)
    if call.method not in METHODS:
        raise StageError(f"there is no method `{call.method}`; there are {', '.join(METHODS)}")
    if call.data_root:
        config = replace(config, data_root=call.data_root)
    root = Path(config.root_of(name))
    entries, problem = [], f"{root} does not exist"
    try:
        entries = Videos(config).entries(name) if root.is_dir() or section.data.index.source == "generated" else []
    except ListError as error:
        problem = str(error)
    counts = costs.counts_of(section, entries, root, problem)
    found = costs.run_costs(section, [METHODS[call.method].goal], counts, call.results.parent)
    needed = costs.downloads(section, [cost.stage for cost in found])
    shipped = Datasets({})[name].model_dump(mode="json") if name in published() else None
    top1, why = costs.expectation(shipped, section.model_dump(mode="json"))
    if call.json:
        told = {"counts": asdict(counts), "stages": [asdict(cost) for cost in found], "totals": costs.totals(found)}
        weights = {model: known and known.megabytes for model, known in needed.items()}
        print(as_json({**told, "downloads": weights, "top1": top1, "expected_by": why}))
        return 0
    print("\n".join(_planned(name, section, config, counts, found, needed, (top1, why))))
    return 0


def _planned(
    name: str, section: Any, config: Any, counts: Any, found: list[Any], needed: dict[str, Any], expected: tuple
) -> list[str]:
    """The plan in words."""
    from pipeline.inspection.text import table
    from pipeline.rules import costs
    from pipeline.rules.graph import home

    total = costs.totals(found)
    shown, left_out = costs.rows(found)
    length = costs.UNKNOWN if counts.frames is None else f"{counts.frames:,.0f}"
    lines = [
        f"{name}: {costs.amount(counts.videos, 'video')}, {length} frames each on average ({counts.source})",
        "",
        table(shown, costs.HEADER),
        *left_out,
        "",
    ]
    shared = sorted({place for cost in found if (place := home(section, cost.stage)) != name})
    if any(cost.stage == "finetune" for cost in found):
        lines.append("the disk of finetune is free again when it has ended")
    lines += [
        f"shared, kept in results/{place}: everything that depends only on videos and encoders" for place in shared
    ]
    least = "" if total["complete"] else "at least "
    lines.append(
        f"in all: {sum(cost.jobs for cost in found)} jobs, {least}{costs.space(total['megabytes'])} of disk; "
        f"without a GPU {least}{costs.hours(total['cpu_hours'])} of one core, with one "
        f"{least}{costs.hours(total['gpu_hours'])} of it and {costs.hours(total['beside_hours'])} of one core"
    )
    sizes = [
        f"{model} ({'size unknown' if known is None else costs.space(known.megabytes)})"
        for model, known in needed.items()
        if not model.startswith("small/")
    ]
    lines.append(f"downloads: {', '.join(sizes) or 'none'}")
    if any(model.startswith("small/") for model in needed):
        lines.append("encoders of `conceptreel fetch small`: 162 MB, once, of which 40 MB are kept")
    lines += [
        "rates: `bench/` are those of bench/rates.py and bench/datasets.py on one core of an AMD EPYC, or of a network "
        "of yours when it was converted; others are those of earlier runs here. `assumed` hours of a GPU are "
        f"multiply-adds at {costs.GPU_SPEED:.0e} a second: not measured",
        *costs.of_mmpose(section, config.runtime.mmpose, [cost.stage for cost in found]),
    ]
    lines.append(
        f"planned is results/{name}/model.pt (DANCE); the jobs of another method: "
        f"snakemake -n results/{name}/METHOD/model.pt"
    )
    top1, why = expected
    lines.append(f"expected accuracy: {costs.UNKNOWN if top1 is None else f'top-1 {top1:.3f}'} ({why})")
    return lines


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
    if stage.checkpoints or stage.gpu:
        asks += ", a GPU where there is one" + (" and a faiss for it" if stage.gpu == "search" else "")
    return [*lines, f"  asks for  {asks}"]


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
        "status",
        help="jobs done, running and failed; time and memory used and requested; time left",
        example="status results/demo",
    )
    command.add_argument("results", type=Path, metavar="RESULTS", help="results/<data set>")
    command.add_argument(
        "--config", type=Path, default=CONFIG, metavar="FILE", help="configuration with the number of shards"
    )
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=status)

    command = commands.add_parser(
        "plan",
        help="estimate a run: videos, downloads, disk, CPU and GPU hours, expected accuracy",
        example="plan results/ucf101",
    )
    command.add_argument("results", type=Path, metavar="RESULTS", help="results/<data set>")
    command.add_argument("--method", default="dance", metavar="NAME", help="method of the model")
    command.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="configuration of the run")
    command.add_argument("--data-root", default="", metavar="DIR", help="replaces data_root of the configuration")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=plan)

    command = commands.add_parser(
        "stages", help="what each stage reads, writes and requests", example="stages keyframes"
    )
    command.add_argument("names", nargs="*", metavar="STAGE", help="name of a stage; default: all")
    command.set_defaults(run=stages)
