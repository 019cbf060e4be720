"""A model as ``model.safetensors`` and ``model.json``: for programs that should not need torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.matrices import read_arrays
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.models import BEFORE_METHODS, FORMAT
from pipeline.store.plain import write_json

WEIGHTS, TEXT = "model.safetensors", "model.json"


def write_safe(folder: Path, model: ConceptModel) -> None:
    """Write a model into an empty folder; the tensors are those of ``model.pt``, bit by bit."""
    from safetensors.numpy import save_file

    save_file(model.tensors(), folder / WEIGHTS)
    text = {"format": FORMAT, "version": BEFORE_METHODS[-1], **model.text()}
    write_json(folder / TEXT, text)


def read_safe(folder: Path) -> ConceptModel:
    """The model in a folder that `write_safe` has written; whether its parts fit is checked when it is saved.

    Raises:
        ForeignFileError: a file is missing, damaged or of a newer release, or a tensor or text is missing.
    """
    for name in (WEIGHTS, TEXT):
        if not (folder / name).is_file():
            raise ForeignFileError(f"{folder} has no {name}")
    tensors = read_arrays(folder / WEIGHTS)
    try:
        text: dict[str, Any] = json.loads((folder / TEXT).read_text(encoding="utf-8"))
        if text["format"] != FORMAT or text["version"] not in BEFORE_METHODS:
            raise ForeignFileError(f"{folder / TEXT} is not of this project, or of a newer release")
        model = ConceptModel.of(tensors, text)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ForeignFileError(f"{folder} is incomplete ({error!r})") from None
    bad = [name for name, value in tensors.items() if not np.isfinite(value).all()]
    if bad:
        raise ForeignFileError(f"{folder / WEIGHTS}: {bad[0]} holds NaN or infinity")
    return model
