"""Lists of `path label` lines, one per split: the form of VideoMAE, mmaction2 and UCF-101, with commas or blanks; or
tables whose first line names the columns.

A set of labels stands in brackets, `path,[label;label]`; labels may also come from a file of their own.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipeline.data.entries import VIDEO_SUFFIXES, Entry, ListError, Segment, plain, read_lines, video_id
from pipeline.data.lines import unquoted
from pipeline.data.sets.label_files import LabelFile
from pipeline.data.sets.listing import Listing, own_class_list

# `path,[label;label]`, or `path,[]` for a video that shows no class.
_SET = re.compile(r"(.*\S)\s*[,;\t]\s*\[([^\[\]]*)\]")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
# A path or a label as CSV writers put it into quotation marks.
_MARKED = r""""(?:[^"]|"")*"|'[^']*'"""
_QUOTED_PLACE = re.compile(rf"({_MARKED})(?:\s*[,;\t]\s*|\s+)(\S.*)")
_QUOTED_LABEL = re.compile(rf"(.*?\S)(?:\s*[,;\t]\s*|\s+)({_MARKED})")
_SEPARATORS = (",", ";", "\t")
_NUMBER = re.compile(r"-?\d{1,15}(\.0+)?")
# Names of the columns of tables, the surer ones first.
_PATHS = (
    "path paths video_path file_path filepath clip_path file filename file_name video videos clip clip_name video_name "
    "name video_id youtube_id id"
)
_LABELS = "label labels class class_name classname category action activity tag target"


class Line(NamedTuple):
    """One line of a list: the path as it stands there, and its labels as text, None where the folder is the label.

    Segments come from a file of labels; those of a list are of whole videos.
    """

    number: int
    place: str
    labels: tuple[str, ...] | None
    segments: tuple[Segment, ...] = ()


def read_list(path: Path, names: Iterable[str]) -> list[Line]:
    """Lines of one list; ``names`` are the class names, as far as they are known.

    Raises:
        ListError: no text, a first line that seems to be a header and is none that is known, or too few columns.
    """
    known = set(names)
    with_blanks = [name for name in known if " " in name]
    lines = read_lines(path)
    if header := _header(lines[0][1]) if lines else None:
        if header.columns in ((0, None), (0, 1)) and header.count <= 2:
            lines = lines[1:]
        else:
            return [Line(number, *_in_columns(path, number, line, header)) for number, line in lines[1:]]
    found = [Line(number, *_labelled(line, known, with_blanks)) for number, line in lines]
    if len(found) > 1 and not header and _seems_header(found, known):
        raise ListError(
            f"{path}, line {found[0].number}: `{lines[0][1]}` seems to be a header; remove it, or name its columns "
            f"`path` and `label`"
        )
    return found


class Header(NamedTuple):
    """The first line of a table: its separator, number of columns, and where the path and the label stand."""

    separator: str
    count: int
    columns: tuple[int, int | None]


def _header(line: str) -> Header | None:
    """A header, if the line is one: it names a column of paths, and one of labels unless that is all there is."""
    for separator in (*_SEPARATORS, " "):
        cells = [unquoted(cell.strip()).lower().replace(" ", "_") for cell in line.split(separator)]
        path = next((cells.index(name) for name in _PATHS.split() if name in cells), None)
        label = next((cells.index(name) for name in _LABELS.split() if name in cells), None)
        if path is not None and (label is not None or len(cells) == 1):
            return Header(separator, len(cells), (path, label))
    return None


def _in_columns(path: Path, number: int, line: str, header: Header) -> tuple[str, tuple[str, ...]]:
    cells = next(csv.reader([line], delimiter=header.separator, skipinitialspace=True))
    if len(cells) != header.count:
        raise ListError(
            f"{path}, line {number}: expected {header.count} columns, found {len(cells)}; quote a value that "
            f"contains the separator"
        )
    place, label = (cells[column].strip() for column in header.columns)
    several = _BRACKETS.fullmatch(label)
    return place.replace("\\", "/"), _parts(several[1]) if several else (label,)


def _seems_header(lines: list[Line], known: set[str]) -> bool:
    """Whether the first line differs from all others as a header does: no video, and a label that nothing else has."""
    first, others = lines[0], lines[1:]
    if first.labels is None or "/" in first.place or first.place.lower().endswith(VIDEO_SUFFIXES):
        return False
    if any(label in known or _number(label) is not None for label in first.labels):
        return False
    return all(line.place.lower().endswith(VIDEO_SUFFIXES) and line.labels != first.labels for line in others)


def _number(label: str) -> int | None:
    """The number that a label is, also as tables with gaps write it (``3.0``); None for a name."""
    return int(float(label)) if _NUMBER.fullmatch(label) else None


