"""Which videos a data set has: lists, folders per class, splits, ids and shards.

The workflow reads this while it is parsed, so it must stay fast for tens of thousands of lines: standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

PROJECT = Path(__file__).resolve().parent.parent.parent
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
# Folders in which a set of pictures may keep its splits.
SPLIT_FOLDERS = ("train", "val", "test")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]|(?<=_)_|_(?=_)")
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # a surrogate stands for a byte that is not UTF-8
_UNSAFE_IN_FOLDER = re.compile(_UNSAFE.pattern + r"|^_|_$")


GroupOf = Callable[[str], str | None]


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
    """Id of a video from its relative path: safe as a file name, and injective for names that differ before the suffix.

    A video suffix is left out, ``/`` becomes ``__``, and every other character outside of ``A-Z a-z 0-9 . -`` and the
    single underscore is written as ``%`` and its UTF-8 bytes in hexadecimal; so is an underscore that touches another
    underscore or a slash, which keeps ``a/b`` and ``a__b`` apart. Files that differ in the suffix alone share an id;
    a list that names both has a duplicate.
    """
    path = _without_suffix(path.replace("\\", "/"))
    parts = [part for part in path.split("/") if part not in ("", ".")]
    unsafe = _UNSAFE_IN_FOLDER if len(parts) > 1 else _UNSAFE
    return "__".join([unsafe.sub(_escape, part) for part in parts]) or "%2F"


def _escape(match: re.Match[str]) -> str:
    # Names of files that are not UTF-8 reach Python as lone surrogates, one for each byte.
    return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogateescape"))


def _without_suffix(path: str) -> str:
    for suffix in VIDEO_SUFFIXES:
        if path[-len(suffix) :].lower() == suffix:
            return path[: -len(suffix)]
    return path


@lru_cache(maxsize=2**18)
def shard_of(key: str, count: int) -> int:
    """Shard of a video id: a hash, so that adding a video moves no other one."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") % count


# --------------------------------------------------------------------------------------------------------------- lists


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ListError(
            f"{path} does not exist; data.index.lists or class_list names it, below the data set's root"
        ) from None
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
    if all(numbered):
        numbered.sort(key=lambda match: int(match[1]))
        first = int(numbered[0][1]) if numbered else 0
        # Only a count is a numbering: `100 m run` and `200 m run` are names.
        if first in (0, 1) and [int(match[1]) for match in numbered] == list(range(first, first + len(names))):
            names = [match[2] for match in numbered]
    if not names:
        raise ListError(f"{path} names no class; write one class name per line")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ListError(f"{path} names the class `{twice[0]}` more than once")
    return names


@dataclass(frozen=True)
class _Line:
    """One line of a list: the path as it stands there, and the label as text, None if there is none."""

    number: int
    place: str
    label: str | None


def _read_list(path: Path, names: Iterable[str]) -> list[_Line]:
    """Lines of one list; ``names`` are the class names, as far as they are known."""
    known = set(names)
    with_blanks = [name for name in known if " " in name]
    return [_Line(number, *_part(line, known, with_blanks)) for number, line in _lines(path)]


def _part(line: str, known: set[str], with_blanks: list[str]) -> tuple[str, str | None]:
    """Path, and the label behind the last comma or blank.

    Paths may hold commas and blanks themselves; what is behind the last one is a label if it is a number or a class
    name. ``folder n_frames label``, mmaction2's list of frame folders, is read as well.
    """
    if line.lower().endswith(VIDEO_SUFFIXES):
        return _unquoted(line), None
    place, comma, label = (text.strip() for text in line.rpartition(","))
    if comma and (label.isdecimal() or label in known):
        return _unquoted(place), label
    blank = re.fullmatch(r"(.*\S)\s+(\S+)", line)
    if blank and (blank[2].isdecimal() or blank[2] in known):
        counted = re.fullmatch(r"(.*\S)\s+\d+", blank[1])
        if counted and blank[2].isdecimal() and not blank[1].lower().endswith(VIDEO_SUFFIXES):
            return _unquoted(counted[1]), blank[2]
        return _unquoted(blank[1]), blank[2]
    for name in with_blanks:
        if line.endswith(" " + name):
            return _unquoted(line[: -len(name)].strip()), name
    if comma:
        return _unquoted(place), label
    if blank and blank[1].lower().endswith(VIDEO_SUFFIXES):
        return _unquoted(blank[1]), blank[2]
    return _unquoted(line), None


