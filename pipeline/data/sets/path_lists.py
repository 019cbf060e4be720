"""Lists of `path label` lines, one per split: the form of VideoMAE, mmaction2 and UCF-101, with commas or blanks.

A set of labels stands in brackets, `path,[label;label]`; labels may also come from a file of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipeline.data.entries import VIDEO_SUFFIXES, Entry, ListError, Segment, plain, read_lines, video_id
from pipeline.data.sets.label_files import LabelFile
from pipeline.data.sets.listing import Listing, own_class_list

# `path,[label;label]`, or `path,[]` for a video that shows no class.
_SET = re.compile(r"(.*\S)\s*,\s*\[([^\[\]]*)\]")


class Line(NamedTuple):
    """One line of a list: the path as it stands there, and its labels as text, None where the folder is the label.

    Segments come from a file of labels; those of a list are of whole videos.
    """

    number: int
    place: str
    labels: tuple[str, ...] | None
    segments: tuple[Segment, ...] = ()


def read_list(path: Path, names: Iterable[str]) -> list[Line]:
    """Lines of one list; ``names`` are the class names, as far as they are known."""
    known = set(names)
    with_blanks = [name for name in known if " " in name]
    return [Line(number, *_labelled(line, known, with_blanks)) for number, line in read_lines(path)]


def _labelled(line: str, known: set[str], with_blanks: list[str]) -> tuple[str, tuple[str, ...] | None]:
    several = _SET.fullmatch(line) if line.endswith("]") else None
    if several and f"[{several[2]}]" not in known:
        return _unquoted(several[1]), tuple(text.strip() for text in several[2].split(";") if text.strip())
    place, label = _part(line, known, with_blanks)
    return place, None if label is None else (label,)


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


def entries_of(path: Path, lines: list[Line], split: str, names: list[str], offset: int) -> Iterator[Entry]:
    """Entries of one list; the label of a bare path is its folder."""
    by_name = {plain(name): label for label, name in enumerate(names)} | {name: i for i, name in enumerate(names)}
    for line in lines:
        labels, problem = [], None
        for text in (PurePosixPath(line.place).parent.name,) if line.labels is None else line.labels:
            if text in by_name:
                labels.append(by_name[text])
            elif re.fullmatch(r"-?\d+", text) and line.labels is not None:
                labels.append(int(text) - offset)
                if not 0 <= int(text) - offset < len(names):
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


def label_offset(lists: Iterable[list[Line]], n_classes: int) -> int:
    """1 where the numeric labels of the lists run from 1 to the number of classes, as in the official UCF-101 lists."""
    labels = {int(text) for lines in lists for line in lines for text in line.labels or () if text.isdecimal()}
    return int(bool(labels) and 0 not in labels and max(labels) == n_classes)


def _names_in(lists: Iterable[Path]) -> list[str]:
    """Class names where no class list gives them: the labels, or the folders of bare paths."""
    names = set()
    for path in lists:
        for line in read_list(path, ()):
            names.update((PurePosixPath(line.place).parent.name,) if line.labels is None else line.labels)
            if any(text.isdecimal() for text in line.labels or ()):
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
    """
    lines = {split: read_list(path, names) for split, path in lists.items()}
    if offset is None:
        offset = label_offset(lines.values(), len(names))
    return [entry for split, path in lists.items() for entry in entries_of(path, lines[split], split, names, offset)]


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
    bare = {split: [(number, _unquoted(line)) for number, line in read_lines(path)] for split, path in lists.items()}
    labels, segments = file.of_videos([place for lines in bare.values() for _, place in lines], names)
    result = []
    for split, path in lists.items():
        lines = [Line(n, place, labels.get(place, ()), segments.get(place, ())) for n, place in bare[split]]
        result += entries_of(path, lines, split, names, offset=0)
    return result
