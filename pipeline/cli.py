"""The ``conceptreel`` command: look into caches, ask models. Commands import the heavy libraries that they need."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from pipeline import __version__
from pipeline.ablations import commands as ablation_commands
from pipeline.config import load
from pipeline.context import convert
from pipeline.data import commands as data_commands
from pipeline.inspection.commands import add_commands as add_inspection_commands
from pipeline.inspection.text import table as _table
from pipeline.methods.dance.bottleneck import commands as bottleneck_commands
from pipeline.methods.dance.exchange.commands import add_commands as add_exchange_commands
from pipeline.settings import ConfigError
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.names import NameUnknown


class UsageError(ValueError):
    """Something on the command line cannot be done; one line says what would work."""


def status(call: argparse.Namespace) -> int:
    """``conceptreel status RESULTS``; exit code 1 if some job has failed."""
    from pipeline.rules.status import HEADER, as_dict, closing_words, run_status, table

    if not call.results.is_dir():
        raise UsageError(f"{call.results} does not exist; `snakemake --cores all {call.results}/model.pt` begins a run")
    section = None
    if call.config.is_file():
        section = load(call.config).datasets.get(call.results.resolve().name)
    # results/<data set> lies below the folder that Snakemake runs in.
    stages = run_status(call.results, section, call.results.resolve().parent.parent)
    if not stages:
        raise UsageError(f"{call.results} holds neither artifacts nor logs of a run")
    failures = [failure for item in stages for failure in item.failures]
    if call.json:
        print(json.dumps(as_dict(stages), indent=2, ensure_ascii=False))
        return int(bool(failures))
    print(_table(table(stages), HEADER))
    for failure in failures:
        by = f" (SLURM job {failure.slurm})" if failure.slurm else ""
        print(f"\nfailed: {failure.job}{by}: {failure.error}\n  log: {failure.log}")
    print(f"\n{closing_words(stages)}")
    return int(bool(failures))


def predict(call: argparse.Namespace) -> int:
    """``conceptreel predict MODEL VIDEO…``; exit code 1 if some video could not be read."""
    from pipeline.data.readers import VideoError
    from pipeline.methods.dance.bottleneck.recogniser import read_model
    from pipeline.methods.dance.explain.predict import VideoPredictor

    predictor = VideoPredictor(read_model(call.model))
    results = []
    for path in call.videos:
        try:
            prediction = predictor.predict(path, call.top)
        except VideoError as error:
            results.append({"video": str(path), "error": str(error)})
            if not call.json:
                print(f"{path}: cannot be read: {error}")
            continue
        results.append(
            {
                "video": str(path),
                "class": prediction.class_name,
                "probability": prediction.probability,
                "probabilities": dict(
                    zip(predictor.model.class_names, map(float, prediction.probabilities), strict=True)
                ),
                "contributions": [asdict(item) for item in prediction.contributions],
            }
        )
        if not call.json:
            print(f"{path}: {prediction.class_name} ({prediction.probability:.1%})")
            for item in prediction.contributions:
                print(f"  {item.contribution:+7.3f}  {item.type:<6}  {item.concept}")
    if call.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    return int(any("error" in item for item in results))


def _print_localisation(path: Path) -> None:
    """The table of the stage `localise`: one line per method, one column per figure."""
    from pipeline.store.tables import read_table

    rows = read_table(path)[0].to_pylist()
    columns = ("pointing", "pixel_accuracy", "mean_iou", "mean_average_precision")
    values = {(row["method"], row["figure"]): row["value"] for row in rows}
    methods = [method for method, figure in values if figure == "pointing"]
    print("\nwhere the object is, against the masks of the test clips:")
    cells = [[method, *(f"{values[method, column]:.3f}" for column in columns)] for method in methods]
    print(_table(cells, ["method", *columns]))
    for (method, figure), value in values.items():
        if (method, figure.removesuffix("_strict")) not in [(method, column) for column in columns]:
            print(f"  {method}: {figure.replace('_', ' ')} {value:g}")


def summary(call: argparse.Namespace) -> int:
    """``conceptreel summary RESULTS``: the figures of a finished run and where everything lies."""
    folder: Path = call.results
    try:
        metrics = json.loads((folder / "metrics.json").read_text())
    except FileNotFoundError:
        raise UsageError(f"{folder} has no metrics.json; `snakemake --cores all {folder}/model.pt` makes it") from None
    print(
        f"{metrics['dataset']}: {metrics['n_train']} train, {metrics['n_val']} validation, "
        f"{metrics['n_test']} test videos"
    )
    ceilings = metrics.get("ceilings", {})
    print(f"\ntest accuracy (top-1)        {metrics['top1']:.3f}   with {metrics['nnz']} non-zero weights")
    for kind in ("motion", "object", "scene"):
        if kind in metrics["top1_by_type"]:
            limit = f"   (ceiling by construction {ceilings[kind]:.3f})" if kind in ceilings else ""
            count = metrics["n_concepts"][kind]
            print(f"  {kind:<8} concepts alone     {metrics['top1_by_type'][kind]:.3f}   {count} concepts{limit}")
    print(f"  backbone features alone     {metrics['backbone_top1']:.3f}   the same classifier without concepts")
    for name in (key for key in metrics if key.endswith("_top1") and key not in ("backbone_top1", "val_top1")):
        print(f"  on `{name.removesuffix('_top1')}`                {metrics[name]:.3f}")
    for name, value in metrics.get("evaluation", {}).items():
        print(f"  {name:<27} {value:.3f}")
    for kind, figures in metrics["kinds"].items() if len(metrics.get("kinds", {})) > 1 else ():
        others = "".join(
            f", on `{name.removesuffix('_top1')}` {figures[name]:.3f}"
            for name in figures
            if name.endswith("_top1") and name != "val_top1"
        )
        print(f"  model kind {kind:<16} {figures['top1']:.3f}{others}")
    if (folder / "demo" / "localisation.parquet").is_file():
        _print_localisation(folder / "demo" / "localisation.parquet")
    if not call.video and metrics["dataset"] == "demo":
        candidates = sorted((folder / "demo" / "videos").glob("*_test_000.mp4"))
        call.video = candidates[0] if candidates else None
    if call.video:
        print("\nwhy? the three strongest concepts of one prediction:")
        predict(argparse.Namespace(model=folder / "model.pt", videos=[call.video], top=3, json=False))
    print(f"\nmodel     {folder / 'model.pt'}")
    print(f"metrics   {folder / 'metrics.json'}")
    if (folder / "report.html").is_file():
        print(f"report    {folder / 'report.html'}")
    for picture in sorted((folder / "explain").glob("*.png")):
        print(f"picture   {picture}")
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="conceptreel", description="Action recognition that explains itself.")
    result.add_argument("--version", action="version", version=f"conceptreel {__version__}")
    commands = result.add_subparsers(required=True, metavar="COMMAND")

    add_inspection_commands(commands)

    command = commands.add_parser(
        "status", help="jobs done, running and failed; time and memory used and asked; time left"
    )
    command.add_argument("results", type=Path, help="results/<data set>")
    command.add_argument("--config", type=Path, default=Path("config.yaml"), help="tells how many shards there are")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=status)

    command = commands.add_parser("predict", help="class, probability and top contributions of videos")
    command.add_argument("model", type=Path)
    command.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    command.add_argument("--top", type=int, default=5, help="contributions per video")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=predict)

    data_commands.add_commands(commands)

    bottleneck_commands.add_commands(commands)
    ablation_commands.add_commands(commands)

    command = commands.add_parser("summary", help="figures of a finished run and where its files are")
    command.add_argument("results", type=Path, help="results/<data set>")
    command.add_argument("--video", type=Path, help="the video whose prediction is explained")
    command.set_defaults(run=summary)

    from pipeline.methods.dance.explain.commands import add_commands

    add_commands(commands)
    add_exchange_commands(commands)
    convert.add_commands(commands)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Entry of the command: expected errors are one line on stderr and exit code 2."""
    call = parser().parse_args(arguments)
    try:
        return call.run(call)
    except (
        UsageError,
        NameUnknown,
        ConfigError,
        ArtifactError,
        StageError,
        OSError,
        *data_commands.ERRORS,
    ) as error:
        print(f"conceptreel: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
