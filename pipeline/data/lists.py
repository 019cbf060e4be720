"""Which videos a data set has: lists, folders per class, splits, ids and shards.

The workflow reads this while it is parsed, so it must stay fast for tens of thousands of lines: standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

VIDEO_SUFFIXES = frozenset(".avi .m4v .mkv .mov .mp4 .mpeg .mpg .webm".split())
_PLAIN = re.compile(r"[A-Za-z0-9_.-]")


class ListError(ValueError):
    """A mistake about a whole list or folder: file, line and what would be right."""


@dataclass(frozen=True)
class Entry:
    """One video of a data set.

    Attributes:
        video_id: file-name safe and unique; see `video_id`.
        path: relative to the root of the data set, with forward slashes.
        label: index into the class names, None where it is unknown.
        split: train, val, test or a further test split.
        listed: the split under which the data set itself lists it (val is carved from train).
        group: actor, source video or the like; validation is carved by it.
        problem: why the video cannot be used; None if it can.
    """

    video_id: str
    path: str
    label: int | None
    class_name: str | None
    split: str
    listed: str
    group: str | None = None
    problem: str | None = None

    def in_shard(self, index: int, count: int) -> bool:
        return shard_of(self.video_id, count) == index


def video_id(path: str) -> str:
    """Id of a video from its relative path: injective, and safe as a file name.

    The extension is left out, ``/`` becomes ``__``, and every other character outside of ``A-Z a-z 0-9 . -`` and the
    single underscore is written as ``%`` and its UTF-8 bytes in hexadecimal; so is an underscore that touches another
    underscore or a slash, which keeps ``a/b`` and ``a__b`` apart.
    """
    parts = str(PurePosixPath(path.replace("\\", "/")).with_suffix("")).split("/")
    escaped = []
    for part in parts:
        text = ""
        for position, letter in enumerate(part):
            lonely = part[position - 1 : position] != "_" and part[position + 1 : position + 2] != "_"
            at_edge = len(parts) > 1 and position in (0, len(part) - 1)
            if _PLAIN.fullmatch(letter) and (letter != "_" or (lonely and not at_edge)):
                text += letter
            else:
                text += "".join(f"%{byte:02X}" for byte in letter.encode())
        escaped.append(text)
    return "__".join(escaped)


def shard_of(key: str, count: int) -> int:
    """Shard of a video id: a hash, so that adding a video moves no other one."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") % count


# --------------------------------------------------------------------------------------------------------------- lists


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ListError(f"{path} does not exist; data.index.lists or class_list names it, below the data set's root") from None
    except (UnicodeDecodeError, OSError) as error:
        raise ListError(f"{path} cannot be read as UTF-8 text ({error})") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def read_class_list(path: Path) -> list[str]:
    """Class names in label order; ``1 ApplyEyeMakeup`` (UCF-101) counts from 1 and is put in order.

    Raises:
        ListError: missing, empty, or a name is there twice.
    """
    names = [line for _, line in _lines(path)]
    numbered = [re.fullmatch(r"(\d+)[\s,]+(.+)", name) for name in names]
    if names and all(numbered):
        names = [match[2] for match in sorted(numbered, key=lambda match: int(match[1]))]
    if not names:
        raise ListError(f"{path} names no class; write one class name per line")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ListError(f"{path} names the class `{twice[0]}` more than once")
    return names


def _read_list(path: Path, split: str, names: list[str], offset: int) -> Iterator[Entry]:
    """Lines ``path label`` or ``path,label`` (the last separator counts), or a bare path whose folder is the class."""
    by_name = {name: label for label, name in enumerate(names)}
    by_spoken = {_plain(name): label for label, name in enumerate(names)}
    for number, line in _lines(path):
        place, label_text = _part(line)
        parent = PurePosixPath(place).parent.name
        text = label_text if label_text is not None else parent
        label, problem = None, None
        if re.fullmatch(r"-?\d+", text) and label_text is not None:
            label = int(text) - offset
            if not 0 <= label < len(names):
                label, problem = None, f"label {text} is not among the {len(names)} classes"
        elif text in by_name or _plain(text) in by_spoken:
            label = by_name.get(text, by_spoken.get(_plain(text)))
        else:
            problem = f"class `{text}` is not in the class list"
        if not place or place.endswith("/"):
            problem = f"line {number} of {path.name} names no video: `{line[:80]}`"
        yield Entry(
            video_id(place or f"line-{number}"), place, label, None if label is None else names[label],
            split, split, None, problem,
        )


