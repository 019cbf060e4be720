"""``conceptreel explore``: look at a finished run in the browser, ask it, change it."""

from __future__ import annotations

import argparse
import threading
import webbrowser
from pathlib import Path
from typing import Any

from pipeline.store.atomic import StageError


def run_of(folder: Path) -> tuple[Any, Path]:
    """The method of ``results/<data set>`` or ``results/<data set>/<method>``, and the folder of its data set.

    Raises:
        StageError: there is no finished run, or there are several to choose from.
    """
    from pipeline.methods.registry import METHODS

    for method in METHODS.values():
        own = method.place.removesuffix("/")
        # A data set may be called like a method; it has data of its own.
        if own == folder.name and (folder / "metrics.json").is_file() and not (folder / "data").is_dir():
            return method, folder.parent
    finished = [method for method in METHODS.values() if (folder / f"{method.place}metrics.json").is_file()]
    here = [method for method in finished if not method.place]
    if here or len(finished) == 1:
        return (here or finished)[0], folder
    if finished:
        ways = " or ".join(f"`conceptreel explore {folder / method.place}`" for method in finished)
        raise StageError(f"{folder} has runs of several methods; {ways} shows one of them")
    raise StageError(f"{folder} has no metrics.json; `snakemake --cores all {folder}/model.pt` makes it")


def explore(call: argparse.Namespace) -> int:
    """Serve a run on a loopback port until interrupted, or write it as a folder."""
    from pipeline.methods.registry import function
    from pipeline.rules.current import check_current

    method, folder = run_of(call.results)
    check_current(folder, call.config, method.name)
    explored = function(method.explore)(folder, method)
    if call.export:
        from pipeline.explorer.export import export

        for line in export(explored, call.export):
            print(line)
        return 0
    from pipeline.explorer.limits import MIB
    from pipeline.explorer.server import application, bind, serve
    from pipeline.explorer.session import Session

    with bind(call.port) as listening:
        session = Session(listening.getsockname()[1])
        app = application(explored, session, round(call.upload_mib * MIB), call.upload_seconds)
        print(f"{session.address}\nCtrl-C ends it", flush=True)
        # Libraries that every answer needs are loaded while the browser opens.
        threading.Thread(target=explored.warm, daemon=True).start()
        if not call.no_browser:
            threading.Thread(target=webbrowser.open, args=(session.address,), daemon=True).start()
        serve(app, listening)
    return 0


def positive(text: str) -> float:
    """A number above 0; argparse says what is wrong."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def port(text: str) -> int:
    """A port, or 0; argparse says what is wrong."""
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise ValueError(text)
    return value


def add_commands(commands: Any) -> None:
    """Add this command to those of ``conceptreel``."""
    from pipeline.explorer.limits import UPLOAD_MIB, UPLOAD_SECONDS

    command = commands.add_parser(
        "explore", help="explore a finished run in the browser: look, ask, change", example="explore results/demo"
    )
    command.add_argument(
        "results", type=Path, metavar="RESULTS", help="results/<data set>, or results/<data set>/<method>"
    )
    command.add_argument(
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="configuration, to check whether the run is current",
    )
    command.add_argument("--no-browser", action="store_true", help="only print the address")
    command.add_argument("--port", type=port, default=0, metavar="PORT", help="port of 127.0.0.1; 0 takes a free one")
    command.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="write a folder for any web host instead",
    )
    command.add_argument(
        "--upload-mib", type=positive, default=UPLOAD_MIB, metavar="MIB", help="largest file that Try accepts, in MiB"
    )
    command.add_argument(
        "--upload-seconds",
        type=positive,
        default=UPLOAD_SECONDS,
        metavar="SECONDS",
        help="longest time that Try may spend on a file, in seconds",
    )
    command.set_defaults(run=explore)
