"""Mimetics (Weinzaepfel & Rogez 2021): mimed actions of 50 Kinetics classes. For tests only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.data.entries import VIDEO_SUFFIXES, Entry, read_class_list, video_id
from pipeline.data.sets.listing import (
    CLASSES,
    PROJECT,
    Listing,
    files_in,
    folder_of,
    own_class_list,
    read_class_map,
)
from pipeline.data.sets.path_lists import entries_of_lists

PUBLISHED = {"test": 713}


def _mapped(entry: Entry, mapped: dict[str, str], ours: list[str]) -> Entry:
    labels = tuple(sorted({ours.index(mapped[name]) for name in entry.class_names if name in mapped}))
    return replace(entry, labels=labels, class_names=tuple(ours[label] for label in labels))


def read(settings, root: Path) -> Listing:
    """A list or a folder per class; with ``class_map`` the classes of a trained model instead of its own.

    Clips of classes that the map does not name are left out: the model cannot be right about them.
    """
    videos = folder_of(root, settings.videos, "videos")
    own = read_class_list(CLASSES / "mimetics.txt")
    if settings.lists:
        entries = entries_of_lists({split: root / path for split, path in settings.lists.items()}, own)
    else:
        entries = [
            Entry(video_id(f"{name}/{file}"), f"{name}/{file}", (label,), (name,), "test", "test")
            for label, name in enumerate(own)
            for file in files_in(root / videos / name, VIDEO_SUFFIXES)
        ]
    if not settings.class_map:
        return Listing(own, entries, videos, PUBLISHED, test_only=True)
    ours = own_class_list(settings, root, "ucf101")
    place = root / settings.class_map
    mapped = read_class_map(place if place.is_file() else PROJECT / settings.class_map, own, ours)
    kept = [entry for entry in (_mapped(entry, mapped, ours) for entry in entries) if entry.labels]
    left_out = [name for name in own if name not in mapped]
    note = (
        f"{len(entries) - len(kept)} videos of {len(left_out)} classes without a counterpart are left out: "
        f"{', '.join(left_out)}"
    )
    # The published count is that of all classes, so it is compared here.
    missing = []
    if len(entries) != PUBLISHED["test"]:
        missing.append(f"test: {len(entries)} videos are listed, {PUBLISHED['test']} are published")
    return Listing(ours, kept, videos, notes=[note], missing=missing, test_only=True)
