"""The videos of a data set as the pipeline sees them: what its reader found, checked, and validation carved from train.

The workflow reads this while it is parsed, so it must stay fast for tens of thousands of lines.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.data.entries import CONTROL, Entry, ListError, without_suffix
from pipeline.data.lines import composed
from pipeline.data.sets import MADE, READERS
from pipeline.data.sets.listing import Listing, check_counts, grouping
from pipeline.data.sets.path_lists import entries_of_lists

# The group of all videos that a pattern does not fit.
UNGROUPED = "no group"
# The split of train videos that `data.index.train_per_class` leaves out.
SPARE = "spare"


def _check(entries: list[Entry], videos: Path, check_files: bool) -> list[Entry]:
    """Add what is wrong with single entries: it becomes a status and never stops the others."""
    counts = Counter(entry.video_id for entry in entries)
    splits = defaultdict(set)
    for entry in entries:
        splits[entry.video_id].add(entry.split)
    leaked = [key for key, found in splits.items() if len(found) > 1]
    if leaked:
        raise ListError(
            f"{len(leaked)} videos are in more than one split, for example `{leaked[0]}` in "
            f"{' and '.join(sorted(splits[leaked[0]]))}: test figures would be too good; correct the lists"
        )
    on_disk = _finder(videos)
    seen: set[str] = set()
    result = []
    for entry in entries:
        problem, path = entry.problem, entry.path
        if path.startswith("/") or ".." in path.split("/"):
            problem = "the path leaves the folder of the data set"
        elif entry.video_id in seen:
            problem = f"duplicate: the id is listed {counts[entry.video_id]} times"
        elif problem is None and CONTROL.search(path):
            path = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
            problem = "the file name has control characters or is not UTF-8; rename the file"
        elif problem is None and check_files:
            # Lists name videos where a data set also comes as one folder of pictures per video.
            path = on_disk(path) or on_disk(without_suffix(path)) or ""
            if not path:
                path, problem = entry.path, f"missing: {entry.path} is not on disk"
        seen.add(entry.video_id)
        changed = problem != entry.problem or path != entry.path
        result.append(replace(entry, problem=problem, path=path) if changed else entry)
    return result


def _finder(videos: Path) -> Callable[[str], str | None]:
    """Function from a path to the same as the file system spells it, None where nothing is there; see `composed`."""
    present: dict[str, tuple[str, dict[str, str]]] = {}

    def find(place: str) -> str | None:
        folder, name = os.path.split(place)
        if folder not in present:
            there = folder if folder.isascii() else find(folder) or folder
            try:
                names = os.listdir(os.path.join(videos, there))
            except (OSError, ValueError):
                names = []
            written = dict(zip(names, names, strict=True))
            present[folder] = there, {composed(other): other for other in names if not other.isascii()} | written
        there, names = present[folder]
        found = names.get(name)
        return place if found == name and there == folder else found and os.path.join(there, found)

    return find


def _score(text: str, seed: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.blake2b(f"{seed}|{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def carve_validation(entries: list[Entry], fraction: float, by: str, seed: int) -> list[Entry]:
    """Move about ``fraction`` of the train videos to ``val``, whole groups at a time if ``by`` is ``group``.

    Every class keeps a train video, and gets a validation video if it has a second unit (group or video) that no other
    class needs. Units are taken in the order of a hash of their name, so that adding a video moves as few others as
    possible. Where classes overlap in their groups so that no whole group can move, the class's own videos of one group
    move alone. A video of several classes counts for each of them; those of none are carved like a class.
    """

    def classes_of(rows: Iterable[int]) -> Counter[int | None]:
        return Counter(label for row in rows for label in entries[row].labels or (None,))

    units: dict[tuple[str, str], list[int]] = defaultdict(list)
    by_group = by == "group" and any(entry.group for entry in entries)
    train = [row for row, entry in enumerate(entries) if entry.split == "train" and entry.problem is None]
    for row in train:
        entry = entries[row]
        # Groups are shared by classes (the same actor): they must move as one. Videos move within their class.
        unit = ("", entry.group or entry.video_id) if by_group else (";".join(entry.class_names), entry.video_id)
        units[unit].append(row)
    total = classes_of(train)
    order = sorted(units, key=lambda unit: (_score("|".join(unit), seed), unit))
    labels_of = {unit: classes_of(rows) for unit, rows in units.items()}
    moved: Counter[int | None] = Counter()
    chosen: set[int] = set()

    def leaves_train(own: Counter[int | None]) -> bool:
        return all(total[label] - moved[label] > count for label, count in own.items())

    def move(rows: Iterable[int]) -> None:
        fresh = set(rows) - chosen
        moved.update(classes_of(fresh))
        chosen.update(fresh)

    for unit in order:
        own = labels_of[unit]
        wanted = any(moved[label] < max(1, round(fraction * total[label])) for label in own)
        too_many = len(chosen) + len(units[unit]) > max(1.25 * fraction * len(train), len(total))
        if wanted and not too_many and leaves_train(own):
            move(units[unit])
    for label in total:
        if moved[label]:
            continue
        # Few large groups: none fitted into the fraction.
        own_units = [unit for unit in order if labels_of[unit][label]]
        whole = [unit for unit in own_units if leaves_train(labels_of[unit])]
        if whole:
            move(units[min(whole, key=lambda unit: len(units[unit]))])
            continue
        parts = [[row for row in units[unit] if label in classes_of([row])] for unit in own_units]
        parts = [part for part in parts if leaves_train(classes_of(part))]
        if parts:
            move(min(parts, key=len))
    return [replace(entry, split="val") if row in chosen else entry for row, entry in enumerate(entries)]


def limited(entries: list[Entry], per_class: int, seed: int) -> list[Entry]:
    """Move train videos to the split `spare` until each class has at most ``per_class``, in the order of a hash.

    A video of several classes stays while one of them has too few; those of none are limited like a class.
    """
    train = [row for row, entry in enumerate(entries) if entry.split == "train" and entry.problem is None]
    kept: Counter[int | None] = Counter()
    spare = set()
    for row in sorted(train, key=lambda row: (_score(entries[row].video_id, seed), entries[row].video_id)):
        own = entries[row].labels or (None,)
        if any(kept[label] < per_class for label in own):
            kept.update(own)
        else:
            spare.add(row)
    return [replace(entry, split=SPARE) if row in spare else entry for row, entry in enumerate(entries)]


def _with_groups(entries: list[Entry], settings) -> tuple[list[Entry], list[str]]:
    """Groups by a pattern of the configuration, which comes before what the reader knows; and notes.

    Raises:
        ListError: the pattern fits no name, or not all and ``data.index.ungrouped`` does not say what becomes of these.
    """
    group_of = grouping(settings.group_pattern)
    grouped = [replace(entry, group=group_of(entry.path) or entry.group) for entry in entries]
    left = [PurePosixPath(entry.path).name for entry in grouped if not entry.group and entry.problem is None]
    fits = f"data.index.group_pattern `{settings.group_pattern}` matches"
    if not any(entry.group for entry in grouped):
        raise ListError(
            f"{fits} no file name, for example not `{PurePosixPath(entries[0].path).name}`; it is searched for in the "
            f"name without its folder"
        )
    if not left:
        return grouped, []
    named = ", ".join(f"`{name}`" for name in left[:10]) + (f" and {len(left) - 10} more" if len(left) > 10 else "")
    if settings.ungrouped == "stop":
        raise ListError(
            f"{fits} {len(entries) - len(left)} of {len(entries)} file names, not {named}; correct it (`(?i)` at the "
            f"start ignores capitals), or put all others in one group with data.index.ungrouped: one_group"
        )
    grouped = [replace(entry, group=entry.group or UNGROUPED) for entry in grouped]
    return grouped, [f"{len(left)} videos that group_pattern does not match form one group: {named}"]


def _torn_groups(entries: list[Entry], by: str) -> list[str]:
    """A note on groups whose videos are in several splits, but for train and validation where these go by video."""
    splits: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.group and entry.problem is None:
            as_train = entry.split == SPARE or (by == "video" and entry.split == "val")
            splits[entry.group].add("train" if as_train else entry.split)
    torn = sorted(group for group, found in splits.items() if len(found) > 1)
    if not torn:
        return []
    where = " and ".join(sorted(splits[torn[0]]))
    return [
        f"{len(torn)} of {len(splits)} groups are in more than one split, for example `{torn[0]}` in {where}: figures "
        f"measure memory too"
    ]


def _carve_test(entries: list[Entry], settings) -> list[Entry]:
    """A test split where the data set has none, taken as validation is."""
    carved = carve_validation(entries, settings.test_fraction, settings.validation_by, settings.seed)
    return [replace(entry, split="test", listed="test") if entry.split == "val" else entry for entry in carved]


def _validation_groups(entries: list[Entry], groups: list[str]) -> list[Entry]:
    absent = set(groups) - {entry.group for entry in entries if entry.split == "train"}
    if absent:
        raise ListError(
            f"data.index.validation_groups: no train video belongs to the group {', '.join(sorted(absent))}"
        )
    chosen = set(groups)
    return [
        replace(entry, split="val") if entry.split == "train" and entry.group in chosen else entry for entry in entries
    ]


def read_listing(settings, root: str | Path) -> Listing:
    """A data set with everything that is known about it; see `Listing`. Paths are relative to the root.

    Args:
        settings: the section ``data.index`` of the configuration.
        root: folder of the data set.

    Raises:
        ListError: a list or folder as a whole cannot be used, or a video is in two splits.
    """
    made = settings.source in MADE
    if settings.source != "synta" and not Path(root).is_dir():
        raise ListError(f"{root} does not exist; data_root and data.root name the folder of the data set")
    listing = READERS[settings.source](settings, Path(root))
    entries = listing.entries
    if not entries:
        raise ListError(f"no video is listed below {root}; write lines `path label` into the lists")
    entries = _check(entries, Path(root) / listing.videos, settings.check_files and settings.source != "synta")
    notes = [*listing.notes]
    if settings.group_pattern:
        entries, more = _with_groups(entries, settings)
        notes += more
    missing = check_counts(listing, entries)
    if listing.videos.strip("./"):
        prefix = listing.videos.rstrip("/") + "/"
        entries = [replace(entry, path=prefix + entry.path) for entry in entries]
    if settings.test_fraction and not any(entry.split == "test" for entry in entries):
        entries = _carve_test(entries, settings)
    if settings.train_per_class is not None:
        entries = limited(entries, settings.train_per_class, settings.seed)
    if settings.validation_groups:
        wanted = [name.casefold() if settings.group_pattern else name for name in settings.validation_groups]
        entries = _validation_groups(entries, wanted)
    elif not any(entry.split == "val" for entry in entries) and "val" not in settings.lists:
        entries = carve_validation(entries, settings.validation_fraction, settings.validation_by, settings.seed)
    if not made:  # its actors or identities are known to be where they are
        notes += _torn_groups(entries, settings.validation_by)
    return replace(listing, entries=entries, missing=missing, notes=notes)


def read_labelled_list(path: Path, names: list[str]) -> list[Entry]:
    """Videos of one list alone, in its order, labelled by the given class names; no file need exist.

    Raises:
        ListError: the list cannot be read or is empty.
    """
    entries = entries_of_lists({"test": path}, names)
    if not entries:
        raise ListError(f"{path} lists no video; write lines `path label`")
    return _check(entries, path.parent, check_files=False)


def read_entries(settings, root: str | Path) -> list[Entry]:
    """All videos of a data set, in the order of its lists, with validation carved from train; see `read_listing`."""
    return read_listing(settings, root).entries
