"""CAD-120's scene graphs (Zhuo et al. 2019): tracked boxes and relations per frame, true ones or a detector's."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.entries import video_id
from pipeline.data.sets.cad120 import ARCHIVE, FPS, clips
from pipeline.data.sets.listing import find_file
from pipeline.graphs.rows import BOXES, RELATIONS, Tables, mended_segments, table
from pipeline.jobs.stage import StageError

DETECTED = "results_attributes+relationships.zip"
WIDTH, HEIGHT = 640.0, 480.0
# The parts of the body that are tracked; the person is the box around them.
BODY = ("head", "hand")
PERSON = "person"
# Two states in each of three pairs: one of a pair is always so.
KINDS = ("holding", "not_holding", "contacting", "apart", "containing", "separate")


def _members(path: Path, pattern: str) -> Iterator[tuple[re.Match[str], Any]]:
    """Name and value of every JSON file of an archive that fits a pattern.

    Raises:
        StageError: the archive is damaged, or one of them is no JSON.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                match = re.fullmatch(pattern, name)
                if match:
                    yield match, json.loads(archive.read(name))
    except (zipfile.BadZipFile, ValueError, RecursionError, OSError) as error:
        raise StageError(f"{path} is no archive of CAD-120's graphs ({error})") from None


def _boxes(recording: dict[str, Any], key: str, every: int) -> dict[str, list]:
    rows: dict[str, list] = {name: [] for name in ("video_id", "frame", "node", "class", "x1", "y1", "x2", "y2")}
    body: dict[int, list[np.ndarray]] = {}

    def add(frame: int, node: str, kind: str, corners: np.ndarray) -> None:
        for name, value in zip(rows, (key, frame, node, kind, *corners.tolist()), strict=True):
            rows[name].append(value)

    for tracked in recording["locations"]:
        node = tracked["obj_id"]
        kind = node.rpartition("_")[0]
        for frame, box in enumerate(tracked["loc_list"][::every]):
            if not box:
                continue
            x, y, width, height = (float(value) for value in box)
            corners = np.array([x / WIDTH, y / HEIGHT, (x + width) / WIDTH, (y + height) / HEIGHT])
            add(frame * every, node, kind, corners)
            if kind in BODY and width > 0 and height > 0:
                body.setdefault(frame * every, []).append(corners)
    for frame, parts in body.items():
        stacked = np.array(parts)
        add(frame, PERSON, PERSON, np.concatenate([stacked[:, :2].min(0), stacked[:, 2:].max(0)]))
    return rows


def _true_relations(recording: dict[str, Any], key: str, every: int) -> Iterator[tuple]:
    for pair in recording["relations"]:
        for frame, relation in enumerate(pair["rel_list"][::every]):
            if relation in KINDS:
                yield key, frame * every, *pair["obj_ids"], relation, 1.0


def _detected_relations(path: Path, every: int) -> Iterator[tuple]:
    """The surer of each two states; there are none outside of segments."""
    pattern = r"\d+/(Subject\d+/[^/]+/[^/]+)/(\d+)_(\d+)_rel\.json"
    for match, pairs in _members(path, pattern):
        key, first = video_id(match[1]), int(match[2]) - 1
        for pair in pairs:
            scores = np.array(pair["rel_list"], np.float64)
            for offset in range(-first % every, len(scores), every):
                for low in range(0, len(KINDS), 2):
                    best = low + int(scores[offset, low : low + 2].argmax())
                    if scores[offset, best] >= 0.5:
                        yield key, first + offset, *pair["obj_ids"], KINDS[best], float(scores[offset, best])


def read(root: Path, detector_relations: bool, every: int = 5) -> Tables:
    """All recordings, every few frames.

    Raises:
        StageError: an archive cannot be read.
    """
    boxes: dict[str, list] = {}
    relations: list[tuple] = []
    lengths: dict[str, float] = {}
    pattern = r"annotations/all/(Subject\d+/[^/]+/[^/]+)\.json"
    for match, recording in _members(find_file(root, ARCHIVE), pattern):
        key = video_id(match[1])
        try:
            for name, column in _boxes(recording, key, every).items():
                boxes.setdefault(name, []).extend(column)
            lengths[key] = max(len(tracked["loc_list"]) for tracked in recording["locations"]) / FPS
            if not detector_relations:
                relations += _true_relations(recording, key, every)
        except (KeyError, TypeError, ValueError) as error:
            raise StageError(f"{match[1]} in {ARCHIVE} is no scene graph of CAD-120 ({error!r:.100})") from None
    if detector_relations:
        relations = list(_detected_relations(find_file(root, DETECTED), every))
    names = ("video_id", "frame", "subject", "object", "relation", "score")
    related: dict[str, Any] = dict(zip(names, zip(*relations, strict=True), strict=True)) if relations else {}
    rows = [
        {
            "video_id": video_id(clip.path),
            "class": clip.action,
            "start_s": (clip.first - 1) / FPS,
            "end_s": clip.last / FPS,
            "length_s": lengths[video_id(clip.path)],
            "subject": clip.subject,
        }
        for clip in clips(root)
        if video_id(clip.path) in lengths
    ]
    segments, clipped, dropped = mended_segments(rows)
    source = "detector" if detector_relations else "annotated"
    for columns, kind in ((boxes, "annotated"), (related, source)):
        columns["time_s"] = [frame / FPS for frame in columns.get("frame", ())]
        columns["source"] = [kind] * len(columns["time_s"])
    if not related["time_s"]:
        raise StageError(f"{root} holds no relations of CAD-120")
    notes = [f"{clipped} segments were cut at the end of their video, {dropped} that end before they begin left out"]
    return Tables(table(BOXES, boxes), table(RELATIONS, related), segments, notes)
