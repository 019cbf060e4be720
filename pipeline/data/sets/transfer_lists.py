"""K400-TA and SSv2-TA: the videos of Kinetics-400 and Something-Something v2 whose classes share a motion.

Fine classes are those of the official sets, coarse ones are motions, and ``fine_to_coarse.csv`` (columns dataset, set,
fine, coarse_id, coarse) joins them. Read are the official annotations; or, where these are absent, the lists of the
release raiyaan-abdullah/Motion-Transfer, lines of path and coarse label, which do not tell fine classes.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.data.entries import Entry, ListError, read_lines, video_id
from pipeline.data.sets.listing import Listing, find_file, folder_of

TABLE = "fine_to_coarse.csv"
_LISTS = re.compile(r"(?:.*[_/])?(?P<split>train|val)_set(?P<set>[12])_coarse\.txt")


class Context(NamedTuple):
    """The set of a video and its two classes; fine is empty where lists do not tell it."""

    set: int
    fine: str
    coarse: str


class Listed(NamedTuple):
    """A video as it is listed: path, train or val, and its context."""

    path: str
    split: str
    context: Context


def read_table(root: Path, name: str) -> tuple[list[str], dict[str, Context]]:
    """Coarse classes in label order, and fine class → its context.

    Args:
        name: in the column ``dataset``: k400 or ssv2.

    Raises:
        ListError: the table is absent or damaged, a fine class is in both sets, or a coarse one in one of them alone.
    """
    path = find_file(root, TABLE, "labels")
    found: dict[str, Context] = {}
    number_of: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["dataset"] == name]
            for row in rows:
                context = Context(int(row["set"]), row["fine"], row["coarse"])
                number_of[row["coarse"]] = int(row["coarse_id"])
                if found.setdefault(row["fine"], context) != context:
                    raise ListError(f"{path}: `{row['fine']}` is listed twice, with different classes or sets")
    except (KeyError, ValueError, csv.Error) as error:
        if isinstance(error, ListError):
            raise
        raise ListError(f"{path}: expected the columns dataset, set, fine, coarse_id, coarse ({error})") from None
    if not found:
        raise ListError(f"{path} has no line of the data set {name}")
    _check_sets(path, {(context.set, context.coarse) for context in found.values()})
    return sorted(number_of, key=number_of.__getitem__), found


def _check_sets(path: Path, pairs: set[tuple[int, str]]) -> None:
    """Raises: ListError: a coarse class is in one set alone, so that it could never be both known and unknown."""
    for own, coarse in sorted(pairs):
        if own not in (1, 2):
            raise ListError(f"{path}: `{coarse}` has set {own}; the sets are 1 and 2")
        if (3 - own, coarse) not in pairs:
            raise ListError(f"{path}: the coarse class `{coarse}` has no fine class in set {3 - own}")


def _kinetics(root: Path, table: dict[str, Context]) -> Iterator[Listed]:
    """Official CSV files of label, youtube_id, time_start, time_end."""
    for split, names in (("train", ("train.csv",)), ("val", ("val.csv", "validate.csv", "validation.csv"))):
        name = next((name for name in names if any((root / at / name).is_file() for at in ("", "annotations"))), None)
        path = find_file(root, name or names[0], "annotations")
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                try:
                    context = table.get(row["label"].strip().strip('"'))
                    start, end = int(float(row["time_start"])), int(float(row["time_end"]))
                    place = f"{split}/{row['youtube_id']}_{start:06d}_{end:06d}.mp4"
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise ListError(
                        f"{path}, line {number}: expected label, youtube_id, time_start, time_end ({error})"
                    ) from None
                if context:
                    yield Listed(place, split, context)


def _something(root: Path, table: dict[str, Context]) -> Iterator[Listed]:
    """Official JSON files, whose templates have brackets that the classes have not."""
    for split, name in (("train", "train"), ("val", "validation")):
        path = find_file(root, f"something-something-v2-{name}.json", "labels", "annotations")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            items = [(str(item["id"]), re.sub(r"[\[\]]", "", item["template"])) for item in found]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ListError(f"{path}: expected a list of objects with id and template ({error})") from None
        for number, template in items:
            if template in table:
                yield Listed(f"{number}.webm", split, table[template])


def _released(root: Path, names: list[str]) -> Iterator[Listed]:
    """Lists of the release, wherever below the root; coarse labels count in ``names``."""
    for path in sorted(root.rglob("*_coarse.txt")):
        match = _LISTS.fullmatch(path.name)
        for number, line in read_lines(path) if match else ():
            place, _, label = line.rpartition(" ")
            if not place or not label.isdigit() or int(label) >= len(names):
                raise ListError(f"{path}, line {number}: expected a path and a coarse label below {len(names)}")
            yield Listed(place, match["split"], Context(int(match["set"]), "", names[int(label)]))


def listed(settings, root: Path) -> tuple[list[str], list[Listed], Path]:
    """Coarse classes in label order, all videos of both sets, and the table that joins the classes.

    Raises:
        ListError: something is absent or damaged, or a video is in both sets.
    """
    name = settings.source.partition("_")[0]
    names, table = read_table(root, name)
    reader = {"k400": _kinetics, "ssv2": _something}[name]
    try:
        found = list(reader(root, table))
    except ListError as error:
        found = list(_released(root, names))
        if not found:
            raise ListError(f"{error}; nor is there a list such as {name}_train_set1_coarse.txt") from None
    sets: dict[str, int] = {}
    for item in found:
        if sets.setdefault(item.path, item.context.set) != item.context.set:
            raise ListError(f"{item.path} is in both sets, so known and unknown classes cannot be separated")
    return names, found, find_file(root, TABLE, "labels")


def split_of(item: Listed, train_set: int) -> str | None:
    """As `pipeline.data.sets.synta.split_of`."""
    if train_set == 0 or item.context.set == train_set:
        return "train" if item.split == "train" else "test"
    return None if item.split == "train" else "unknown"


def _read(settings, root: Path) -> Listing:
    names, found, _ = listed(settings, root)
    entries = []
    for item in found:
        split = split_of(item, settings.train_set)
        if split:
            label, coarse = names.index(item.context.coarse), item.context.coarse
            entries.append(Entry(video_id(item.path), item.path, (label,), (coarse,), split, split))
    return Listing(names, entries, folder_of(root, settings.videos, "videos"))


def read_k400(settings, root: Path) -> Listing:
    """K400-TA below a root with Kinetics' ``train.csv`` and ``val.csv``; videos ``val/<id>_<start>_<end>.mp4``."""
    return _read(settings, root)


def read_ssv2(settings, root: Path) -> Listing:
    """SSv2-TA below a root with ``something-something-v2-train.json`` and ``-validation.json``; ``<n>.webm``."""
    return _read(settings, root)