def _unquoted(place: str) -> str:
    """Without the quotation marks that a CSV writer puts around a path with a comma; with forward slashes."""
    if len(place) > 1 and place[0] == place[-1] == '"':
        place = place[1:-1].replace('""', '"')
    return place.replace("\\", "/")


def _from_list(path: Path, lines: list[_Line], split: str, names: list[str], offset: int) -> Iterator[Entry]:
    """Entries of one list; the label of a bare path is its folder."""
    by_name = {_plain(name): label for label, name in enumerate(names)} | {name: i for i, name in enumerate(names)}
    for line in lines:
        label, problem = None, None
        text = PurePosixPath(line.place).parent.name if line.label is None else line.label
        if text in by_name:
            label = by_name[text]
        elif re.fullmatch(r"-?\d+", text) and line.label is not None:
            label = int(text) - offset
            if not 0 <= label < len(names):
                label, problem = None, f"label {text} is not among the {len(names)} classes"
        else:
            label = by_name.get(_plain(text))
            problem = f"class `{text}` is not in the class list" if label is None else None
        if not line.place or line.place.endswith("/"):
            problem = f"line {line.number} of {path.name} names no video"
        yield Entry(
            video_id=video_id(line.place or f"line-{line.number}"),
            path=line.place,
            label=label,
            class_name=None if label is None else names[label],
            split=split,
            listed=split,
            problem=problem,
        )


def _from_generated(path: Path, names: list[str]) -> Iterator[Entry]:
    """The list that the demo's generator writes: split, path, label, class, actor, with a header."""
    for _, line in list(_lines(path))[1:]:
        split, place, _, name, actor = line.split(",")
        yield Entry(video_id(PurePosixPath(place).stem), place, names.index(name), name, split, split, actor)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _label_offset(lists: Iterable[list[_Line]], n_classes: int) -> int:
    """1 where the numeric labels of the lists run from 1 to the number of classes, as in the official UCF-101 lists."""
    labels = {int(line.label) for lines in lists for line in lines if line.label and line.label.isdecimal()}
    return int(bool(labels) and 0 not in labels and max(labels) == n_classes)


