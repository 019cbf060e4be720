"""What every reader of a data set gives back, and what the readers share."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data.entries import Entry, GroupOf, ListError, plain, read_class_list, read_lines
from pipeline.data.lines import composed, unquoted

PROJECT = Path(__file__).resolve().parents[3]
CLASSES = PROJECT / "pipeline" / "data" / "classes"


@dataclass(frozen=True)
class Listing:
    """A data set as its own files describe it, before validation is carved off.

    Attributes:
        class_names: in label order.
        entries: in the order of the lists; paths are relative to ``videos``.
        videos: folder of the videos, relative to the root of the data set.
        published: how many videos the authors name: split, or ``total`` → count. Empty where nobody published a count.
        notes: what was left out on purpose and why, one line each.
        missing: what differs from the published counts or is not on disk, one line each.
        unused, copies: videos that lie there and are not listed, and one video in several splits, one line each; see
            `pipeline.data.unused`.
        test_only: whether the set is there for evaluation alone.
    """

    class_names: list[str]
    entries: list[Entry]
    videos: str = ""
    published: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    test_only: bool = False


def own_class_list(settings, root: Path, shipped: str = "") -> list[str] | None:
    """Class names from ``data.index.class_list``, else from a list that the project ships, else None.

    A list below the data set's own root comes before one of that name in the project.
    """
    if settings.class_list:
        own = root / settings.class_list
        return read_class_list(own if own.is_file() else PROJECT / settings.class_list)
    return read_class_list(CLASSES / f"{shipped}.txt") if shipped else None


def folder_of(root: Path, named: str, *usual: str) -> str:
    """Folder of the videos: the configured one, else the first usual one that exists, else the root itself."""
    if named:
        return named
    return next((name for name in usual if (root / name).is_dir()), "")


def find_file(root: Path, name: str, *folders: str) -> Path:
    """A file that comes with a data set, in the root or one of the usual folders.

    Raises:
        ListError: it is nowhere.
    """
    places = [root / folder / name for folder in ("", *folders)]
    for place in places:
        if place.is_file():
            return place
    raise ListError(
        f"{name} is not in {' or '.join(str(place.parent) for place in places)}; it comes with the data set"
    )


def files_in(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Names of the videos or pictures in a folder, sorted; hidden ones are leftovers of other systems."""
    if not folder.is_dir():
        return []
    found = (entry.name for entry in os.scandir(folder))
    return sorted(name for name in found if name.lower().endswith(suffixes) and not name.startswith("."))


def folders_in(folder: Path) -> list[str]:
    """Names of the folders in a folder that are not hidden, sorted; none where it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def grouping(pattern: str) -> GroupOf:
    """Function from a path to its group: the part named ``group`` of the pattern in the file name, else None.

    Capitals do not count: who is `Person01` in one name and `person01` in another must not be in two splits.

    Raises:
        ListError: the pattern is no regular expression, or has no such part.
    """
    if not pattern:
        return lambda place: None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ListError(f"data.index.group_pattern `{pattern}` is not a regular expression: {error}") from None
    if "group" not in compiled.groupindex:
        raise ListError("data.index.group_pattern needs a group named `group`, such as (?P<group>[a-z]+)")

    def group_of(place: str) -> str | None:
        match = compiled.search(composed(place.rpartition("/")[2]))
        return (match["group"] or "").casefold() or None if match else None

    return group_of


def check_test_groups(wanted: list[str], present: set[str | None]) -> None:
    """Raises: ListError: a group that ``data.index.test_groups`` names has no file."""
    absent = set(wanted) - present
    if absent:
        known = ", ".join(sorted(filter(None, present))[:30])
        raise ListError(
            f"data.index.test_groups: no file belongs to the group {', '.join(sorted(absent))}; there are {known}"
        )


def read_class_map(path: Path, theirs: list[str], ours: list[str]) -> dict[str, str]:
    """Lines of ``their class,our class``: their name → our name.

    Raises:
        ListError: a line has no comma, or names a class that is not there.
    """
    names_of = [{plain(name): name for name in names} for names in (theirs, ours)]
    result = {}
    for number, line in read_lines(path):
        first, comma, second = (unquoted(text.strip()) for text in line.rpartition(","))
        if not comma:
            raise ListError(f"{path}, line {number}: expected `class of this set,class of the model`, found `{line}`")
        for name, known, whose in ((first, names_of[0], "this set"), (second, names_of[1], "the class list")):
            if plain(name) not in known:
                raise ListError(f"{path}, line {number}: `{name}` is not a class of {whose}")
        result[names_of[0][plain(first)]] = names_of[1][plain(second)]
    return result


def check_counts(listing: Listing, entries: list[Entry]) -> list[str]:
    """What differs from the published counts and what is not on disk, one line each."""
    found = Counter(entry.listed for entry in entries)
    found["total"] = len(entries)
    lines = [
        f"{part}: {found[part]:,} videos are listed, {count:,} are published"
        for part, count in listing.published.items()
        if found[part] != count
    ]
    missing = [entry for entry in entries if (entry.problem or "").startswith("missing")]
    if missing:
        by_class = Counter(name for entry in missing for name in entry.class_names or ("no class",)).most_common()
        named = ", ".join(f"{count} of {name}" for name, count in by_class[:5])
        more = f" and {len(by_class) - 5} further classes" if len(by_class) > 5 else ""
        lines.append(f"{len(missing):,} of {len(entries):,} videos are not on disk: {named}{more}")
    return [*listing.missing, *lines]
