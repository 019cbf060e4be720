"""What a person has changed on the page, kept: a model with its log of edits, as ``conceptreel edit --save`` does."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.explored import Refused
from pipeline.store.names import find

# The name of a file, and no path; a leading dot would hide it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MOST_EDITS = 10_000


def edited(core: ConceptModel, edits: Any) -> ConceptModel:
    """The model with other weights; each edit is logged.

    Args:
        edits: mappings with ``class`` and ``concept``, each a name or a position, and ``weight``.

    Raises:
        Refused: an edit is no such thing. NameUnknown: there is no such class or concept.
    """
    if not isinstance(edits, list) or not 0 < len(edits) <= MOST_EDITS:
        raise Refused(f"a list of 1 to {MOST_EDITS} edits is wanted: what is changed in one clip is no part of a model")
    for edit in edits:
        if not isinstance(edit, dict) or not {"class", "concept", "weight"} <= edit.keys():
            raise Refused("an edit has `class`, `concept` and `weight`")
        weight = edit["weight"]
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not -1e6 <= weight <= 1e6:
            raise Refused("a weight is a number between -1e6 and 1e6")
        label = _place(edit["class"], core.class_names, "class")
        concept = edit["concept"]
        m = core.find_concept(concept) if isinstance(concept, str) else _place(concept, core.concepts, "concept")
        core = core.reweight(label, m, float(weight))
    return core


def _place(given: Any, known: list[str], what: str) -> int:
    """Position of what is given by its name or its position."""
    if isinstance(given, str):
        return find(given, known, what)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < len(known):
        raise Refused(f"there is no {what} of that number; there are {len(known)}")
    return given


def save(core: ConceptModel, folder: Path, told: Any) -> dict[str, Any]:
    """Write an edited model beside the one of the run.

    Args:
        folder: of the run; told: ``name`` of the new file and ``edits``, see `edited`.

    Returns:
        ``path``, and ``command`` that asks the new model.

    Raises:
        Refused: there is such a file, or the name is none.
    """
    name = told.get("name") if isinstance(told, dict) else None
    name = name.removesuffix(".pt") if isinstance(name, str) else ""
    if not _NAME.fullmatch(name):
        raise Refused("a name has 1 to 64 letters of A to Z, digits, - and _, and begins with a letter or digit")
    changed = edited(core, told.get("edits"))
    path = folder / f"{name}.pt"
    try:
        # The name is taken first, so that two who save at once do not both believe that they did.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        raise Refused(f"{path} exists and stays as it is; choose another name") from None
    try:
        changed.save(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return {
        "path": str(path),
        "edits": len(changed.about["edits"]),
        "command": f"conceptreel failures {path}",
    }
