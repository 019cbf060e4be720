"""Conceptreel: action recognition that explains itself.

One folder per floor of the pipeline: data, motion, context, backbone, bottleneck, explain, and the embedded demo.
Beside them: ``config`` (what may be configured), ``stage`` (the entry shared by every stage), ``store`` (the only
code that opens or writes an artifact), ``exchange`` (files that others made or want to read) and ``cli`` (the
``conceptreel`` command).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.methods.dance.explain.api import Model

__version__ = "0.1.0"
__all__ = ["load"]


def load(path: str | Path, results: str | Path | None = None) -> Model:
    """Open a model file; see `pipeline.methods.dance.explain.api.load`."""
    from pipeline.methods.dance.explain.api import (
        load as open_model,  # the Snakefile imports this package and needs no torch
    )

    return open_model(path, results)
