"""A folder per class, of videos or of pictures; or train/, val/ and test/ with such folders inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.data.entries import PICTURE_SUFFIXES, VIDEO_SUFFIXES, Entry, GroupOf, ListError, split_named, video_id
from pipeline.data.lines import composed
from pipeline.data.sets.listing import Listing, check_test_groups, files_in, folders_in, grouping, own_class_list


def _what(suffixes: tuple[str, ...]) -> str:
    return "video" if suffixes == VIDEO_SUFFIXES else "picture"


def split_folders(folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Split → its folder, of a set that is laid out as split/class/file; empty where it is class/file.

    Raises:
        ListError: two folders are the same split.
    """
    found: dict[str, list[str]] = {}
    for name in folders_in(folder):
        split, place = split_named(name), folder / name
        # Videos beside class folders are left over; videos alone are those of a class, such as `train`.
        if split and (
            not files_in(place, suffixes) or any(files_in(place / inner, suffixes) for inner in folders_in(place))
        ):
            found.setdefault(split, []).append(name)
    if "train" not in found:
        return {}
    for split, names in found.items():
        if len(names) > 1:
            raise ListError(f"{folder} has {' and '.join(names)} for the split `{split}`; join or rename them")
    return {split: names[0] for split, names in found.items()}


def class_folders(folder: Path, suffixes: tuple[str, ...] = VIDEO_SUFFIXES) -> dict[str, str]:
    """Class → folder that holds such files, sorted; others, such as one with annotations, are no class.

    Raises:
        ListError: the folder does not exist, or holds no such folder, or two of one name.
    """
    if not folder.is_dir():
        raise ListError(f"{folder} does not exist; data_root and data.root name it, with one folder per class inside")
    found: dict[str, str] = {}
    for name in folders_in(folder):
        if files_in(folder / name, suffixes):
            if composed(name) in found:
                raise ListError(
                    f"{folder} has two folders {composed(name)}, with accents written in two ways; join them"
                )
            found[composed(name)] = name
    if not found:
        raise ListError(
            f"{folder} holds no folder with {_what(suffixes)}s; expected one folder per class with files ending in "
            f"{', '.join(suffixes)}"
        )
    return dict(sorted(found.items()))


def _from_classes(
    folder: Path, names: list[str], suffixes: tuple[str, ...], group_of: GroupOf, test_groups: list[str]
) -> Iterator[Entry]:
    groups, folders = set(), class_folders(folder, suffixes)
    for label, name in enumerate(names):
        if name not in folders:
            raise ListError(f"{folder / name} holds no {_what(suffixes)}; the class list names the class `{name}`")
        for file in files_in(folder / folders[name], suffixes):
            group = group_of(file)
            groups.add(group)
            split = "test" if group in test_groups else "train"
            place = f"{folders[name]}/{file}"
            yield Entry(video_id(place), place, (label,), (name,), split, split)
    check_test_groups(test_groups, groups)


def _from_splits(folder: Path, splits: dict[str, str], names: list[str], suffixes: tuple[str, ...]) -> Iterator[Entry]:
    """Entries of split/class/file; a class may be absent in validation and test."""
    for split in [split for split in ("train", "val", "test") if split in splits]:
        folders = class_folders(folder / splits[split], suffixes)
        unknown = set(folders) - set(names)
        if unknown:
            raise ListError(f"{folder / splits[split]} holds {', '.join(sorted(unknown)[:10])}, which train lacks")
        for label, name in enumerate(names):
            for file in files_in(folder / splits[split] / folders[name], suffixes) if name in folders else ():
                place = f"{splits[split]}/{folders[name]}/{file}"
                yield Entry(video_id(place), place, (label,), (name,), split, split)


def read(settings, root: Path) -> Listing:
    """A data set whose folders are its classes."""
    suffixes = VIDEO_SUFFIXES if settings.source == "folders" else PICTURE_SUFFIXES
    folder = root / settings.videos
    splits = split_folders(folder, suffixes)
    listed = own_class_list(settings, root)
    found = class_folders(folder / splits["train"] if splits else folder, suffixes)
    names = listed or list(found)
    unlisted = sorted(set(found) - set(names))
    if unlisted:
        raise ListError(
            f"{folder} has {len(unlisted)} folders that the class list does not name, for example `{unlisted[0]}`; add "
            f"them to data.index.class_list or move them elsewhere"
        )
    if splits:
        notes = [f"the folder {name} is the split `{split}`" for split, name in splits.items() if name != split]
        return Listing(names, list(_from_splits(folder, splits, names, suffixes)), settings.videos, notes=notes)
    if not settings.test_groups and not settings.test_fraction:
        raise ListError(
            "data.index.test_groups names no group and test_fraction is 0; without one of them there is no test split"
        )
    group_of, groups = grouping(settings.group_pattern), [name.casefold() for name in settings.test_groups]
    return Listing(names, list(_from_classes(folder, names, suffixes, group_of, groups)), settings.videos)
