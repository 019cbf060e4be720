"""Commands that every model answers, whatever its method: ``predict``, ``why``, ``explain``; and ``summary`` of a run.

What is asked is checked before a model is opened: torch takes a second to import, a mistyped name none to find.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

from pipeline.data.entries import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.names import NameUnknown, find, nearest
from pipeline.store.plain import as_json

INDEX = Path("data/index.parquet")
CONFIG = Path("config.yaml")


# --------------------------------------------------------------------------------------------------- what people name


def check_file(path: Path, what: str = "") -> None:
    """Raises: StageError: there is no such file; with the nearest name in its folder."""
    if os.path.exists(path):
        return
    known = os.listdir(path.parent) if path.parent.is_dir() else []
    near = nearest(path.name, (name for name in known if name.endswith(path.suffix)))[:1]
    hint = f"; did you mean {path.parent / near[0]}?" if near else ""
    raise StageError(f"{path} {what or 'does not exist'}{hint}")


def run_of(call: argparse.Namespace) -> Path | None:
    """Folder of the run that the model of a call belongs to: ``--results``, or where its file lies; None without one.

    The model of a further method lies one folder deeper.
    """
    if getattr(call, "results", None) is not None:
        return call.results
    home = call.model.resolve().parent
    return next((folder for folder in (home, home.parent) if (folder / INDEX).is_file()), None)


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of the index of a run by the ids of its videos."""
    from pipeline.store.tables import read_table

    return {row["video_id"]: row for row in read_table(folder / INDEX)[0].to_pylist()}


def is_id(source: str) -> bool:
    """Whether an input can only be the id of a video: it is no file and does not look like the name of one."""
    suffix = Path(source).suffix.lower()
    return not (os.path.exists(source) or os.sep in source or suffix in (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES))


def check_input(call: argparse.Namespace, *sources: str) -> None:
    """Refuse what is neither a file nor the id of a video of the run, and a model that is not there.

    Raises:
        ArtifactError: there is no such model. StageError: no such file. NameUnknown: no such video.
    """
    if not call.model.is_file():
        raise ArtifactError(f"{call.model} does not exist; `snakemake --cores all {call.model}` makes it")
    folder = run_of(call)
    for source in sources:
        if not is_id(source):
            check_file(Path(source), "cannot be read: missing")
        elif folder is not None and (folder / INDEX).is_file():
            find(source, list(_rows(folder)), "file or video")


def file_of(call: argparse.Namespace, source: str) -> str:
    """The video file that an input names, itself or by the id of a video of the run.

    Raises:
        StageError: the run keeps no whole file of it. NameUnknown: no such video.
    """
    if not is_id(source):
        return source
    from pipeline.config import load

    folder = run_of(call)
    if folder is None or not (folder / INDEX).is_file():
        raise NameUnknown(f"{source} is no file, and {call.model} lies in no run that could know it; see --results")
    rows = _rows(folder)
    row = rows[list(rows)[find(source, list(rows), "file or video")]]
    if row["first_frame"] is not None:
        raise StageError(
            f"{source} is an excerpt of {row['path']}, not a file of its own; cut it out and name the file"
        )
    config, name = load(call.config), folder.resolve().name
    if name not in config.datasets:
        raise StageError(
            f"{call.config} has no data set {name}, so nobody knows where {row['path']} lies; name the file"
        )
    path = Path(config.root_of(name, folder.resolve().parent)) / row["path"]
    check_file(path, f"is the file of {source} and does not exist")
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def asked_of(call: argparse.Namespace, model: Any, source: str) -> str:
    """An input as a model takes it: by its id only where the model keeps the videos of its run."""
    return source if getattr(model, "results", None) is not None else file_of(call, source)


def open_model(call: argparse.Namespace, *sources: str) -> Any:
    """The model of a command that has ``--results`` and ``--config``, refused where its run is stale.

    Args:
        sources: inputs that it is asked about, checked first.
    """
    check_input(call, *sources)
    from pipeline.methods.models import load
    from pipeline.rules.current import check_current

    model = load(call.model, call.results)
    results = getattr(model, "results", None)
    if results is not None:
        check_current(results, call.config, model.method)
    return model


def unreadable(source: str) -> tuple[type[Exception], ...]:
    """Errors by which a model says that it cannot read an input; none for an id, and decoders need not be imported."""
    if is_id(source):
        return ()
    from pipeline.data.readers import VideoError

    return (VideoError,)


def decide(call: argparse.Namespace, model: Any, source: str) -> Any:
    """The decision on an input.

    Raises:
        StageError: it cannot be read.
    """
    asked = asked_of(call, model, source)
    try:
        return model.predict(asked)
    except unreadable(asked) as error:
        raise StageError(f"{source} cannot be read: {error}") from None


