"""The list that the demo's generator writes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pipeline.data.entries import Entry, read_lines, video_id
from pipeline.data.sets.listing import Listing


def read(settings, root: Path) -> Listing:
    """Lines of split, path, label, class, actor, below a header."""
    rows = [line.split(",") for _, line in list(read_lines(root / "lists.csv"))[1:]]
    names = [name for _, name in sorted({(int(label), name) for _, _, label, name, _ in rows})]
    entries = [
        Entry(video_id(PurePosixPath(place).stem), place, int(label), name, split, split, actor)
        for split, place, label, name, actor in rows
    ]
    return Listing(names, entries, settings.videos)
