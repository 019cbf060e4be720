"""The ``conceptreel`` command: look into caches, ask models. Commands import the heavy libraries that they need."""

from __future__ import annotations

import argparse
import importlib
import sys

from pipeline import __version__

# Modules with ``add_commands``, in the order of the help. A method's own are found by its name.
COMMANDS = (
    "pipeline.inspection.commands",
    "pipeline.rules.commands",
    "pipeline.methods.commands",
    "pipeline.data.commands",
    "pipeline.encoding.commands",
    "pipeline.methods.dance.bottleneck.commands",
    "pipeline.ablations.commands",
    "pipeline.methods.dance.explain.commands",
    "pipeline.methods.dance.exchange.commands",
    "pipeline.context.convert",
)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="conceptreel", description="Action recognition that explains itself.")
    result.add_argument("--version", action="version", version=f"conceptreel {__version__}")
    commands = result.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        importlib.import_module(module).add_commands(commands)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Entry of the command: expected errors are one line on stderr and exit code 2."""
    call = parser().parse_args(arguments)
    try:
        return call.run(call)
    except Exception as error:
        from pipeline.data.entries import ListError
        from pipeline.settings import ConfigError
        from pipeline.store.atomic import ArtifactError, StageError
        from pipeline.store.names import NameUnknown

        if not isinstance(error, ArtifactError | ConfigError | ListError | NameUnknown | OSError | StageError):
            raise
        print(f"conceptreel: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