# ----------------------------------------------------------------------------------------------------------- commands


def predict(call: argparse.Namespace) -> int:
    """``conceptreel predict MODEL INPUT…``; exit code 1 if some video could not be read."""
    check_input(call, *call.inputs)
    from pipeline.methods.models import load

    model = open_model(call) if any(map(is_id, call.inputs)) else load(call.model, call.results)
    found: list[dict[str, Any]] = []
    for source in call.inputs:
        asked = asked_of(call, model, source)
        try:
            decision = model.predict(asked)
        except unreadable(asked) as error:
            found.append({"video": source, "error": str(error)})
            lines = [f"{source}: cannot be read: {error}"]
        else:
            found.append({"video": source, **decision.as_dict(call.top)})
            lines = decision.lines(call.top)
        if not call.json:
            print("\n".join(lines))
    if call.json:
        print(as_json(found))
    return int(any("error" in item for item in found))


def why(call: argparse.Namespace) -> int:
    """``conceptreel why MODEL INPUT``: the reasons of a decision and, where the method can tell, why it is no other."""
    decision = decide(call, open_model(call, call.input), call.input)
    rather = decision.rather(call.top) if hasattr(decision, "rather") else None
    if call.json:
        print(as_json({"video": call.input, **decision.as_dict(call.top), "rather": rather and rather.as_dict()}))
        return 0
    print("\n".join(decision.lines(call.top)))
    if rather:
        print(f"\n{rather}")
    return 0


def explain(call: argparse.Namespace) -> int:
    """``conceptreel explain MODEL INPUT --out DIR``: the reasons of a decision as pictures and JSON."""
    model = open_model(call, call.input)
    from pipeline.data.readers import VideoError
    from pipeline.methods.models import able

    try:
        if call.timeline:
            whole = file_of(call, call.input)
            found = able(model, "tell when", "timeline").timeline(whole, call.window, call.hop)
            print("\n".join(found.write(call.out)))
        else:
            print("\n".join(model.explain(asked_of(call, model, call.input), call.out, call.top)))
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
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of seconds above 0")
    return value


def number_above_zero(text: str) -> int:
    """A count of at least 1; argparse says what is wrong."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number above 0")
    return int(text)


INPUT = "a video or picture, or the id of a video of the run"


def add_model(command: Any, top: int = 0, of: str = "") -> None:
    """Arguments of a command that asks a model: which, of what run, and how many rows are shown.

    Args:
        top: default of ``--top``, none by default; of: what it counts.
    """
    command.add_argument("model", type=Path, metavar="MODEL", help="a model file, such as results/demo/model.pt")
    command.add_argument("--results", type=Path, metavar="DIR", help="folder of its run; default: folder of the model")
    command.add_argument(
        "--config", type=Path, default=CONFIG, metavar="FILE", help="configuration, to check whether the run is current"
    )
    if top:
        command.add_argument("--top", type=number_above_zero, default=top, metavar="N", help=of)


def add_commands(commands: Any) -> None:
    """Add these commands to those of ``conceptreel``."""
    command = commands.add_parser(
        "predict",
        help="class, probability and strongest reasons of videos",
        example="predict results/demo/model.pt my.mp4",
    )
    add_model(command, 5, "reasons per video")
    command.add_argument("inputs", nargs="+", metavar="INPUT", help=f"{INPUT}; may be repeated")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=predict)

    command = commands.add_parser(
        "why",
        help="why a video got its class and not the runner-up",
        example="why results/demo/model.pt ball_lift_test_000",
    )
    add_model(command, 5, "reasons that are shown")
    command.add_argument("input", metavar="INPUT", help=INPUT)
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=why)

    command = commands.add_parser(
        "explain",
        help="explain a decision with pictures over the frames, and as JSON",
        example="explain results/demo/model.pt my.mp4 --out reasons/",
    )
    add_model(command, 3, "reasons that are drawn")
    command.add_argument("input", metavar="INPUT", help=INPUT)
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for pictures and explanation.json"
    )
    command.add_argument(
        "--timeline", action="store_true", help="show what is seen when, in a video of any length, instead"
    )
    command.add_argument(
        "--window", type=seconds, metavar="S", help="seconds of a window; default: as in training videos"
    )
    command.add_argument("--hop", type=seconds, metavar="S", help="seconds between windows; default: a quarter of one")
    command.set_defaults(run=explain)

    command = commands.add_parser(
        "summary",
        help="figures and files of a finished run",
        example="summary results/demo",
    )
    command.add_argument("results", type=Path, metavar="RESULTS", help="results/<data set>")
    command.add_argument("--video", metavar="INPUT", help=f"explain the decision for {INPUT}")
    command.set_defaults(run=summary)
