"""What lies in the folder of a data set and is used nowhere, and which videos are there twice.

It reads folders and bytes, so the workflow does not ask when it is parsed: the stage `index` and the commands do.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.data.entries import CONTROL, PICTURE_SUFFIXES, VIDEO_SUFFIXES, split_named
from pipeline.data.sets import MADE
from pipeline.data.sets.folders import split_folders
from pipeline.data.sets.listing import Listing
from pipeline.store.provenance import digest_of, digest_of_file

SHOWN = 10
# Files of one ending that are looked into; where none is a video, none of that ending is.
LOOKED_INTO = 20
# How containers begin: ISO (not its sound and pictures), AVI, Matroska, MPEG, FLV, ASF, RealMedia, transport streams, …
_VIDEO = re.compile(
    rb"(?s)....(?:ftyp(?!M4A |heic|mif1|avif)|moov|mdat)|RIFF....AVI |\x1aE\xdf\xa3|\x00\x00\x01[\xb3\xba]|FLV\x01|"
    rb"0&\xb2u\x8ef\xcf|\.RMF|G.{187}G|....G.{191}G|YUV4MPEG2|DKIF|\x06\x0e\+4\x02\x05|GIF8[79]a"
)


def with_findings(listing: Listing, settings, root: Path) -> Listing:
    """The listing with what is unused and what is there twice.

    Args:
        settings: the section ``data.index``; root: folder of the data set.
    """
    if settings.source in MADE or not settings.check_files:
        return listing
    # A class map leaves videos out on purpose, and its reader has said so.
    left = [] if settings.class_map else unused(listing, settings.source, root)
    return replace(listing, unused=left, copies=copies(listing, root))


# -------------------------------------------------------------------------------------------------------------- unused


def _folders(root: Path, taken: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Folders and their files below a root, without what is hidden and without folders that are videos themselves."""
    waiting, seen = [""], set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(root / folder)
            inside = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in seen:  # links may lead in circles
            continue
        seen.add((status.st_dev, status.st_ino))
        visible = [entry for entry in inside if not entry.name.startswith(".") and not CONTROL.search(entry.name)]
        yield folder, [entry.name for entry in visible if entry.is_file()]
        below = [f"{folder}/{entry.name}".lstrip("/") for entry in visible if entry.is_dir()]
        waiting += [path for path in reversed(below) if path not in taken]


def _begins_like_video(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return bool(_VIDEO.match(file.read(400)))
    except OSError:
        return False


@dataclass
class _Seen:
    """What lies in the folder of a class or, of lists, in a folder below that of the videos.

    Attributes:
        used: number of entries.
        left: videos that are no entry; pictures: folders of pictures below it; others: files of other endings.
        misnamed: those of the others that begin like a video.
    """

    used: int = 0
    left: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)


def _look(top: Path, taken: set[str], suffixes: tuple[str, ...], depth: int) -> dict[str, _Seen]:
    """What lies in each folder at a depth, and all that is below it."""
    seen: dict[str, _Seen] = defaultdict(_Seen)
    for folder, names in _folders(top, taken):
        key = "/".join(folder.split("/")[:depth])
        found = seen[key]
        for name in names:
            place = f"{folder}/{name}".lstrip("/")
            if place in taken:
                found.used += 1
            elif name.lower().endswith(suffixes):
                found.left.append(place)
            elif name.lower().endswith(PICTURE_SUFFIXES) and folder != key:
                found.pictures += [folder] if folder not in found.pictures[-1:] else []
            else:
                found.others.append(place)
    return seen


def _look_into(top: Path, seen: dict[str, _Seen]) -> None:
    """Move files that begin like a video from the others to the misnamed."""
    looked: Counter[str] = Counter()
    videos: set[str] = set()
    for found in seen.values():
        for place in found.others:
            ending = os.path.splitext(place)[1].lower()
            looked[ending] += 1
            if (looked[ending] <= LOOKED_INTO or ending in videos) and _begins_like_video(top / place):
                videos.add(ending)
                found.misnamed.append(place)
        found.others = [place for place in found.others if place not in found.misnamed]


