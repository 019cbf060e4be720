"""What people have said of the concepts of a run, read and changed; see `pipeline.methods.dance.curation`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.methods.dance import curation
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.explored import Refused

MOST_CHANGES = 10_000


def state(folder: Path) -> dict[str, Any]:
    """All concepts of a run as they are curated, whether the model is behind, and the command that would mend that.

    Raises:
        ConfigError: the file is none. ArtifactError: the run is incomplete.
    """
    now = curation.read(folder / curation.FILE)
    return _answer(folder, now, curation.of_run(folder))


def _answer(folder: Path, now: Any, concepts: list[Any]) -> dict[str, Any]:
    return {
        "concepts": curation.shown(now, concepts),
        "outdated": curation.outdated(folder, now),
        "command": curation.command(folder),
    }


def curate(folder: Path, told: Any) -> dict[str, Any]:
    """Apply changes, all or none of them.

    Args:
        folder: of the run; told: ``changes``, each with ``action`` and ``concept``.

    Returns:
        the new `state`.

    Raises:
        Refused: what was sent is no list of changes. ConfigError: a change cannot be made.
    """
    changes = told.get("changes") if isinstance(told, dict) else None
    if not isinstance(changes, list) or not 0 < len(changes) <= MOST_CHANGES:
        raise Refused(f"`changes` is a list of 1 to {MOST_CHANGES} changes")
    for change in changes:
        if not isinstance(change, dict) or not all(isinstance(change.get(key), str) for key in ("action", "concept")):
            raise Refused("a change has `action` and `concept`, and some have `name`, `note` or `with`")
        others = change.get("with", [])
        texts = [change.get(key, "") for key in ("name", "note")]
        if not isinstance(others, list) or not all(isinstance(text, str) for text in [*texts, *others]):
            raise Refused("`name` and `note` are texts, and `with` is a list of concepts")
    path = folder / curation.FILE
    concepts = curation.of_run(folder)
    now = curation.changed(curation.read(path), concepts, changes)
    curation.written(path, now)
    return _answer(folder, now, concepts)


def of_model(core: ConceptModel, rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Concept of the model → its row of `state`; found by its digest, in a model of earlier days by its name."""
    digests = core.about.get("digests")
    was = core.about.get("was") or core.concepts
    key = "digest" if digests else "was"
    by_key = {(row["type"], row[key]): row for row in rows}
    found = {}
    for m, kind in enumerate(core.types):
        row = by_key.get((kind, (digests or was)[m]))
        if row is not None:
            found[m] = row
    return found