def _from_generated(path: Path, names: list[str]) -> Iterator[Entry]:
    """The list that the demo's generator writes: split, path, label, class, actor, with a header."""
    for _, line in list(_lines(path))[1:]:
        split, place, _, name, actor = line.split(",")
        yield Entry(video_id(PurePosixPath(place).name), place, names.index(name), name, split, split, actor)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _part(line: str) -> tuple[str, str | None]:
    """(path, label or None): labels stand behind the last comma, or behind the last blank if a suffix ends before it."""
    if "," in line:
        place, _, label = line.rpartition(",")
        return place.strip().replace("\\", "/"), label.strip()
    match = re.fullmatch(r"(.+\S)\s+(\S+)", line)
    if match and (PurePosixPath(match[1]).suffix.lower() in VIDEO_SUFFIXES or re.fullmatch(r"-?\d+", match[2])):
        return match[1].replace("\\", "/"), match[2]
    return line.replace("\\", "/"), None


def _label_offset(paths: Iterable[Path], names: list[str]) -> int:
    """1 where the numeric labels of the lists run from 1 to the number of classes, as in the official UCF-101 lists."""
    labels = set()
    for path in paths:
        for _, line in _lines(path):
            label = _part(line)[1]
            if label is not None and re.fullmatch(r"\d+", label):
                labels.add(int(label))
    return int(bool(labels) and 0 not in labels and max(labels) == len(names))


def _from_folders(folder: Path, names: list[str], test_group) -> Iterator[Entry]:
    for label, name in enumerate(names):
        for file in sorted((folder / name).iterdir(), key=lambda path: path.name) if (folder / name).is_dir() else []:
            if file.suffix.lower() in VIDEO_SUFFIXES:
                place = f"{name}/{file.name}"
                split = test_group(place)
                yield Entry(video_id(place), place, label, name, split, split)


def class_folders(folder: Path) -> list[str]:
    """Names of the folders that hold videos, sorted."""
    if not folder.is_dir():
        raise ListError(f"{folder} does not exist; data_root and data.root name it, with one folder per class inside")
    found = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        raise ListError(f"{folder} holds no folder; expected one folder of videos per class")
    return found


def read_class_names(settings, root: str | Path) -> list[str]:
    """Class names of a data set in label order: its class list, or the names of its folders."""
    root = Path(root)
    if settings.source == "generated":
        labelled = {tuple(line.split(",")[2:4]) for _, line in list(_lines(root / "lists.csv"))[1:]}
        return [name for _, name in sorted(labelled, key=lambda pair: int(pair[0]))]
    if settings.class_list:
        return read_class_list(root / settings.class_list)
    if settings.source == "folders":
        return class_folders(root / settings.videos)
    names = {label for path in settings.lists.values() for _, line in _lines(root / path) if (label := _part(line)[1])}
    if any(re.fullmatch(r"-?\d+", name) for name in names) or not names:
        raise ListError("the lists hold numbers for labels; name the file with the class names in data.index.class_list")
    return sorted(names)


