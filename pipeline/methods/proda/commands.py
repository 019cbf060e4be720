"""Commands of ProDA: ``disentangle`` asks a model about actions, ``leak`` measures what labels in prompts are worth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.store.plain import as_json


def disentangle(call: argparse.Namespace) -> int:
    """``conceptreel disentangle MODEL VIDEO --action A… --out DIR``."""
    from pipeline.data.readers import VideoError
    from pipeline.methods.commands import open_model
    from pipeline.methods.models import able
    from pipeline.store.atomic import StageError

    model = able(open_model(call), "disentangle", "disentangle")
    try:
        answer = model.disentangle(call.video, call.action)
    except VideoError as error:
        raise StageError(f"{call.video} cannot be read: {error}") from None
    print("\n".join(answer.write(call.out)))
    return 0


def leak(call: argparse.Namespace) -> int:
    """``conceptreel leak CHARADES``: what the lists of Charades alone reach in the published protocol."""
    from pipeline.methods.proda.leak import lines, measure

    found = measure(call.root, call.seed)
    print(as_json(found, None) if call.json else "\n".join(lines(found)))
    return 0


def add_commands(commands: Any) -> None:
    """Add the commands to the parser of ``conceptreel``."""
    command = commands.add_parser("disentangle", help="which frames, objects and relations carry given actions")
    command.add_argument("model", type=Path)
    command.add_argument("video", metavar="VIDEO", help="a video, or the id of a video of the run")
    command.add_argument("--action", nargs="+", required=True, metavar="A", help="names of actions of the model")
    command.add_argument("--out", type=Path, required=True, help="new folder for pictures and disentangled.json")
    command.add_argument("--results", type=Path, help="folder of the run; by default that of the model")
    command.add_argument("--config", type=Path, default=Path("config.yaml"), help="tells whether the run is current")
    command.set_defaults(run=disentangle)

    command = commands.add_parser("leak", help="what Charades' lists alone reach where prompts hold test labels")
    command.add_argument("root", type=Path, help="folder of Charades' lists and classes")
    command.add_argument("--seed", type=int, default=0, help="of the prompts")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=leak)
