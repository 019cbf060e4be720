"""COIN (Tang et al. 2019): instruction videos of 180 tasks, whose 778 steps are marked in time.

`COIN.json` holds one object under `database`; excerpts of it are lists of objects with one key, the id on YouTube.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pipeline.data.entries import Entry, ListError, Segment
from pipeline.data.sets.listing import Listing

TAXONOMY = "taxonomy.xlsx"
SPLITS = {"training": "train", "testing": "test"}
LARGEST_SHEET = 20 << 20
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_ID = re.compile(r"[A-Za-z0-9_-]{11}")


def _xml(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if archive.getinfo(name).file_size > LARGEST_SHEET:
        raise ValueError(f"{name} unpacks to more than {LARGEST_SHEET} bytes")
    data = archive.read(name)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError(f"{name} defines entities, which a spreadsheet does not need")
    return ElementTree.fromstring(data)


def steps_of(path: Path) -> dict[str, str]:
    """Id → text of every step, from the sheet of the taxonomy whose rows end with an id and a text.

    Raises:
        ListError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            shared = [
                "".join(text.text or "" for text in item.iter(f"{_SHEET}t"))
                for item in _xml(archive, "xl/sharedStrings.xml")
            ]
            sheets = sorted(name for name in archive.namelist() if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", name))
            rows = [[_value(cell, shared) for cell in row] for row in _xml(archive, sheets[-1]).iter(f"{_SHEET}row")]
    except (OSError, KeyError, IndexError, ValueError, zipfile.BadZipFile, ElementTree.ParseError) as error:
        raise ListError(f"{path} cannot be read as COIN's taxonomy ({error})") from None
    found = {row[-2]: row[-1] for row in rows if len(row) >= 2 and row[-2].isdigit()}
    if not found:
        raise ListError(f"{path}: its last sheet names no step; its rows must end with an id and a text")
    return found


def _value(cell: ElementTree.Element, shared: list[str]) -> str:
    value = cell.find(f"{_SHEET}v")
    if value is None or value.text is None:
        return "".join(text.text or "" for text in cell.iter(f"{_SHEET}t"))
    return shared[int(value.text)] if cell.get("t") == "s" else value.text.removesuffix(".0")


def _database(path: Path) -> dict[str, dict[str, Any]]:
    """YouTube id → entry of one file."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ListError(f"{path} cannot be read as JSON ({error})") from None
    parts = [raw.get("database", raw)] if isinstance(raw, dict) else raw
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise ListError(f"{path}: expected `database` with an entry per video, or a list of such entries")
    return {key: entry for part in parts for key, entry in part.items()}


def _segments(entry: dict[str, Any], number_of: dict[str, int], wrong: Counter[str]) -> list[Segment]:
    """Steps in time, clipped to the video; those that end before they begin are counted and left out."""
    found = []
    length = float(entry.get("duration", math.inf))
    for part in entry["annotation"]:
        start, end = map(float, part["segment"])
        if end > length:
            end = length
            wrong["clipped"] += 1
        if not start < end:
            wrong["dropped"] += 1
            continue
        found.append(Segment(start, end, number_of[str(part["id"])]))
    return sorted(found)


def read(settings, root: Path) -> Listing:
    """One entry per video, with its steps and when they are shown; or with its task alone."""
    files = [root / "COIN.json"] if (root / "COIN.json").is_file() else sorted(root.glob("coin_*.json"))
    if not files:
        raise ListError(f"COIN.json is not in {root}; it comes with the data set")
    database: dict[str, dict[str, Any]] = {}
    for path in files:
        database |= _database(path)
    as_task = settings.source == "coin_tasks"
    try:
        texts = {str(part["id"]): part["label"] for entry in database.values() for part in entry["annotation"]}
        if (root / TAXONOMY).is_file():
            texts = steps_of(root / TAXONOMY) | texts
        tasks = sorted({entry["class"] for entry in database.values()})
        ids = sorted(texts, key=int)
        # 25 texts have two ids: names of classes must differ, and texts without the mark are equal.
        twice = {text for text, count in Counter(texts.values()).items() if count > 1}
        steps = [f"{texts[key]} ({key})" if texts[key] in twice else texts[key] for key in ids]
        number_of = {key: number for number, key in enumerate(ids)}
        names, wrong, entries = (tasks if as_task else steps), Counter[str](), []
        for key, entry in database.items():
            segments = _segments(entry, number_of, wrong)
            own = [tasks.index(entry["class"])] if as_task else sorted({part.label for part in segments})
            split = SPLITS[entry["subset"]]
            entries.append(
                Entry(
                    video_id=key,
                    path=f"{int(entry['recipe_type'])}/{key}.mp4",
                    labels=tuple(own),
                    class_names=tuple(names[label] for label in own),
                    split=split,
                    listed=split,
                    problem=None if _ID.fullmatch(key) else "the id is none of YouTube's",
                    segments=() if as_task else tuple(segments),
                )
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ListError(f"{files[0]}: an entry does not have COIN's form ({type(error).__name__}: {error})") from None
    notes = [
        f"{count} segments of steps were {what}: see their start, end and duration" for what, count in wrong.items()
    ]
    return Listing(names, entries, settings.videos, notes=notes)


def task_of(path: str) -> str:
    """The number of the task, which is the folder of the video."""
    return path.rsplit("/", 2)[-2]
