"""The clips that the demo's generator plans, and the list that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.data.entries import Entry, ListError, read_lines, video_id
from pipeline.data.sets.listing import Listing


def planned_entries(settings) -> list[Entry]:
    """All clips as entries, before validation is carved off; the workflow asks before any is made."""
    from pipeline.demo.plan import place, planned

    return [
        Entry(
            video_id=clip.video_id,
            path=place(clip, settings),
            label=clip.label,
            class_name=clip.class_name,
            split=clip.split,
            listed=clip.split,
            group=str(clip.group),
        )
        for clip in planned(settings)
    ]


def _rows(path: Path) -> Iterator[tuple[str, str, int, str, str]]:
    for number, line in read_lines(path)[1:]:
        try:
            split, place, label, name, actor = line.split(",")
            yield split, place, int(label), name, actor
        except ValueError:
            raise ListError(
                f"{path}, line {number}: expected split,path,label,class,actor; delete it and run the pipeline again"
            ) from None


def read(settings, root: Path) -> Listing:
    """Lines of split, path, label, class, actor, below a header."""
    rows = list(_rows(root / "lists.csv"))
    names = [name for _, name in sorted({(label, name) for _, _, label, name, _ in rows})]
    entries = [
        Entry(video_id(PurePosixPath(place).stem), place, label, name, split, split, actor)
        for split, place, label, name, actor in rows
    ]
    return Listing(names, entries, settings.videos)
