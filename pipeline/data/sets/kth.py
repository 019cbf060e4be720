"""KTH (Schuldt, Laptev & Caputo 2004): long grey films of 25 persons, cut into clips by the authors' sequence list."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from pipeline.data.entries import VIDEO_SUFFIXES, Entry, ListError, read_lines, without_suffix
from pipeline.data.sets.listing import Listing, check_test_groups, find_file, folder_of, own_class_list

SEQUENCES = "00sequences.txt"
# The authors' split by person. Their other 16 persons are train (11–18) and validation (the rest).
TEST_PERSONS = tuple(f"person{number:02d}" for number in (22, 2, 3, 5, 6, 7, 8, 9, 10))
PUBLISHED = {"train": 1528, "test": 863}
_SEQUENCE = re.compile(r"(?P<film>(?P<person>person\d\d)_(?P<action>[a-z]+)_d\d)\s+frames\s+(?P<ranges>.*)")
_RANGE = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*")


def _films(videos: Path) -> dict[str, str]:
    """Name without ``_uncomp`` and suffix → path below the folder of the videos, at most one folder deep."""
    found = {}
    folders = ["", *sorted(entry.name for entry in os.scandir(videos) if entry.is_dir())] if videos.is_dir() else []
    for folder in folders:
        for name in sorted(os.listdir(videos / folder)):
            if name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith("."):
                film = without_suffix(name).removesuffix("_uncomp")
                found.setdefault(film, f"{folder}/{name}".lstrip("/"))
    return found


def _clips(path: Path) -> list[tuple[str, str, str, list[tuple[int, int]]]]:
    """Film, person, action and the frames of its clips, counted from 0, the end excluded."""
    result = []
    for number, line in read_lines(path):
        match = _SEQUENCE.fullmatch(line)
        if not match:
            continue  # the list begins with an explanation
        # Some lines end with a comma.
        parts = [part for part in match["ranges"].split(",") if part.strip()]
        ranges = [_RANGE.fullmatch(part) for part in parts]
        if not ranges or not all(ranges):
            raise ListError(f"{path}, line {number}: expected frames such as `1-95, 96-185`, found `{match['ranges']}`")
        frames = [(int(found[1]) - 1, int(found[2])) for found in ranges]
        if any(not 0 <= first < stop for first, stop in frames):
            raise ListError(
                f"{path}, line {number}: frames must count from 1 and end after they begin: `{match['ranges']}`"
            )
        result.append((match["film"], match["person"], match["action"], frames))
    if not result:
        raise ListError(f"{path} names no sequence; expected lines such as `person01_boxing_d1 frames 1-95, 96-185`")
    return result


def read(settings, root: Path) -> Listing:
    """One entry per sequence: ``person01_boxing_d1_0`` is the first one of its film."""
    videos = folder_of(root, settings.videos, "videos")
    names = own_class_list(settings, root, "kth")
    films = _films(root / videos)
    test = settings.test_groups or TEST_PERSONS
    entries = []
    for film, person, action, clips in _clips(find_file(root, SEQUENCES, videos)):
        label = names.index(action) if action in names else None
        split = "test" if person in test else "train"
        entry = Entry(
            video_id=film,
            path=films.get(film, f"{action}/{film}_uncomp.avi"),
            labels=() if label is None else (label,),
            class_names=() if label is None else (action,),
            split=split,
            listed=split,
            group=person,
            problem=None if label is not None else f"class `{action}` is not in the class list",
        )
        entries += [replace(entry, video_id=f"{film}_{k}", frames=frames) for k, frames in enumerate(clips)]
    check_test_groups(settings.test_groups, {entry.group for entry in entries})
    published = {"total": sum(PUBLISHED.values())} if settings.test_groups else PUBLISHED
    return Listing(names, entries, videos, published)
