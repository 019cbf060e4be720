"""The ``conceptreel`` command: look into caches, ask models. Commands import the heavy libraries that they need."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from pathlib import Path

from pipeline import __version__

METHODS = Path(__file__).parent / "methods"
# Modules with ``add_commands``, in the order of the help.
COMMANDS = (
    "pipeline.inspection.commands",
    "pipeline.rules.commands",
    "pipeline.methods.commands",
    "pipeline.data.commands",
    "pipeline.encoding.commands",
    "pipeline.methods.dance.bottleneck.commands",
    "pipeline.ablations.commands",
    "pipeline.methods.dance.explain.commands",
    "pipeline.explorer.commands",
    "pipeline.methods.dance.exchange.commands",
    # Of every further method.
    *(f"pipeline.methods.{path.parent.name}.commands" for path in sorted(METHODS.glob("*/commands.py"))),
    "pipeline.context.convert",
)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="conceptreel", description="Action recognition that explains itself.")
    result.add_argument("--version", action="version", version=f"conceptreel {__version__}")
    commands = result.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        importlib.import_module(module).add_commands(commands)
    return result


def _leave_output() -> None:
    """Nothing more can be written: what is still in the buffer must not be complained of at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _answer(arguments: list[str] | None) -> int:
    call = parser().parse_args(arguments)
    try:
        code = call.run(call)
        print(end="", flush=True)  # a full disk is told here
        return code
    except BrokenPipeError:
        raise
    except Exception as error:
        from pipeline.data.entries import ListError
        from pipeline.settings import ConfigError
        from pipeline.store.atomic import ArtifactError, StageError
        from pipeline.store.names import NameUnknown

        if not isinstance(error, ArtifactError | ConfigError | ListError | NameUnknown | OSError | StageError):
            raise
        print(f"conceptreel: {error}", file=sys.stderr)
        return 2


def main(arguments: list[str] | None = None) -> int:
    """Entry of the command: expected errors are one line on stderr and exit code 2.

    Whoever reads the output may have seen enough, as ``| head`` has: that is no error.
    """
    code = 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        try:
            code = _answer(arguments)
        finally:
            print(end="", flush=True)
    except OSError:  # the reader's end is closed, or it is a full disk, which has been told
        _leave_output()
    return code


if __name__ == "__main__":
    sys.exit(main())
