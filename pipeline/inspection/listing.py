"""What lies in a cache: every artifact with its size, counts, origin and whether it is stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import Dataset
from pipeline.inspection.cache import artifacts_in, current_artifacts
from pipeline.rules.stages import STAGES, settings_digest
from pipeline.store.inspect import Report, inspect_artifact


def changed_input(record: dict[str, Any], present: dict[str, set[str]]) -> str:
    """Name of an input that has another content than when this was made from it; empty if there is none.

    Args:
        record: provenance of an artifact; present: file name → content digests of today's artifacts of that name.
    """
    for name, digest in record["inputs"].items():
        file = name.rpartition("/")[2]
        # A shard reads its own videos' rows; the rule follows those, not the whole table.
        ignored = record["shard"] and name.startswith(("videos/", "index/"))
        if not ignored and file in present and digest not in present[file]:
            return file
    return ""


def mark_stale(
    folder: Path, found: list[tuple[Report, dict[str, Any]]], settings_digests: dict[str, str], current: set[str]
) -> None:
    """Fill in ``stale``: other settings, inputs that have changed since, or a file that no rule makes any more.

    Args:
        settings_digests: stage → digest of today's settings.
        current: artifact paths relative to ``folder`` that today's configuration makes.
    """
    digests: dict[str, set[str]] = {}
    for report, attributes in found:
        if attributes:
            digests.setdefault(Path(report.path).name, set()).add(attributes["content_digest"])
    for report, attributes in found:
        if report.problem or report.stale:
            continue
        record = attributes["provenance"]
        expected = settings_digests.get(report.stage)
        if str(Path(report.path).relative_to(folder)) not in current:
            report.stale = "not part of the current configuration (other shards?)"
        elif expected is not None and expected != record["settings_digest"]:
            report.stale = "its settings have changed"
        elif file := changed_input(record, digests):
            report.stale = f"its input {file} has changed"


def inspect_folder(folder: Path, section: Dataset | None) -> list[Report]:
    """Reports on all artifacts of a cache, sorted by their paths.

    Args:
        section: today's configuration; without it settings cannot be judged.

    Raises:
        InspectionError: the folder holds no artifact.
    """
    found = [inspect_artifact(path) for path in artifacts_in(folder)]
    if section is not None:
        digests = {name: settings_digest(section, name) for name in STAGES}
        mark_stale(folder, found, digests, current_artifacts(section))
    return [report for report, _ in found]
