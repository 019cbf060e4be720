"""The ``conceptreel`` command: look into caches, ask models. Commands import the heavy libraries that they need."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from pipeline import __version__

SHELLS = ("bash", "zsh")
METHODS = Path(__file__).parent / "methods"
# Modules with ``add_commands``, in the order of the help.
COMMANDS = (
    "pipeline.methods.commands",
    "pipeline.methods.dance.explain.commands",
    "pipeline.methods.dance.bottleneck.commands",
    "pipeline.data.commands",
    "pipeline.encoding.commands",
    "pipeline.rules.commands",
    "pipeline.inspection.commands",
    "pipeline.ablations.commands",
    "pipeline.explorer.commands",
    "pipeline.methods.dance.exchange.commands",
    # Of every further method.
    *(f"pipeline.methods.{path.parent.name}.commands" for path in sorted(METHODS.glob("*/commands.py"))),
    "pipeline.context.convert",
)


class _Defaults(argparse.RawDescriptionHelpFormatter):
    """Help with the defaults that say something, and examples that can be copied: their lines are not broken."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default in (None, False, "", argparse.SUPPRESS) or action.default == []
        return action.help if silent or not action.option_strings else f"{action.help} (default: %(default)s)"


class Command(argparse.ArgumentParser):
    """The parser of a command.

    Args:
        example: a call that works, without ``conceptreel``.
    """

    def __init__(self, *arguments: Any, example: str = "", **options: Any):
        self.example = example
        epilog = f"example: conceptreel {example}" if example else None
        super().__init__(*arguments, formatter_class=_Defaults, epilog=epilog, allow_abbrev=False, **options)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="conceptreel",
        description="Action recognition that explains itself.",
        epilog="conceptreel COMMAND -h shows arguments, defaults and an example",
    )
    result.add_argument("--version", action="version", version=f"conceptreel {__version__}")
    commands = result.add_subparsers(required=True, metavar="COMMAND", parser_class=Command)
    for module in COMMANDS:
        importlib.import_module(module).add_commands(commands)
    command = commands.add_parser(
        "completion", help="a script that completes commands and options in a shell", example="completion bash"
    )
    command.add_argument("shell", choices=SHELLS, help="which shell")
    command.set_defaults(run=_completion)
    for told in commands._choices_actions:  # what the list says of a command, its own help says too
        commands.choices[told.dest].description = told.help
    return result


def _completion(call: argparse.Namespace) -> int:
    """``conceptreel completion bash|zsh``."""
    import shtab

    whole = parser()
    for command in whole._subparsers._group_actions[0].choices.values():
        for action in command._actions:
            if action.type is Path or action.metavar == "INPUT":
                action.complete = shtab.FILE
    print(shtab.complete(whole, call.shell))
    return 0


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
