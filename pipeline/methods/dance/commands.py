"""Command ``curate``: name, merge, drop and approve the concepts of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.store.plain import as_json

MARKS = {"kept": "", "dropped": "dropped", "merged": "merged into {into}", "unknown": "not in this run"}
STALE = {
    "names": "the model does not have these names yet; its last stage gives them, in seconds:",
    "structure": "the model does not follow this curation yet; the bottleneck is trained again, and nothing before it:",
}


def _changes(call: argparse.Namespace) -> list[dict[str, Any]]:
    """What the options ask for, as `curation.changed` takes it."""
    found: list[dict[str, Any]] = [{"action": "forget", "concept": concept} for concept in call.forget]
    found += [{"action": "merge", "concept": first, "with": others} for first, *others in call.merge]
    found += [{"action": "drop", "concept": concept} for concept in call.drop]
    found += [{"action": "name", "concept": concept, "name": name} for concept, name in call.name]
    found += [{"action": "note", "concept": concept, "note": note} for concept, note in call.note]
    return found + [{"action": "approve", "concept": concept} for concept in call.approve]


def _rows(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of the printed table."""
    name_of = {row["id"]: row["name"] for row in rows}
    found = []
    for row in rows:
        state = [MARKS[row["state"]].format(into=name_of.get(row["into"], row["into"]))]
        state += [f"was {row['was']}"] if row["name"] != row["was"] else []
        state += ["approved"] if row["approved"] else []
        videos = "" if row["videos"] is None else str(row["videos"])
        found.append([row["digest"], row["type"], row["name"], row["words"], videos, ", ".join(filter(None, state))])
    return found


def curate(call: argparse.Namespace) -> int:
    """``conceptreel curate RESULTS``: the concepts of a run, and what people say about them."""
    from pipeline.inspection.text import table
    from pipeline.methods.dance import curation

    concepts = curation.of_run(call.results)
    path = call.results / curation.FILE
    said = curation.read(path)
    changes = _changes(call)
    if changes:
        said = curation.changed(said, concepts, changes)
        curation.written(path, said)
    rows = curation.shown(said, concepts)
    stale = curation.outdated(call.results, said)
    command = curation.command(call.results) if stale else ""
    unknown = curation.told(said, concepts)["unknown"]
    if call.json:
        print(as_json({"file": str(path), "concepts": rows, "unknown": unknown, "outdated": stale, "command": command}))
        return 0
    if changes:
        print(f"{path}: {len(said.entries)} concepts are curated")
    else:
        print(table(_rows(rows), ["digest", "type", "name", "what it does", "videos", "state"]))
    if unknown:
        print(f"\nwarning: {curation.unknown_words(unknown)}")
    if stale:
        print(f"\n{STALE[stale]}\n{command}")
    return 0


class _Several(argparse.Action):
    """Two or more concepts; argparse alone would take one."""

    def __call__(self, parser, namespace, values, option_string=None):
        if len(values) < 2:
            parser.error(f"argument {option_string}: a merge needs two or more concepts, the leading one first")
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), values])


def add_commands(commands: Any) -> None:
    """Add the command to those of ``conceptreel``."""
    command = commands.add_parser(
        "curate",
        help="list, name, merge, drop and approve concepts of a run",
        example="curate results/demo --name 'motion 004' 'lifts both hands'",
    )
    command.add_argument("results", type=Path, metavar="RESULTS", help="results/<data set>")
    again = {"action": "append", "default": []}
    command.add_argument("--name", nargs=2, metavar=("CONCEPT", "NAME"), help="name a concept", **again)
    command.add_argument(
        "--merge", nargs="+", metavar="CONCEPT", action=_Several, default=[], help="merge concepts into the first"
    )
    command.add_argument("--drop", metavar="CONCEPT", help="leave a concept out", **again)
    command.add_argument("--approve", metavar="CONCEPT", help="mark a concept as checked and good", **again)
    command.add_argument("--note", nargs=2, metavar=("CONCEPT", "TEXT"), help="add a note to a concept", **again)
    command.add_argument("--forget", metavar="CONCEPT", help="undo all of this for a concept", **again)
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=curate)
