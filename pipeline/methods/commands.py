"""Commands that every model answers, whatever its method: ``predict``, ``explain``; and ``summary`` of a run."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from pipeline.store.atomic import StageError
from pipeline.store.plain import as_json


def open_model(call: argparse.Namespace) -> Any:
    """The model of a command that has ``--results`` and ``--config``, refused where its run is stale."""
    from pipeline.methods.models import load
    from pipeline.rules.current import check_current

    model = load(call.model, call.results)
    results = getattr(model, "results", None)
    if results is not None:
        check_current(results, call.config, model.method)
    return model


def decide(model: Any, source: str) -> Any:
    """The decision on an input.

    Raises:
        StageError: it cannot be read.
    """
    from pipeline.data.readers import VideoError

    try:
        return model.predict(source)
    except VideoError as error:
        raise StageError(f"{source} cannot be read: {error}") from None


def predict(call: argparse.Namespace) -> int:
    """``conceptreel predict MODEL VIDEO…``; exit code 1 if some video could not be read."""
    from pipeline.data.readers import VideoError
    from pipeline.methods.models import load

    model = load(call.model)
    found: list[dict[str, Any]] = []
    for path in call.videos:
        try:
            decision = model.predict(path)
        except VideoError as error:
            found.append({"video": str(path), "error": str(error)})
            lines = [f"{path}: cannot be read: {error}"]
        else:
            found.append({"video": str(path), **decision.as_dict(call.top)})
            lines = decision.lines(call.top)
        if not call.json:
            print("\n".join(lines))
    if call.json:
        print(as_json(found))
    return int(any("error" in item for item in found))


def explain(call: argparse.Namespace) -> int:
    """``conceptreel explain MODEL INPUT --out DIR``: the reasons of a decision as pictures and JSON."""
    from pipeline.data.readers import VideoError
    from pipeline.methods.models import able

    model = open_model(call)
    try:
        if call.timeline:
            found = able(model, "tell when", "timeline").timeline(call.input, call.window, call.hop)
            print("\n".join(found.write(call.out)))
        else:
            print("\n".join(model.explain(call.input, call.out, call.top)))
    except VideoError as error:
        raise StageError(f"{call.input} cannot be read: {error}") from None
    return 0


def headline(metrics: dict[str, Any]) -> str:
    """The figure by which a method is judged, in words."""
    item = metrics["headline"]
    value = "unknown: no video" if item["value"] is None else f"{item['value']:.3f}"
    return f"{item['name']} {value} on `{item['split']}`"


def summary(call: argparse.Namespace) -> int:
    """``conceptreel summary RESULTS``: the figures of a finished run and where everything lies, method by method."""
    from pipeline.methods.registry import METHODS, function
    from pipeline.rules.graph import STAGES

    folder: Path = call.results
    finished = [method for method in METHODS.values() if (folder / f"{method.place}metrics.json").is_file()]
    if not finished:
        raise StageError(f"{folder} has no metrics.json; `snakemake --cores all {folder}/model.pt` makes it")
    for method in finished:
        metrics = json.loads((folder / f"{method.place}metrics.json").read_text())
        if len(finished) > 1:
            print(f"== {method.title}")
        if method.summary:
            print("\n".join(function(method.summary)(folder, metrics, call.video)))
        else:
            print(headline(metrics))
        written = {name: folder / path for name, path in STAGES[method.goal].writes.items() if "{" not in path}
        print(f"\nmodel     {written['model']}\nmetrics   {written['metrics']}")
        pages = [folder / f"{method.place}report.html", *sorted((folder / f"{method.place}explain").glob("*.png"))]
        for path in filter(Path.is_file, pages):
            print(f"{'report' if path.suffix == '.html' else 'picture':<9} {path}")
    return 0


def seconds(text: str) -> float:
    """A duration above 0; argparse says what is wrong."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"`{text}` is no number of seconds above 0")
    return value


def add_commands(commands: Any) -> None:
    """Add these commands to those of ``conceptreel``."""
    command = commands.add_parser("predict", help="class, probability and strongest reasons of videos")
    command.add_argument("model", type=Path)
    command.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    command.add_argument("--top", type=int, default=5, help="reasons per video")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=predict)

    command = commands.add_parser("explain", help="the reasons of a decision as pictures over the frames, and as JSON")
    command.add_argument("model", type=Path)
    command.add_argument("input", metavar="INPUT", help="a video or picture, or the id of a video of the run")
    command.add_argument("--out", type=Path, required=True, help="folder for pictures and explanation.json")
    command.add_argument("--results", type=Path, help="folder of the run; by default the folder of the model")
    command.add_argument("--config", type=Path, default=Path("config.yaml"), help="tells whether the run is current")
    command.add_argument("--top", type=int, default=3, help="reasons that are drawn")
    command.add_argument("--timeline", action="store_true", help="instead: what is seen when, in a video of any length")
    command.add_argument("--window", type=seconds, help="seconds of a window; by default as in training videos")
    command.add_argument("--hop", type=seconds, help="seconds between windows; by default a quarter of one")
    command.set_defaults(run=explain)

    command = commands.add_parser("summary", help="figures of a finished run and where its files are")
    command.add_argument("results", type=Path, help="results/<data set>")
    command.add_argument("--video", type=Path, help="the video whose prediction is explained")
    command.set_defaults(run=summary)
