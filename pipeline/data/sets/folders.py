"""A folder per class, of videos or of pictures; or train/, val/ and test/ with such folders inside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.data.entries import PICTURE_SUFFIXES, VIDEO_SUFFIXES, Entry, GroupOf, ListError, video_id
from pipeline.data.sets.listing import Listing, check_test_groups, files_in, grouping, own_class_list

# Folders in which a set may keep its splits.
SPLIT_FOLDERS = ("train", "val", "test")


def _what(suffixes: tuple[str, ...]) -> str:
    return "video" if suffixes == VIDEO_SUFFIXES else "picture"


def split_folders(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Splits of a set that is laid out as split/class/file; empty where it is class/file."""
    found = [name for name in SPLIT_FOLDERS if (folder / name).is_dir() and not files_in(folder / name, suffixes)]
    return found if "train" in found else []


def class_folders(folder: Path, suffixes: tuple[str, ...] = VIDEO_SUFFIXES) -> list[str]:
    """Names of the folders that hold such files, sorted; others, such as one with annotations, are no class.

    Raises:
        ListError: the folder does not exist, or holds no such folder.
    """
    if not folder.is_dir():
        raise ListError(f"{folder} does not exist; data_root and data.root name it, with one folder per class inside")
    folders = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    found = [name for name in folders if files_in(folder / name, suffixes)]
    if not found:
        raise ListError(
            f"{folder} holds no folder with {_what(suffixes)}s; expected one folder per class with files ending in "
            f"{', '.join(suffixes)}"
        )
    return found


def _from_classes(
    folder: Path, names: list[str], suffixes: tuple[str, ...], group_of: GroupOf, test_groups: list[str]
) -> Iterator[Entry]:
    groups = set()
    for label, name in enumerate(names):
        files = files_in(folder / name, suffixes)
        if not files:
            raise ListError(f"{folder / name} holds no {_what(suffixes)}; the class list names the class `{name}`")
        for file in files:
            groups.add(group_of(file))
            split = "test" if group_of(file) in test_groups else "train"
            yield Entry(video_id(f"{name}/{file}"), f"{name}/{file}", (label,), (name,), split, split)
    check_test_groups(test_groups, groups)


def _from_splits(folder: Path, splits: list[str], names: list[str], suffixes: tuple[str, ...]) -> Iterator[Entry]:
    """Entries of split/class/file; a class may be absent in validation and test."""
    for split in splits:
        for label, name in enumerate(names):
            for file in files_in(folder / split / name, suffixes):
                place = f"{split}/{name}/{file}"
                yield Entry(video_id(place), place, (label,), (name,), split, split)
        unknown = set(class_folders(folder / split, suffixes)) - set(names)
        if unknown:
            raise ListError(f"{folder / split} holds {', '.join(sorted(unknown)[:10])}, which train does not have")


def read(settings, root: Path) -> Listing:
    """A data set whose folders are its classes."""
    suffixes = VIDEO_SUFFIXES if settings.source == "folders" else PICTURE_SUFFIXES
    folder = root / settings.videos
    splits = split_folders(folder, suffixes)
    listed = own_class_list(settings, root)
    found = class_folders(folder / "train" if splits else folder, suffixes)
    names = listed or found
    unlisted = sorted(set(found) - set(names))
    if unlisted:
        raise ListError(
            f"{folder} has {len(unlisted)} folders that the class list does not name, for example `{unlisted[0]}`; add "
            f"them to data.index.class_list or move them elsewhere"
        )
    if splits:
        return Listing(names, list(_from_splits(folder, splits, names, suffixes)), settings.videos)
    if not settings.test_groups and not settings.test_fraction:
        raise ListError(
            "data.index.test_groups names no group and test_fraction is 0; without one of them there is no test split"
        )
    group_of = grouping(settings.group_pattern)
    return Listing(names, list(_from_classes(folder, names, suffixes, group_of, settings.test_groups)), settings.videos)
