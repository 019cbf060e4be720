"""One video of a data set: its id, its shard, and the text files that name it.

The workflow reads this while it is parsed, so it must stay fast for tens of thousands of lines: standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pipeline.data.lines import composed, lines_of, unquoted
from pipeline.store.provenance import fingerprint

# What FFmpeg reads and cameras, phones, the web and archives write.
_WRITTEN = (
    "3g2 3gp amv asf avi divx dv f4v flv gif h264 hevc ivf m1v m2t m2ts m2v m4v mjpeg mjpg mkv mov mp4 mpe mpeg mpg "
    "mts mxf nut ogm ogv qt rm rmvb ts vob webm wmv xvid y4m"
)
_ENDINGS = frozenset(_WRITTEN.split())
VIDEO_SUFFIXES = tuple(f".{ending}" for ending in _WRITTEN.split())
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
# File systems take names of 255 bytes, and to an id come a suffix and the marks of a temporary file.
MAX_ID = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]|(?<=_)_|_(?=_)")
CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # a surrogate stands for a byte that is not UTF-8
_UNSAFE_IN_FOLDER = re.compile(_UNSAFE.pattern + r"|^_|_$")


GroupOf = Callable[[str], str | None]

# Splits that models are fitted to and chosen on; accuracies on all others are results.
DEVELOPMENT = ("train", "val")
_SPLIT = re.compile(
    r"(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id(?:ation)?)?|dev)|(?P<test>test(?:ing)?|eval(?:uation)?))"
    r"(?:sets?|data|splits?|videos?|clips?)?"
)


class ListError(ValueError):
    """A mistake about a whole list or folder: file, line and what would be right."""


class Segment(NamedTuple):
    """A labelled part of a video: ``start`` and ``end`` in seconds since its first frame, that of its excerpt."""

    start: float
    end: float
    label: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One video of a data set.

    Attributes:
        video_id: file-name safe and unique; see `video_id`.
        path: relative to the root of the data set, with forward slashes.
        labels: indices into the class names, ascending: none, one or several.
        class_names: the names of these.
        split: train, val, test or a further test split.
        listed: the split under which the data set itself lists it (val is carved from train).
        group: actor, source video or the like; validation is carved by it.
        problem: why the video cannot be used; None if it can.
        frames: first frame and end of an excerpt, counted from 0, the end excluded; None for a whole file.
        segments: in order of time; the label of each is one of ``labels``.
    """

    video_id: str
    path: str
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    split: str
    listed: str
    group: str | None = None
    problem: str | None = None
    frames: tuple[int, int] | None = None
    segments: tuple[Segment, ...] = ()

    def in_shard(self, index: int, count: int) -> bool:
        return shard_of(self.video_id, count) == index


def video_id(path: str) -> str:
    """Id of a video from its relative path: safe as a file name, and injective for names that differ before the suffix.

    A video suffix is left out, ``/`` becomes ``__``, and every other character outside of ``A-Z a-z 0-9 . -`` and the
    single underscore is written as ``%`` and its UTF-8 bytes in hexadecimal; so is an underscore that touches another
    underscore or a slash, which keeps ``a/b`` and ``a__b`` apart. Files that differ in the suffix alone share an id;
    a list that names both has a duplicate. So do the two ways to write an accent (`composed`). What would be longer
    than `MAX_ID` ends with ``~``, which no other id has, and a digest of the whole.
    """
    path = without_suffix(composed(path).replace("\\", "/"))
    parts = [part for part in path.split("/") if part not in ("", ".")]
    unsafe = _UNSAFE_IN_FOLDER if len(parts) > 1 else _UNSAFE
    key = "__".join([unsafe.sub(_escape, part) for part in parts]) or "%2F"
    if len(key) <= MAX_ID:
        return key
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return f"{key[: MAX_ID - len(digest) - 1]}~{digest}"


def _escape(match: re.Match[str]) -> str:
    # Names of files that are not UTF-8 reach Python as lone surrogates, one for each byte.
    return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogateescape"))


def without_suffix(path: str) -> str:
    stem, dot, ending = path.rpartition(".")
    return stem if dot and ending.lower() in _ENDINGS else path


