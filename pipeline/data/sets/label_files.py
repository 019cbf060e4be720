"""A file of labels beside the lists: a row per label or labelled segment, as CSV, TSV or Parquet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.data.entries import CONTROL, ListError, Segment, video_id
from pipeline.data.lines import composed, text_of

ABSENT = ("", None)
RIGHT_VIDEO = "write its path as in the lists, or its id"

# A row as it stands in the file: its number from 1, video, label, start and end. Times are text, numbers or absent.
Row = tuple[int, str, str, Any, Any]


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
        names = sorted({label for _, _, label, *_ in self.rows} - {""})
        if not names:
            raise ListError(f"{self.path} holds no label; write a row `video,label` per label")
        return names

    def of_videos(
        self, places: Sequence[str], names: list[str]
    ) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[Segment, ...]]]:
        """Labels and segments of each video that the file names.

        Args:
            places: paths of all videos, as in their lists.
            names: class names in label order.

        Returns:
            Path → names of its classes, those of its segments among them, as often as they stand there; path → segments
            in order of time.

        Raises:
            ListError: rows are wrong: an unknown video or class, or a segment that is none. The first one is told.
        """
        number_of = {name: number for number, name in enumerate(names)}
        known = dict(zip(places, places, strict=True))
        by_id: dict[str, str] = {}
        # Tuples grow slowly, but tens of thousands of lists or sets would keep the garbage collector busy.
        labels: dict[str, tuple[str, ...]] = {}
        segments: dict[str, tuple[Segment, ...]] = {}
        mistakes = []
        for number, video, label, start, end in self.rows:
            if video not in known:
                by_id = by_id or {video_id(place): place for place in places}
                found = by_id.get(video) or by_id.get(video_id(video))
                if found:
                    known[video] = found
            try:
                place = known.get(video)
                if place is None:
                    raise ValueError(f"`{video}` is not one of the {len(places)} listed videos; {RIGHT_VIDEO}")
                if label not in number_of:
                    wrong = f"class `{label}` is not in the class list"
                    raise ValueError(wrong if label else "the label is empty; a video without labels needs no row")
                if start not in ABSENT or end not in ABSENT:
                    segment = Segment(*_span(start, end), number_of[label])
                    segments[place] = (*segments.get(place, ()), segment)
                labels[place] = (*labels.get(place, ()), label)
            except ValueError as error:
                mistakes.append(f"{self.path}, {self.word} {number}: {error}")
        if mistakes:
            more = f" (and {len(mistakes) - 1} further {self.word}s are wrong)" if len(mistakes) > 1 else ""
            raise ListError(CONTROL.sub("?", mistakes[0]) + more)
        return labels, {place: tuple(sorted(set(own))) if own[1:] else own for place, own in segments.items()}


def _span(start: Any, end: Any) -> tuple[float, float]:
    """Start and end in seconds.

    Raises:
        ValueError: what is wrong, in words.
    """
    if start in ABSENT or end in ABSENT:
        raise ValueError("give both `start` and `end`, or leave both empty for a label of the whole video")
    try:
        first, last = float(start), float(end)
    except (TypeError, ValueError):
        raise ValueError(f"`start` and `end` are seconds such as 12.5, found `{start}` and `{end}`") from None
    if not (0 <= first < last and math.isfinite(last)):
        raise ValueError(f"a segment must begin at 0 seconds or later and end after it begins, found {first} to {last}")
    return first, last


def _text(path: Path) -> Iterator[Row]:
    text = text_of(path.read_bytes())
    first = text.partition("\n")[0]
    separator = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in first and "," not in first else ","
    lines = csv.reader(io.StringIO(text), delimiter=separator)
    header = [name.strip() for name in next(lines, [])]
    columns = [header.index(name) for name in _columns(path, header)]
    for line in lines:
        if not any(line):
            continue
        if len(line) != len(header):
            raise ListError(
                f"{path}, line {lines.line_num}: expected {len(header)} columns, found {len(line)}; "
                "quote a value that contains the separator"
            )
        values = [line[column].strip() for column in columns]
        yield lines.line_num, *values, *([None, None] if len(values) == 2 else [])


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa  # half a second, which only those who use it should wait for
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            wanted = _columns(path, file.schema_arrow.names)
            table = file.read(columns=wanted, use_threads=False)
        text = [[composed(value or "") for value in table[name].cast(pa.string()).to_pylist()] for name in wanted[:2]]
        times = [table[name].to_pylist() for name in wanted[2:]] or [[None] * len(table)] * 2
    except pa.ArrowException as error:
        raise ListError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    yield from zip(range(1, len(table) + 1), *text, *times, strict=True)


def _columns(path: Path, header: list[str]) -> list[str]:
    """Names of the columns that are read, in the order of `Row`."""
    found = [name for name in ("video", "label", "start", "end") if name in header]
    if found not in (["video", "label"], ["video", "label", "start", "end"]):
        raise ListError(
            f"{path}: the columns must be named `video` and `label`, with segments also `start` and `end`; "
            f"found {', '.join(header) or 'none'}"
        )
    return found