def _parts(text: str) -> tuple[str, ...]:
    return tuple(unquoted(part.strip()) for part in text.split(";") if part.strip())


def _labelled(line: str, known: set[str], with_blanks: list[str]) -> tuple[str, tuple[str, ...] | None]:
    several = _SET.fullmatch(line) if line.endswith("]") else None
    if several and f"[{several[2]}]" not in known:
        return _place(several[1]), _parts(several[2])
    place, label = _part(line, known, with_blanks)
    if label is None:
        return place, None
    label = label if label in known else unquoted(label)
    several = _BRACKETS.fullmatch(label) if label not in known else None
    return place, _parts(several[1]) if several else (label,)


def _part(line: str, known: set[str], with_blanks: list[str]) -> tuple[str, str | None]:
    """Path, and the label behind the last separator or blank.

    Paths may hold separators and blanks themselves; what is behind the last one is a label if it is a number or a class
    name. ``folder n_frames label``, mmaction2's list of frame folders, is read as well.
    """
    if line.lower().endswith(VIDEO_SUFFIXES):
        return _place(line), None
    for end, form in ((line[0], _QUOTED_PLACE), (line[-1], _QUOTED_LABEL)):
        if end in ('"', "'") and (quoted := form.fullmatch(line)):
            return _place(quoted[1]), quoted[2]
    split = [(place.strip(), label.strip()) for place, there, label in map(line.rpartition, _SEPARATORS) if there]
    for place, label in split:
        if _number(label) is not None or label in known:
            return _place(place), label
    blank = re.fullmatch(r"(.*\S)\s+(\S+)", line)
    if blank and (blank[2].isdecimal() or blank[2] in known):
        counted = re.fullmatch(r"(.*\S)\s+\d+", blank[1])
        if counted and blank[2].isdecimal() and not blank[1].lower().endswith(VIDEO_SUFFIXES):
            return _place(counted[1]), blank[2]
        return _place(blank[1]), blank[2]
    for name in with_blanks:
        if line.endswith(" " + name):
            return _place(line[: -len(name)].strip()), name
    if split:
        return next(
            ((_place(place), label) for place, label in split if _place(place).lower().endswith(VIDEO_SUFFIXES)),
            (_place(split[0][0]), split[0][1]),
        )
    if blank and blank[1].lower().endswith(VIDEO_SUFFIXES):
        return _place(blank[1]), blank[2]
    return _place(line), None


def _place(text: str) -> str:
    """A path without quotation marks, with forward slashes."""
    return unquoted(text).replace("\\", "/")


def entries_of(path: Path, lines: list[Line], split: str, names: list[str], offset: int) -> Iterator[Entry]:
    """Entries of one list; the label of a bare path is its folder."""
    by_name = {plain(name): label for label, name in enumerate(names)} | {name: i for i, name in enumerate(names)}
    for line in lines:
        labels, problem = [], None
        for text in (PurePosixPath(line.place).parent.name,) if line.labels is None else line.labels:
            if text in by_name:
                labels.append(by_name[text])
            elif line.labels is not None and (number := _number(text)) is not None:
                labels.append(number - offset)
                if not 0 <= number - offset < len(names):
                    problem = f"label {text} is not among the {len(names)} classes"
            elif plain(text) in by_name:
                labels.append(by_name[plain(text)])
            else:
                problem = f"class `{text}` is not in the class list"
        if len(labels) > 1:
            labels = sorted(set(labels))
        if not line.place or line.place.endswith("/"):
            problem = f"line {line.number} of {path.name} names no video"
        yield Entry(
            video_id=video_id(line.place or f"line-{line.number}"),
            path=line.place,
            labels=() if problem else tuple(labels),
            class_names=() if problem else tuple([names[label] for label in labels]),
            split=split,
            listed=split,
            problem=problem,
            segments=line.segments,
        )


def _numbers_of(line: Line, names: set[str]) -> list[int]:
    """Labels that are numbers and no names."""
    numbers = [None if text in names else _number(text) for text in line.labels or ()]
    return [number for number in numbers if number is not None]


def label_offset(lists: dict[Path, list[Line]], names: list[str], offset: int | None = None) -> int:
    """Number of the first class: 1 where the numeric labels run from 1 to the number of classes, as in UCF-101's lists.

    Args:
        offset: where the data set says it.

    Raises:
        ListError: a list counts otherwise than another one, or than the data set says.
    """
    counts: dict[int, str] = {} if offset is None else {offset: "the data set"}
    named = set(names)
    for path, lines in lists.items():
        numbers = {number for line in lines for number in _numbers_of(line, named)}
        first = 0 if 0 in numbers else 1 if numbers and max(numbers) == len(names) else None
        if first is not None:
            counts.setdefault(first, f"{path} ({min(numbers)} to {max(numbers)})")
    if len(counts) > 1:
        raise ListError(
            f"the labels of {len(names)} classes count from 0 in {counts[0]} and from 1 in {counts[1]}; use one "
            f"numbering in both lists, or names instead of numbers"
        )
    return next(iter(counts), 0)


