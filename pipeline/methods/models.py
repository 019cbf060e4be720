"""Model files of all methods: one envelope, opened without executing anything, and what every model can do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.saved import load_saved
from pipeline.methods.registry import METHODS, function
from pipeline.store.atomic import ArtifactError, StageError, replace_when_done
from pipeline.store.plain import as_json

if TYPE_CHECKING:
    import torch

FORMAT = "conceptreel-model"
# Version 3 of DANCE does not know where its concepts are present.
VERSION = 4
# Versions 1 and 2 were of DANCE alone: its tensors and one text lay beside each other.
BEFORE_METHODS = (1, 2)


class Decision(Protocol):
    """What a model says about one video."""

    class_name: str
    probability: float

    def as_dict(self, top: int) -> dict[str, Any]:
        """The decision and its ``top`` strongest reasons, for JSON."""

    def lines(self, top: int) -> list[str]:
        """The same as people read it; the first line is the decision."""


class Model(Protocol):
    """What every model can do, whatever its method."""

    method: str
    class_names: list[str]

    def predict(self, source: str | Path) -> Decision:
        """The decision on a video file; VideoError where it cannot be read."""

    def explain(self, source: str | Path, out: Path, top: int) -> list[str]:
        """Write the reasons of a decision into a folder; lines that tell what lies there."""

    def save(self, path: str | Path) -> None:
        """Write the model."""


@dataclass(frozen=True)
class Envelope:
    """What a model file holds.

    Attributes:
        method: name of the folder in ``pipeline/methods``.
        metadata: JSON values.
        arrays: the tensors as numpy has them; not to be written to.
    """

    path: Path
    method: str
    metadata: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors, on the CPU; copies."""
        import torch

        return {name: torch.tensor(value) for name, value in self.arrays.items()}


def write(
    path: str | Path,
    method: str,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    check: Callable[[Path], object] | None = None,
) -> None:
    """Write a model file; ``torch.load(weights_only=True)`` opens it.

    Args:
        tensors: of numbers that numpy knows: not of bfloat16.
        check: called with the written file before it gets its name; raises if it cannot be used.
    """
    import torch

    content = {
        "format": FORMAT,
        "version": VERSION,
        "method": method,
        "metadata": as_json(metadata, None),
        "tensors": dict(tensors),
    }
    with replace_when_done(path, check=check) as temporary:
        torch.save(content, temporary)


def read(path: str | Path) -> Envelope:
    """Read a model file of any method; nothing in it is executed, and torch is not imported.

    Raises:
        ArtifactError: absent, damaged, not one of our models, or made by a newer release.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; `snakemake --cores all {path}` makes it")
    try:
        content = load_saved(path)
    except ForeignFileError as error:
        raise ArtifactError(f"{path} is not a model file ({str(error).removeprefix(f'{path} ')})") from None
    if not isinstance(content, dict) or str(content.get("format")) != FORMAT:
        raise ArtifactError(f"{path} is a file of tensors, but not a model of this project")
    version = content.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ArtifactError(f"{path} has version {version}, this release reads 1 to {VERSION}")
    if version in BEFORE_METHODS:
        tensors = {name: value for name, value in content.items() if isinstance(value, np.ndarray)}
        content = {"method": "dance", "metadata": content.get("json"), "tensors": tensors}
    method, tensors = content.get("method"), content.get("tensors")
    try:
        metadata = json.loads(content["metadata"])
    except (KeyError, TypeError, ValueError, RecursionError):
        metadata = None
    mappings = isinstance(metadata, dict) and isinstance(tensors, dict)
    if not mappings or not all(isinstance(value, np.ndarray) for value in tensors.values()):
        raise ArtifactError(f"{path} is incomplete: its metadata or its tensors cannot be read")
    if method not in METHODS:
        raise ArtifactError(f"{path} is a model of the method `{method}`, which this release does not have")
    held = sum(value.nbytes for value in tensors.values())
    if held > path.stat().st_size:
        raise ArtifactError(f"{path} is inconsistent: its tensors claim more values than the file holds")
    return Envelope(path, method, metadata, tensors)


def load(path: str | Path, results: str | Path | None = None) -> Any:
    """Open a model file of any method.

    Args:
        results: folder of the run that it belongs to; without it the folder of the file, if that is of a run.

    Raises:
        ArtifactError: it is absent, damaged, no model, or of a newer release.
    """
    envelope = read(path)
    return function(METHODS[envelope.method].load)(envelope, None if results is None else Path(results))


def able(model: Any, verb: str, attribute: str) -> Any:
    """The model, if it can do what a command asks of it.

    Raises:
        StageError: its method has no such verb; says which it has.
    """
    if not hasattr(model, attribute):
        raise StageError(f"a model of the method {model.method} cannot {verb}; it can predict, explain and save")
    return model