def _files_in(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Names of the videos or pictures in a folder, sorted; hidden ones are leftovers of other systems."""
    if not folder.is_dir():
        return []
    found = (entry.name for entry in os.scandir(folder))
    return sorted(name for name in found if name.lower().endswith(suffixes) and not name.startswith("."))


def _from_folders(
    folder: Path, names: list[str], suffixes: tuple[str, ...], group_of: GroupOf, test_groups: list[str]
) -> Iterator[Entry]:
    groups = set()
    for label, name in enumerate(names):
        files = _files_in(folder / name, suffixes)
        if not files:
            what = "video" if suffixes == VIDEO_SUFFIXES else "picture"
            raise ListError(f"{folder / name} holds no {what}; the class list names the class `{name}`")
        for file in files:
            groups.add(group_of(file))
            split = "test" if group_of(file) in test_groups else "train"
            yield Entry(video_id(f"{name}/{file}"), f"{name}/{file}", label, name, split, split)
    absent = set(test_groups) - groups
    if absent:
        present = ", ".join(sorted(filter(None, groups))[:20])
        raise ListError(
            f"data.index.test_groups: no file is of the group {', '.join(sorted(absent))}; there are {present}"
        )


def _split_folders(folder: Path) -> list[str]:
    """Splits of a set of pictures that is laid out as split/class/picture; empty where it is class/picture."""
    found = [
        name for name in SPLIT_FOLDERS if (folder / name).is_dir() and not _files_in(folder / name, PICTURE_SUFFIXES)
    ]
    return found if "train" in found else []


def _from_split_folders(folder: Path, splits: list[str], names: list[str]) -> Iterator[Entry]:
    """Entries of split/class/picture; a class may be absent in validation and test."""
    for split in splits:
        for label, name in enumerate(names):
            for file in _files_in(folder / split / name, PICTURE_SUFFIXES):
                place = f"{split}/{name}/{file}"
                yield Entry(video_id(place), place, label, name, split, split)
        unknown = set(class_folders(folder / split, PICTURE_SUFFIXES)) - set(names)
        if unknown:
            raise ListError(f"{folder / split} holds {', '.join(sorted(unknown)[:10])}, which train does not have")


def class_folders(folder: Path, suffixes: tuple[str, ...] = VIDEO_SUFFIXES) -> list[str]:
    """Names of the folders that hold such files, sorted; others, such as one with annotations, are no class."""
    if not folder.is_dir():
        raise ListError(f"{folder} does not exist; data_root and data.root name it, with one folder per class inside")
    folders = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    found = [name for name in folders if _files_in(folder / name, suffixes)]
    if not found:
        what = "videos" if suffixes == VIDEO_SUFFIXES else "pictures"
        raise ListError(
            f"{folder} holds no folder with {what}; expected one folder per class with files ending in "
            f"{', '.join(suffixes)}"
        )
    return found


def read_class_names(settings, root: str | Path) -> list[str]:
    """Class names of a data set in label order: its class list, or the names of its folders."""
    root = Path(root)
    if settings.source == "generated":
        labelled = {tuple(line.split(",")[2:4]) for _, line in list(_lines(root / "lists.csv"))[1:]}
        return [name for _, name in sorted(labelled, key=lambda pair: int(pair[0]))]
    if settings.class_list:
        # The project ships the class names of published data sets; a list below the data set's own root comes first.
        own = root / settings.class_list
        return read_class_list(own if own.is_file() else PROJECT / settings.class_list)
    if settings.source == "folders":
        return class_folders(root / settings.videos)
    if settings.source == "images":
        folder = root / settings.videos
        return class_folders(folder / "train" if _split_folders(folder) else folder, PICTURE_SUFFIXES)
    names = set()
    for path in settings.lists.values():
        for line in _read_list(root / path, ()):
            names.add(PurePosixPath(line.place).parent.name if line.label is None else line.label)
            if line.label and line.label.isdecimal():
                raise ListError(
                    f"{root / path}, line {line.number}: labels are numbers there; "
                    "name the file with the class names in data.index.class_list"
                )
    if not names - {""}:
        raise ListError("the lists name no class: write `path label`, or put the videos of a class into its folder")
    return sorted(names - {""})


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

    def on_disk(place: str) -> bool:
        folder, name = os.path.split(place)
        if folder not in present:
            whole = os.path.join(videos, folder)
            present[folder] = set(os.listdir(whole)) if os.path.isdir(whole) else set()
        return name in present[folder]

    seen: set[str] = set()
    result = []
    for entry in entries:
        problem, path = entry.problem, entry.path
        if path.startswith("/") or ".." in path.split("/"):
            problem = "the path leaves the folder of the data set"
        elif entry.video_id in seen:
            problem = f"duplicate: the id is listed {counts[entry.video_id]} times"
        elif problem is None and _CONTROL.search(path):
            path = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
            problem = "the file name has control characters or is not UTF-8; rename the file"
        elif problem is None and check_files and not on_disk(path):
            # Lists name videos where a data set also comes as one folder of pictures per video.
            path = _without_suffix(path)
            if path == entry.path or not on_disk(path):
                path, problem = entry.path, f"missing: {entry.path} is not on disk"
        seen.add(entry.video_id)
        changed = problem != entry.problem or path != entry.path
        result.append(replace(entry, problem=problem, path=path) if changed else entry)
    return result


def _grouping(pattern: str) -> GroupOf:
    """Function from a path to its group: the part named ``group`` of the pattern in the file name, else None."""
    if not pattern:
        return lambda place: None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ListError(f"data.index.group_pattern `{pattern}` is no regular expression: {error}") from None
    if "group" not in compiled.groupindex:
        raise ListError("data.index.group_pattern needs a part named group, such as (?P<group>[a-z]+)")

    def group_of(place: str) -> str | None:
        match = compiled.search(place.rpartition("/")[2])
        return match["group"] if match else None

    return group_of


def _score(text: str, seed: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.blake2b(f"{seed}|{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def carve_validation(entries: list[Entry], fraction: float, by: str, seed: int) -> list[Entry]:
    """Move about ``fraction`` of the train videos to ``val``, whole groups at a time if ``by`` is ``group``.

    Every class keeps a train video, and gets a validation video if it has a second unit (group or video). Units are
    taken in the order of a hash of their name, so that adding a video moves as few others as possible. Where classes
    overlap in their groups so that no whole group can move, the class's own videos of one group move alone.
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
    order = sorted(units, key=lambda unit: (_score("|".join(unit), seed), unit))
    labels_of = {unit: Counter(entries[row].label for row in rows) for unit, rows in units.items()}
    moved: Counter[int | None] = Counter()
    chosen: set[int] = set()

    def leaves_train(own: Counter[int | None]) -> bool:
        return all(total[label] - moved[label] > count for label, count in own.items())

    def move(rows: Iterable[int]) -> None:
        fresh = set(rows) - chosen
        moved.update(entries[row].label for row in fresh)
        chosen.update(fresh)

    for unit in order:
        own = labels_of[unit]
        wanted = any(moved[label] < max(1, round(fraction * total[label])) for label in own)
        too_many = len(chosen) + len(units[unit]) > max(1.25 * fraction * sum(total.values()), len(total))
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
        elif len(own_units) > 1:
            smallest = min(own_units, key=lambda unit: labels_of[unit][label])
            move(row for row in units[smallest] if entries[row].label == label)
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
    group_of = _grouping(settings.group_pattern)
    if settings.source == "generated":
        entries = list(_from_generated(root / "lists.csv", names))
    elif settings.source == "images" and (splits := _split_folders(root / settings.videos)):
        entries = list(_from_split_folders(root / settings.videos, splits, names))
    elif settings.source in ("folders", "images"):
        if not settings.test_groups:
            raise ListError("data.index.test_groups names no group; without it there is no test split")
        suffixes = VIDEO_SUFFIXES if settings.source == "folders" else PICTURE_SUFFIXES
        entries = list(_from_folders(root / settings.videos, names, suffixes, group_of, settings.test_groups))
    else:
        if "train" not in settings.lists:
            raise ListError("data.index.lists names no list for `train`")
        lines = {split: _read_list(root / path, names) for split, path in settings.lists.items()}
        offset = _label_offset(lines.values(), len(names))
        entries = [
            entry
            for split, path in settings.lists.items()
            for entry in _from_list(root / path, lines[split], split, names, offset)
        ]
    if not entries:
        raise ListError(f"no video is listed below {root}; write lines `path label` into the lists")
    entries = _check(entries, root / settings.videos, settings.check_files)
    if settings.group_pattern or settings.videos:
        prefix = settings.videos.rstrip("/") + "/" if settings.videos.strip("./") else ""
        entries = [
            replace(entry, path=prefix + entry.path, group=group_of(entry.path) or entry.group) for entry in entries
        ]
    if settings.group_pattern and not any(entry.group for entry in entries):
        raise ListError(
            f"data.index.group_pattern `{settings.group_pattern}` fits no file name, for example not "
            f"`{PurePosixPath(entries[0].path).name}`; it is searched in the name without its folder"
        )
    if "val" in settings.lists or any(entry.split == "val" for entry in entries):
        return entries
    return carve_validation(entries, settings.validation_fraction, settings.validation_by, settings.seed)


def members_digest(
    entries: list[Entry], shard: int | None, count: int, root: str | Path | None, *, with_labels: bool = False
) -> str:
    """Digest of the videos of one shard (or of all): ids, paths and, below ``root``, size and time of change.

    A stage gets it as a parameter, so that it runs again when one of its videos is added, replaced or removed.
    """
    digest = hashlib.blake2b(digest_size=8)
    own = [entry for entry in entries if shard is None or entry.in_shard(shard, count)]
    for entry in sorted(own, key=lambda entry: (entry.video_id, entry.listed)):
        parts = [entry.video_id, entry.path, entry.problem or ""]
        if with_labels:
            parts += [str(entry.label), str(entry.class_name), entry.split, str(entry.group)]
        if root is not None and entry.problem is None:
            try:
                status = os.stat(os.path.join(root, entry.path))
                parts += [str(status.st_size), str(status.st_mtime_ns)]
            except (OSError, ValueError):
                parts.append("absent")
        digest.update("\0".join(parts).encode() + b"\n")
    return digest.hexdigest()
