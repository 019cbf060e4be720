"""The command ``conceptreel transfer``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def run(call: argparse.Namespace) -> int:
    """``conceptreel transfer RESULTS… --table N``."""
    from pipeline.methods.transfer.tables import opened, table

    print("\n".join(table(call.table, opened(call.results))))
    return 0


def add_commands(commands: Any) -> None:
    """Add these commands to those of ``conceptreel``."""
    command = commands.add_parser(
        "transfer",
        help="accuracy in known and unknown contexts: tables 2 to 5 of the paper",
        example="transfer results/synta_mini --table 2",
    )
    command.add_argument(
        "results", type=Path, nargs="+", metavar="RESULTS", help="results/<data set>; one run, or one for each set"
    )
    command.add_argument(
        "--table",
        type=int,
        choices=(2, 3, 4, 5),
        default=2,
        help="2 coarse classes, 3 fine classes, 4 plain backgrounds, 5 branches",
    )
    command.set_defaults(run=run)