def split_named(name: str) -> str | None:
    """train, val or test, for the names that people give them (`Training`, `valid`, `test_set`); None for others."""
    match = _SPLIT.fullmatch(plain(name))
    return match and match.lastgroup


@lru_cache(maxsize=2**18)
def shard_of(key: str, count: int) -> int:
    """Shard of a video id: a hash, so that adding a video moves no other one."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") % count


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Number, from 1, and text of every line of a list that is not blank.

    Raises:
        ListError: missing, or no text.
    """
    return lines_of(path, "data.index.lists or class_list names it, below the data set's root", ListError)


def read_class_list(path: Path) -> list[str]:
    """Class names in label order; ``1 ApplyEyeMakeup`` (UCF-101) and ``ApplyEyeMakeup,1`` are put in order.

    A header such as ``id,name`` or ``class`` is left out, and so are quotation marks.

    Raises:
        ListError: missing, empty, or a name is there twice.
    """
    lines = [line for _, line in read_lines(path)]
    header = _CLASS_HEADER.fullmatch(lines[0].replace('"', "")) if lines else None
    lines = lines[1:] if header else lines
    names = _numbered(lines) or [unquoted(line) for line in lines]
    if header and (header["number"] or header["behind"]) and not _numbered(lines):
        raise ListError(f"{path}: class numbers must count from 0 or 1 without gaps or repeats")
    if not names:
        raise ListError(f"{path} names no class; write one class name per line")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ListError(f"{path} names the class `{twice[0]}` more than once")
    return names


_CLASS_HEADER = re.compile(
    r"(?i)(?P<number>(?:class_?)?(?:id|index|label|number)[,;\t]\s*)?(?:names?|class(?:es)?|class[_ ]?names?|labels?|"
    r"categor(?:y|ies))(?P<behind>\s*[,;\t]\s*(?:class_?)?(?:id|index|label|number))?"
)


def _numbered(lines: list[str]) -> list[str] | None:
    """Names in the order of the numbers before or behind them; None where these do not count from 0 or 1."""
    for pattern, number, name in ((r"(\d+)[\s,;]+(.+)", 1, 2), (r"(.+?)\s*[,;\t]\s*(\d+)", 2, 1)):
        found = [re.fullmatch(pattern, line) for line in lines]
        if found and all(found):
            found.sort(key=lambda match: int(match[number]))
            first = int(found[0][number])
            # Only a count is a numbering: `100 m run` and `200 m run` are names.
            if first in (0, 1) and [int(match[number]) for match in found] == list(range(first, first + len(found))):
                return [unquoted(match[name]) for match in found]
    return None


def plain(name: str) -> str:
    """Letters and digits of a name: lists spell classes differently (`Apply Eye Makeup`, `ApplyEyeMakeup`)."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def by_shard(entries: list[Entry], count: int) -> list[list[Entry]]:
    """The entries of every shard."""
    parts: list[list[Entry]] = [[] for _ in range(count)]
    for entry in entries:
        parts[shard_of(entry.video_id, count)].append(entry)
    return parts


def members_digest(entries: list[Entry], root: str | Path | None, *, with_labels: bool = False) -> str:
    """Digest of videos, such as those of one shard: ids, paths and, below ``root``, size and time of change, of a
    folder of frames those of all its files.

    A stage gets it as a parameter, so that it runs again when one of its videos is added, replaced or removed.
    """
    digest = hashlib.blake2b(digest_size=8)
    for entry in sorted(entries, key=lambda entry: (entry.video_id, entry.listed)):
        parts = [entry.video_id, entry.path, entry.problem or ""]
        if entry.frames:
            parts.append("{}-{}".format(*entry.frames))
        if with_labels:
            parts += [str(entry.labels), str(entry.class_names), entry.split, str(entry.group)]
            parts += [",".join(map(str, segment)) for segment in entry.segments]
        if root is not None and entry.problem is None:
            try:
                parts += fingerprint(os.path.join(root, entry.path)).split(":")
            except (OSError, ValueError):
                parts.append("absent")
        digest.update("\0".join(parts).encode() + b"\n")
    return digest.hexdigest()
