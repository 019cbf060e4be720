"""Action Genome's scene graphs (Ji et al. 2020) on Charades: two pickles, read without running anything of theirs.

Traps of their layout: objects are x, y, width, height, persons x1, y1, x2, y2; what is invisible has neither a box nor
relations; frames are numbered from 1 at each video's own rate; there is one node per class; lists spell names without
``/`` and ``_``.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.entries import video_id
from pipeline.data.lines import text_of
from pipeline.data.sets.charades import annotations, read_classes
from pipeline.exchange import pickles
from pipeline.exchange.errors import ForeignFileError
from pipeline.graphs.rows import BOXES, RELATIONS, Tables, mended_segments, table
from pipeline.jobs.stage import StageError

OBJECTS, PERSONS = "object_bbox_and_relationship.pkl", "person_bbox.pkl"
KINDS = ("attention_relationship", "spatial_relationship", "contacting_relationship")
SOURCE = "action_genome"


def _frame(name: str) -> tuple[str, int]:
    """``46GP8.mp4/000089.png`` → video and frame, counted from 0."""
    video, _, picture = name.partition("/")
    return video.removesuffix(".mp4"), int(picture.partition(".")[0]) - 1


def rates(root: Path, fps: float, fps_file: str) -> dict[str, float]:
    """Frames per second of each video that the file names; empty where one rate is given for all.

    Raises:
        StageError: neither is given, or the file cannot be read.
    """
    if not fps_file:
        if not fps:
            raise StageError(
                "Action Genome numbers frames at each video's own rate; name a CSV of `video_id,fps` in "
                "graphs.tables.fps_file, or one rate for all in graphs.tables.fps"
            )
        return {}
    path = root / fps_file
    try:
        lines = csv.DictReader(io.StringIO(text_of(path.read_bytes())))
        return {line["video_id"]: float(line["fps"]) for line in lines}
    except (OSError, KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise StageError(f"{path} is no CSV of `video_id,fps` ({error!r:.100})") from None


def _size(person: dict[str, Any]) -> tuple[float, float]:
    width, height = (float(value) for value in person["bbox_size"])
    if not (width > 0 and height > 0):
        raise ValueError(f"a picture of {width} × {height}")
    return width, height


def graphs(objects: dict[str, Any], persons: dict[str, Any], fps: float, own: dict[str, float]) -> tuple[dict, dict]:
    """Columns of boxes and of relations.

    Args:
        objects, persons: as the pickles have them.

    Raises:
        StageError: a frame has another layout; names it.
    """
    boxes: dict[str, list] = {name: [] for name in ("video_id", "frame", "node", "class", "x1", "y1", "x2", "y2")}
    related: dict[str, list] = {name: [] for name in ("video_id", "frame", "subject", "object", "relation")}
    for name in sorted(objects):
        try:
            video, frame = _frame(name)
            key, person = video_id(video), persons.get(name)
            if person is None:
                continue
            width, height = _size(person)
            rows = [("person", box) for box in np.asarray(person["bbox"], np.float64).reshape(-1, 4)[:1]]
            for item in objects[name]:
                kind = item["class"]
                if not item["visible"] or item["bbox"] is None:
                    continue
                x, y, wide, high = (float(value) for value in item["bbox"])
                rows.append((kind, np.array([x, y, x + wide, y + high])))
                for group in KINDS:
                    for relation in item[group] or ():
                        for column, value in zip(related, (key, frame, "person", kind, relation), strict=True):
                            related[column].append(value)
            for kind, box in rows:
                corners = (box / [width, height, width, height]).tolist()
                for column, value in zip(boxes, (key, frame, kind, kind, *corners), strict=True):
                    boxes[column].append(value)
        except (KeyError, TypeError, ValueError) as error:
            raise StageError(
                f"{OBJECTS}, frame `{name!s:.60}`: not the layout of Action Genome ({error!r:.100})"
            ) from None
    for columns in (boxes, related):
        columns["time_s"] = [
            frame / own.get(key, fps or np.nan)
            for key, frame in zip(columns["video_id"], columns["frame"], strict=True)
        ]
    unknown = sorted({key for key, time in zip(boxes["video_id"], boxes["time_s"], strict=True) if np.isnan(time)})
    if unknown:
        raise StageError(f"no frame rate is known of {len(unknown)} videos, such as {unknown[0]}; see graphs.tables")
    return boxes, related


def read(root: Path, fps: float, fps_file: str) -> Tables:
    """Boxes and relations of both pickles, segments of the CSVs.

    Raises:
        StageError: a file is missing, holds more than plain values, or has another layout.
    """
    own = rates(root, fps, fps_file)
    try:
        objects, persons = (pickles.load(root / name) for name in (OBJECTS, PERSONS))
    except ForeignFileError as error:
        raise StageError(f"{error}; Action Genome comes with {OBJECTS} and {PERSONS}") from None
    if not isinstance(objects, dict) or not isinstance(persons, dict):
        raise StageError(f"{OBJECTS} and {PERSONS} hold no dictionary of frames")
    boxes, related = graphs(objects, persons, fps, own)
    segments, notes = segments_of(root)
    for columns in (boxes, related):
        columns["source"] = [SOURCE] * len(columns["frame"])
    return Tables(table(BOXES, boxes), table(RELATIONS, related), segments, notes)


def segments_of(root: Path):
    """Segments of the CSVs as a table, and what was mended."""
    words = read_classes(root)
    rows, counts = annotations(root)
    segments, _, _ = mended_segments(
        [
            {
                "video_id": video_id(row.video),
                "class": words[code],
                "start_s": start,
                "end_s": end,
                "length_s": row.length,
                "scene": row.scene,
                "subject": row.subject,
            }
            for row in rows
            for code, start, end in row.segments
        ]
    )
    return segments, [f"{counts.clipped} segments were cut at the end of their video, {counts.dropped} left out"]