def _check_count(path: Path, lines: list[Line], entries: list[Entry], names: list[str]) -> None:
    """Compare numeric labels with what the paths say: a folder or file named after a class.

    Raises:
        ListError: most folders that are named after a class have another label, or most files the label beside theirs.
    """
    named = set(names)
    pairs = zip(lines, entries, strict=True)
    numbered = [entry for line, entry in pairs if len(entry.labels) == 1 and _numbers_of(line, named)]
    label_of = {plain(name): label for label, name in enumerate(names)}
    by_folder = {folder: label_of.get(plain(folder)) for folder in {_folder(entry) for entry in numbered}}
    said = [(entry, by_folder[_folder(entry)]) for entry in numbered]
    said, beside = [item for item in said if item[1] is not None], False
    if not said:
        # Some hundred names tell as well as all of them.
        beside, some = True, numbered[:: max(1, len(numbered) // 300)]
        by_length = sorted(label_of, key=len, reverse=True)
        for entry in some:
            stem = plain(PurePosixPath(entry.path).name)
            said += [(entry, label_of[name]) for name in by_length if name and name in stem][:1]
        if len(said) < len(some) / 2:
            return
    wrong = [(entry, label) for entry, label in said if entry.labels[0] != label]
    shifts = Counter(entry.labels[0] - label for entry, label in wrong)
    if beside and max(shifts[1], shifts[-1]) <= 0.9 * len(said):
        return
    if 2 * len(wrong) > len(said):
        entry, label = wrong[0]
        raise ListError(
            f"{path}: {len(wrong)} of {len(said)} labels are not the class in the path, for example {entry.path} is "
            f"`{entry.class_names[0]}` ({entry.labels[0]} from 0), not `{names[label]}` ({label}); does the list count "
            f"from 1, or is the class list in another order?"
        )


def _folder(entry: Entry) -> str:
    return entry.path.rpartition("/")[0].rpartition("/")[2]


def _names_in(lists: Iterable[Path]) -> list[str]:
    """Class names where no class list gives them: the labels, or the folders of bare paths."""
    names = set()
    for path in lists:
        for line in read_list(path, ()):
            names.update((PurePosixPath(line.place).parent.name,) if line.labels is None else line.labels)
            if any(_number(text) is not None for text in line.labels or ()):
                raise ListError(
                    f"{path}, line {line.number}: labels are numbers there; "
                    "name the file with the class names in data.index.class_list"
                )
    if not names - {""}:
        raise ListError("the lists name no class: write `path label`, or put the videos of a class into its folder")
    return sorted(names - {""})


def entries_of_lists(lists: dict[str, Path], names: list[str], offset: int | None = None) -> list[Entry]:
    """Entries of all lists, in their order: split → file.

    Args:
        offset: number of the first class in the lists; None where the labels themselves must tell.

    Raises:
        ListError: a list cannot be read, or its numbers are those of other classes.
    """
    lines = {path: read_list(path, names) for path in lists.values()}
    offset = label_offset(lines, names, offset)
    result = []
    for split, path in lists.items():
        found = list(entries_of(path, lines[path], split, names, offset))
        _check_count(path, lines[path], found, names)
        result += found
    return result


def read(settings, root: Path) -> Listing:
    """A data set that is described by ``data.index.lists``, and ``data.index.labels`` if that is named."""
    lists = {split: root / path for split, path in settings.lists.items()}
    if "train" not in lists:
        raise ListError("data.index.lists names no list for `train`")
    names = own_class_list(settings, root)
    if settings.labels:
        file = LabelFile(root / settings.labels)
        names = names or file.class_names()
        return Listing(names, _labelled_by(file, lists, names), settings.videos)
    names = names or _names_in(lists.values())
    return Listing(names, entries_of_lists(lists, names), settings.videos)


def _labelled_by(file: LabelFile, lists: dict[str, Path], names: list[str]) -> list[Entry]:
    """Entries of lists whose lines are paths and nothing else."""
    bare = {}
    for split, path in lists.items():
        lines = read_lines(path)
        headed = bool(lines) and (header := _header(lines[0][1])) is not None and header.count == 1
        bare[split] = [(number, _place(line)) for number, line in lines[headed:]]
    labels, segments = file.of_videos([place for lines in bare.values() for _, place in lines], names)
    result = []
    for split, path in lists.items():
        lines = [Line(n, place, labels.get(place, ()), segments.get(place, ())) for n, place in bare[split]]
        result += entries_of(path, lines, split, names, offset=0)
    return result
