"""A file of labels beside the lists: a row per label or labelled segment, as CSV, TSV or Parquet."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.data.entries import ListError, Segment, video_id

class Row(NamedTuple):
    """One row as it stands there: its number in the file, from 1; times are text, numbers, or None."""

    number: int
    video: str
    label: str
    start: Any = None
    end: Any = None


class LabelFile:
    """The rows of a file of labels.

    Attributes:
        path: for messages.
        rows: in the order of the file.

    Raises:
        ListError: missing, damaged, without the columns `video` and `label`, or a row is shorter than the header.
    """

    def __init__(self, path: Path):
        self.path = path
        self.word = "row" if path.suffix.lower() == ".parquet" else "line"
        try:
            self.rows = list(_parquet(path) if self.word == "row" else _text(path))
        except FileNotFoundError:
            raise ListError(f"{path} does not exist; data.index.labels names it, below the data set's root") from None
        except (UnicodeDecodeError, OSError, csv.Error) as error:
            raise ListError(f"{path} cannot be read as a table ({error})") from None

    def class_names(self) -> list[str]:
        """Every label, sorted.

        Raises:
            ListError: there is none.
        """
        names = sorted({row.label for row in self.rows} - {""})
        if not names:
            raise ListError(f"{self.path} holds no label; write a row `video,label` per label")
        return names

    def of_videos(
        self, places: Sequence[str], names: list[str]
    ) -> tuple[dict[str, set[str]], dict[str, tuple[Segment, ...]]]:
        """Labels and segments of each video that the file names.

        Args:
            places: paths of all videos, as in their lists.
            names: class names in label order.

        Returns:
            Path → names of its classes, those of its segments among them; path → segments in order of time.

        Raises:
            ListError: rows are wrong: an unknown video or class, or a segment that is none. The first one is told.
        """
        number_of = {name: number for number, name in enumerate(names)}
        known: dict[str, str] = {place: place for place in places}
        by_id: dict[str, str] = {}
        labels: dict[str, set[str]] = {}
        segments: dict[str, set[Segment]] = {}
        mistakes = []
        for row in self.rows:
            video = row.video
            if video not in known:
                by_id = by_id or {video_id(place): place for place in places}
                found = by_id.get(video) or by_id.get(video_id(video))
                if found:
                    known[video] = found
            try:
                if video not in known:
                    raise ValueError(
                        f"`{video}` is none of the {len(places)} listed videos; write the path as in the lists, or the id"
                    )
                if not row.label:
                    raise ValueError("the label is empty; a video without labels needs no row")
                if row.label not in number_of:
                    raise ValueError(f"class `{row.label}` is not in the class list")
                span = _span(row.start, row.end)
            except ValueError as error:
                mistakes.append(f"{self.path}, {self.word} {row.number}: {error}")
                continue
            place = known[video]
            labels.setdefault(place, set()).add(row.label)
            if span:
                segments.setdefault(place, set()).add(Segment(*span, number_of[row.label]))
        if mistakes:
            more = f" (and {len(mistakes) - 1} further {self.word}s are wrong)" if len(mistakes) > 1 else ""
            raise ListError(mistakes[0] + more)
        return labels, {place: tuple(sorted(own)) for place, own in segments.items()}


def _span(start: Any, end: Any) -> tuple[float, float] | None:
    """Start and end in seconds; None where the label is of the whole video.

    Raises:
        ValueError: what is wrong, in words.
    """
    given = [value is not None and value != "" for value in (start, end)]
    if not any(given):
        return None
    if not all(given):
        raise ValueError("`start` and `end` stand together; leave both empty for a label of the whole video")
    try:
        first, last = float(start), float(end)
    except (TypeError, ValueError):
        raise ValueError(f"`start` and `end` are seconds such as 12.5, found `{start}` and `{end}`") from None
    if not (0 <= first < last and math.isfinite(last)):
        raise ValueError(f"a segment begins at 0 seconds or later and ends after that, found {first} to {last}")
    return first, last


def _text(path: Path) -> Iterator[Row]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        header = [name.strip() for name in next(lines, [])]
        columns = [header.index(name) for name in _columns(path, header)]
        for line in lines:
            if not any(line):
                continue
            if len(line) != len(header):
                raise ListError(
                    f"{path}, line {lines.line_num}: expected {len(header)} columns, found {len(line)}; "
                    "a value with the separator in it stands in quotation marks"
                )
            yield Row(lines.line_num, *[line[column].strip() for column in columns])


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa  # half a second, which only those who use it should wait for
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            wanted = _columns(path, file.schema_arrow.names)
            table = file.read(columns=wanted, use_threads=False)
        text = [[value or "" for value in table[name].cast(pa.string()).to_pylist()] for name in wanted[:2]]
        times = [table[name].to_pylist() for name in wanted[2:]]
    except pa.ArrowException as error:
        raise ListError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    for number, values in enumerate(zip(*text, *times, strict=True), 1):
        yield Row(number, *values)


def _columns(path: Path, header: list[str]) -> list[str]:
    """Names of the columns that are read, in the order of `Row`."""
    found = [name for name in ("video", "label", "start", "end") if name in header]
    if found not in (["video", "label"], ["video", "label", "start", "end"]):
        raise ListError(
            f"{path}: the columns must be named `video` and `label`, with segments also `start` and `end`; "
            f"found {', '.join(header) or 'none'}"
        )
