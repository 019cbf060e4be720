"""The clips that the demo's generator plans, and the list that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.data.entries import Entry, ListError, read_lines, video_id
from pipeline.data.sets.listing import Listing


def planned_entries(settings) -> list[Entry]:
    """All clips as entries, before validation is carved off; the workflow asks before any is made."""
    from pipeline.demo.plan import place, planned  # what draws is slow to import, and most sets are not generated

    return [
        Entry(
            video_id=clip.video_id,
            path=place(clip, settings),
            labels=(clip.label,),
            class_names=(clip.class_name,),
            split=clip.split,
            listed=clip.split,
            group=str(clip.group),
        )
        for clip in planned(settings)
    ]


def planned_graphs(settings) -> list[Entry]:
    """The same of generated scene graphs."""
    from pipeline.demo.graphs import class_names, plan_graphs

    names = class_names(settings)
    return [
        Entry(
            planned.video_id,
            planned.video_id,
            planned.labels(),
            tuple(names[label] for label in planned.labels()),
            planned.split,
            planned.split,
            planned.subject,
        )
        for planned in plan_graphs(settings)
    ]


def _rows(path: Path) -> Iterator[tuple[str, str, list[tuple[int, str]], str]]:
    for number, line in read_lines(path)[1:]:
        try:
            split, place, label, name, actor = line.split(",")
            yield split, place, list(zip(map(int, label.split(";")), name.split(";"), strict=True)), actor
        except ValueError:
            raise ListError(
                f"{path}, line {number}: expected split,path,label,class,actor; delete it and run the pipeline again"
            ) from None


def read(settings, root: Path) -> Listing:
    """Lines of split, path, label, class, actor, below a header; a scene graph has several labels, joined by `;`."""
    rows = list(_rows(root / ("lists.csv" if settings.source == "generated" else "graphs.csv")))
    names = [name for _, name in sorted({item for _, _, labelled, _ in rows for item in labelled})]
    entries = [
        Entry(video_id(PurePosixPath(place).stem), place, *zip(*labelled, strict=True), split, split, actor)
        for split, place, labelled, actor in rows
    ]
    return Listing(names, entries, settings.videos)