def unused(listing: Listing, source: str, root: Path) -> list[str]:
    """Videos (of ``source: images`` pictures) below the folder of the videos that are no entry, one line per folder.

    Where folders are classes, folders and files that hold or are no video are told too. A file with another ending
    counts as a video if it begins like one.
    """
    top, by_class, pictures = root / listing.videos, source in ("folders", "images"), source == "images"
    suffixes, what = (PICTURE_SUFFIXES, "pictures") if pictures else (VIDEO_SUFFIXES, "videos")
    prefix = f"{listing.videos.strip('./')}/".lstrip("/")
    taken = {entry.path.removeprefix(prefix) for entry in listing.entries}
    splits = set(split_folders(top, suffixes).values()) if by_class else set()
    depth = 2 if splits else 1
    seen = _look(top, taken, suffixes, depth)
    if not pictures:
        _look_into(top, seen)
    lines = []
    for key, found in sorted(seen.items()):
        parts, where = key.split("/"), key or "the folder itself"
        if found.left:
            told, example = f"{len(found.left)} {what}", f"for example {found.left[0]}"
            if not by_class:
                lines.append(f"{where}: {told} are in no list of the data set, {example}")
            elif splits and parts[0] not in {"", *splits}:
                why = "has no class folders" if split_named(parts[0]) else "is not train, val or test"
                lines.append(f"the folder {key} {why}: its {told} are not read, {example}")
            elif not key or len(parts) < depth:
                lines.append(f"{told} are outside the class folders{f' in {key}' if key else ''}, {example}")
            elif found.used:
                lines.append(f"{key}: {told} in sub-folders are not read, {example}")
            else:
                lines.append(f"the folder {key} is not a class: its {told} are in sub-folders; move them up")
        if found.misnamed:
            told = f"{len(found.misnamed)} files have video content but another ending"
            lines.append(f"{where}: {told}, for example {found.misnamed[0]}; rename them")
        if not by_class or not key or len(parts) < depth:
            continue
        if found.pictures:
            told = f"{len(found.pictures)} sub-folders of pictures are not read, for example {found.pictures[0]}"
            lines.append(f"{key}: {told}{'' if pictures else '; lists can name them as videos'}")
        if not (found.used or found.left or found.misnamed or found.pictures):
            lines.append(f"the folder {key} has no {what[:-1]}, so it is not a class")
        elif found.others:
            example = os.path.basename(found.others[0])
            lines.append(f"{key}: {len(found.others)} files are not {what}, for example {example}")
    return first_lines(lines, "folders")


def first_lines(lines: list[str], of: str) -> list[str]:
    """The first of many lines, and how many more there are of the same things."""
    return [*lines[:SHOWN], f"and {len(lines) - SHOWN} more such {of}"] if len(lines) > SHOWN else lines


# -------------------------------------------------------------------------------------------------------------- copies


def copies(listing: Listing, root: Path) -> list[str]:
    """Videos of one content in several splits, one line per combination of splits.

    Sizes are compared first, then the first bytes, then all of them; of a folder of pictures their number and the sizes
    of the first and the last, then all bytes.
    """
    splits: dict[str, str] = {}
    for entry in listing.entries:
        if entry.problem is None and entry.frames is None:
            splits[entry.path] = entry.split
    groups: list[list[str]] = [list(splits)]
    for tell in (_size, _start, _content):
        groups = [part for group in groups for part in _parted(group, root, tell) if len({splits[p] for p in part}) > 1]
    found: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for group in groups:
        found[tuple(sorted({splits[place] for place in group}))].append(group)
    lines = []
    for names, same in sorted(found.items()):
        first = {splits[place]: place for place in reversed(same[0])}
        lines.append(
            f"{len(same)} videos are in {' and '.join(names)} with the same content, for example "
            f"{' = '.join(first[name] for name in names)}: figures would be too good; remove the copies"
        )
    return lines


def _parted(places: Iterable[str], root: Path, tell) -> list[list[str]]:
    """Places of the same answer; what cannot be read is left out, the stage that opens it says why."""
    parts: dict[object, list[str]] = defaultdict(list)
    for place in places:
        try:
            parts[tell(root / place)].append(place)
        except (OSError, ValueError):
            continue
    parts.pop((0,), None)  # files without a byte are no copies
    return [part for part in parts.values() if len(part) > 1]


def _pictures(folder: Path) -> list[Path]:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(PICTURE_SUFFIXES))
    return [folder / name for name in names]


def _size(path: Path) -> tuple[int, ...]:
    if not path.is_dir():
        return (os.stat(path).st_size,)
    pictures = _pictures(path)
    return (len(pictures), *(os.stat(picture).st_size for picture in (pictures[:1] + pictures[-1:])))


def _start(path: Path) -> bytes:
    if path.is_dir():
        return b""
    with open(path, "rb") as file:
        return file.read(2**16)


def _content(path: Path) -> str:
    return (
        digest_of([digest_of_file(picture) for picture in _pictures(path)]) if path.is_dir() else digest_of_file(path)
    )
