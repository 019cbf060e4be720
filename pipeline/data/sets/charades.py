"""Charades (Sigurdsson et al. 2016): `Charades_v1_train.csv` and `_test.csv`, segments in seconds, up to 16 and more
labels per video."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.data.entries import Entry, ListError, Segment, video_id
from pipeline.data.lines import text_of
from pipeline.data.sets.listing import Listing, find_file

PUBLISHED = {"train": 7985, "test": 1863}
# Scenes to train on, by scenario (Wu et al. 2025, Table 10); all others are tested on. Words of a scene may be longer.
SCENARIOS = {
    1: "Stairs,Laundry room,Home Office,Hallway,Bedroom,Pantry,Dining room,Entryway",
    2: "Laundry room,Bathroom,Pantry,Closet,Entryway,Recreation room,Garage,Other",
    3: "Stairs,Laundry room,Bedroom,Basement,Bathroom,Entryway,Recreation room,Other",
    4: "Kitchen,Stairs,Laundry room,Home Office,Bedroom,Bathroom,Pantry,Dining room",
    5: "Kitchen,Laundry room,Hallway,Basement,Dining room,Living room,Closet,Other",
}
COLUMNS = ("id", "subject", "scene", "actions", "length")


class Annotated(NamedTuple):
    """One line of a list: segments are (class, start, end) in seconds, inside of the video."""

    video: str
    subject: str
    scene: str
    split: str
    length: float
    segments: list[tuple[str, float, float]]


class Counts(NamedTuple):
    """What was mended: segments that ended after their video, and segments that ended before they began."""

    clipped: int
    dropped: int


def read_classes(root: Path) -> dict[str, str]:
    """Code → words, such as ``c000`` → ``Holding some clothes``, in label order.

    Raises:
        ListError: missing, or a line is no class.
    """
    path = find_file(root, "Charades_v1_classes.txt")
    found = dict(line.split(" ", 1) for line in text_of(path.read_bytes()).splitlines() if " " in line)
    if not found:
        raise ListError(f"{path} names no class; its lines are `c000 Holding some clothes`")
    return dict(sorted(found.items()))


def annotations(root: Path) -> tuple[list[Annotated], Counts]:
    """All videos of both lists, segments clipped to the video.

    Raises:
        ListError: a list is missing, or a line cannot be read.
    """
    rows, clipped, dropped = [], 0, 0
    codes = read_classes(root)
    for split in PUBLISHED:
        path = find_file(root, f"Charades_v1_{split}.csv")
        for number, line in _lines(path):
            try:
                length = float(line["length"])
                parts = [part.split() for part in line["actions"].split(";") if part]
                named = [(code, float(start), float(end)) for code, start, end in parts]
                unknown = [code for code, *_ in named if code not in codes]
                if unknown or not 0 < length < float("inf"):
                    raise ValueError(f"unknown class {unknown[0]}" if unknown else f"a length of {length}")
            except (ValueError, TypeError) as error:
                raise ListError(f"{path}, line {number}: {error}; expected `c092 11.90 21.20;…` and a length") from None
            segments = []
            for code, start, end in named:
                clipped += end > length
                if min(end, length) > max(start, 0):
                    segments.append((code, max(start, 0.0), min(end, length)))
                else:
                    dropped += 1
            rows.append(Annotated(line["id"], line["subject"], line["scene"], split, length, segments))
    return rows, Counts(clipped, dropped)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    lines = csv.DictReader(io.StringIO(text_of(path.read_bytes())))
    lacking = [name for name in COLUMNS if name not in (lines.fieldnames or ())]
    if lacking:
        raise ListError(f"{path} lacks the column `{lacking[0]}`; it is not a list of Charades")
    for line in lines:
        yield lines.line_num, line


def in_scenario(scene: str, number: int) -> str:
    """train or test."""
    return "train" if any(word in scene for word in SCENARIOS[number].split(",")) else "test"


def read(settings, root: Path) -> Listing:
    """One entry per video, validation goes by subject; `charades_scenes` pools both lists and splits them by scene.

    In a scenario 162 to 176 subjects are in train and in test.
    """
    names = read_classes(root)
    number_of = {code: number for number, code in enumerate(names)}
    words = list(names.values())
    rows, counts = annotations(root)
    by_scene = settings.source == "charades_scenes"
    entries = []
    for row in rows:
        labels = tuple(sorted({number_of[code] for code, _, _ in row.segments}))
        segments = tuple(sorted(Segment(start, end, number_of[code]) for code, start, end in row.segments))
        split = in_scenario(row.scene, settings.official_split) if by_scene else row.split
        shown = tuple(words[label] for label in labels)
        place = f"{row.video}.mp4"
        entries.append(Entry(video_id(row.video), place, labels, shown, split, split, row.subject, segments=segments))
    notes = [
        f"{counts.clipped} segments ended after their video and were cut; {counts.dropped} ended before they began "
        f"and are left out"
    ]
    return Listing(words, entries, settings.videos, {} if by_scene else PUBLISHED, notes)
