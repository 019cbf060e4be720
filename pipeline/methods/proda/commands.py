"""Commands of ProDA: ``disentangle`` asks a model about actions, ``leak`` measures what labels in prompts are worth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.methods.commands import INPUT, add_model, asked_of, open_model
from pipeline.store.atomic import StageError
from pipeline.store.plain import as_json


def disentangle(call: argparse.Namespace) -> int:
    """``conceptreel disentangle MODEL INPUT --action A… --out DIR``."""
    opened = open_model(call, call.input)
    from pipeline.data.readers import VideoError
    from pipeline.methods.models import able

    model = able(opened, "disentangle", "disentangle")
    try:
        answer = model.disentangle(asked_of(call, model, call.input), call.action)
    except VideoError as error:
        raise StageError(f"{call.input} cannot be read: {error}") from None
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
    command = commands.add_parser(
        "disentangle",
        help="which frames, objects and relations carry given actions",
        example="disentangle results/graphs_demo/proda/model.pt test_0003 --action take_phone hold_towel --out answer/",
    )
    add_model(command)
    command.add_argument("input", metavar="INPUT", help=INPUT)
    command.add_argument("--action", nargs="+", required=True, metavar="A", help="names of actions of the model")
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="new folder for pictures and disentangled.json"
    )
    command.set_defaults(run=disentangle)

    command = commands.add_parser(
        "leak",
        help="what Charades' lists alone reach if prompts contain test labels",
        example="leak data/charades",
    )
    command.add_argument("root", type=Path, metavar="FOLDER", help="folder of Charades' lists and classes")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the prompts")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=leak)