# -------------------------------------------------------------------------------------------------------------- splits


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
            f"{' and '.join(sorted(splits[leaked[0]]))}: test figures would be too good; mend the lists"
        )
    present: dict[str, set[str]] = {}
    seen: set[str] = set()
    result = []
    for entry in entries:
        problem = entry.problem
        parts = PurePosixPath(entry.path).parts
        if entry.path.startswith("/") or ".." in parts:
            problem = "the path leaves the folder of the data set"
        elif counts[entry.video_id] > 1 and entry.video_id in seen:
            problem = f"duplicate: the id is listed {counts[entry.video_id]} times"
        elif problem is None and check_files:
            folder = str(videos.joinpath(*parts[:-1]))
            if folder not in present:
                present[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            if parts[-1] not in present[folder]:
                problem = f"missing: {entry.path} is not on disk"
        seen.add(entry.video_id)
        result.append(replace(entry, problem=problem) if problem != entry.problem else entry)
    return result


def _score(text: str, seed: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.blake2b(f"{seed}|{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def carve_validation(entries: list[Entry], fraction: float, by: str, seed: int) -> list[Entry]:
    """Move about ``fraction`` of the train videos to ``val``, whole groups at a time if ``by`` is ``group``.

    Every class keeps a train video; it gets a validation video if it has a second unit (group or video). Units are
    taken in the order of a hash of their name, so that adding a video moves as few others as possible.
    """
    units: dict[tuple[str, str], list[int]] = defaultdict(list)
    by_group = by == "group" and any(entry.group for entry in entries)
    total: Counter[int | None] = Counter()
    for row, entry in enumerate(entries):
        if entry.split == "train" and entry.problem is None:
            # Groups are shared by classes (the same actor): they must move as one. Videos move within their class.
            unit = ("", entry.group or entry.video_id) if by_group else (entry.class_name or "", entry.video_id)
            units[unit].append(row)
            total[entry.label] += 1
    moved: Counter[int | None] = Counter()
    chosen: set[int] = set()
    for unit in sorted(units, key=lambda unit: (_score("|".join(unit), seed), unit)):
        rows = units[unit]
        own = Counter(entries[row].label for row in rows)
        wanted = any(moved[label] < max(1, round(fraction * total[label])) for label in own)
        kept = all(total[label] - moved[label] - count >= 1 for label, count in own.items())
        enough = sum(moved.values()) + len(rows) <= max(1.25 * fraction * sum(total.values()), len(total))
        if wanted and kept and enough:
            chosen.update(rows)
            moved.update(own)
    return [replace(entry, split="val") if row in chosen else entry for row, entry in enumerate(entries)]


def read_entries(settings, root: str | Path) -> list[Entry]:
    """All videos of a data set, in the order of its lists, with validation carved from train.

    Args:
        settings: the section ``data.index`` of the configuration.
        root: folder of the data set.

    Raises:
        ListError: a list or folder as a whole cannot be used, or a video is in two splits.
    """
    root = Path(root)
    names = read_class_names(settings, root)
    pattern = re.compile(settings.group_pattern) if settings.group_pattern else None
    if pattern and "group" not in pattern.groupindex:
        raise ListError("data.index.group_pattern needs a part named group, such as (?P<group>[a-z]+)")

    def group_of(place: str) -> str | None:
        match = pattern.search(PurePosixPath(place).name) if pattern else None
        return match["group"] if match else None

    if settings.source == "generated":
        entries = list(_from_generated(root / "lists.csv", names))
    elif settings.source == "folders":
        if not settings.test_groups:
            raise ListError("data.index.test_groups names no group; without it there is no test split")
        tests = set(settings.test_groups)
        entries = list(
            _from_folders(root / settings.videos, names, lambda place: "test" if group_of(place) in tests else "train")
        )
    else:
        if "train" not in settings.lists:
            raise ListError("data.index.lists names no list for `train`")
        offset = _label_offset((root / path for path in settings.lists.values()), names)
        entries = [
            entry for split, path in settings.lists.items() for entry in _read_list(root / path, split, names, offset)
        ]
    if not entries:
        raise ListError(f"no video is listed below {root}; expected files ending in {', '.join(sorted(VIDEO_SUFFIXES))}")
    if pattern:
        entries = [replace(entry, group=group_of(entry.path)) for entry in entries]
    entries = _check(entries, root / settings.videos, settings.check_files)
    entries = [
        replace(entry, path=str(PurePosixPath(settings.videos, entry.path))) if settings.videos else entry
        for entry in entries
    ]
    if "val" in settings.lists:
        return entries
    return carve_validation(entries, settings.validation_fraction, settings.validation_by, settings.seed)


def members_digest(
    entries: list[Entry], shard: int | None, count: int, root: str | Path | None, *, with_labels: bool = False
) -> str:
    """Digest of the videos of one shard (or of all): ids, paths and, below ``root``, size and time of change.

    A stage gets it as a parameter, so that it runs again when one of its videos is added, replaced or removed.
    """
    digest = hashlib.blake2b(digest_size=8)
    for entry in sorted(entries, key=lambda entry: (entry.video_id, entry.listed)):
        if shard is not None and not entry.in_shard(shard, count):
            continue
        parts = [entry.video_id, entry.path, entry.problem or ""]
        if with_labels:
            parts += [str(entry.label), str(entry.class_name), entry.split, str(entry.group)]
        if root is not None and entry.problem is None:
            try:
                status = os.stat(os.path.join(root, entry.path))
                parts += [str(status.st_size), str(status.st_mtime_ns)]
            except OSError:
                parts.append("absent")
        digest.update("\0".join(parts).encode() + b"\n")
    return digest.hexdigest()
