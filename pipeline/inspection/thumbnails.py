"""Contact sheets: what the videos of a cache look like, without opening them one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.data.isolated import Decoder
from pipeline.data.readers import VideoError, resize_and_crop
from pipeline.inspection.cache import InspectionError, index_of, nearest, shards_in
from pipeline.store.arrays import Arrays
from pipeline.store.atomic import replace_when_done
from pipeline.store.places import shards_of
from pipeline.store.tables import read_table

SUFFIXES = (".png", ".jpg", ".jpeg")
GAP = 4
LABEL = 14
BACKGROUND = (255, 255, 255)
# A row of the index.
Row = dict[str, Any]


@dataclass(frozen=True)
class Tile:
    """A picture of the sheet: uint8 ``[H, W, 3]``, and the line below it."""

    picture: np.ndarray
    label: str


def _fitted(text: str, width: int, font: Any) -> str:
    """Text cut from its end until it fits; ids differ at their ends, so the beginning goes."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"…{text}") > width:
        text = text[1:]
    return f"…{text}"


def contact_sheet(tiles: list[Tile], columns: int, size: int) -> Image.Image:
    """Tiles in rows, each enlarged or reduced into a square of ``size`` pixels with its label below.

    Raises:
        ValueError: there is no tile.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one picture")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    across, down = size + GAP, size + LABEL + GAP
    sheet = Image.new("RGB", (columns * across + GAP, rows * down + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(10)
    for number, tile in enumerate(tiles):
        x, y = GAP + number % columns * across, GAP + number // columns * down
        picture = Image.fromarray(tile.picture)
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
        sheet.paste(picture, (x, y))
        draw.text((x, y + size), _fitted(tile.label, size, font), fill=(60, 60, 60), font=font)
    return sheet


def chosen_videos(
    folder: Path, classes: list[str] | None = None, splits: list[str] | None = None, ids: list[str] | None = None
) -> list[Row]:
    """Rows of the index of videos that are ok, class by class.

    Raises:
        InspectionError: no index, or an unknown class, split or video (with the nearest names).
    """
    rows = list(index_of(folder)[0].values())
    for what, names_of, given in (
        ("class", lambda row: row["class_names"], classes),
        ("split", lambda row: [row["split"]], splits),
        ("video", lambda row: [row["video_id"]], ids),
    ):
        known = sorted({name for row in rows for name in names_of(row)})
        for name in given or ():
            if name not in known:
                raise InspectionError(f"there is no {what} `{name}` in {folder}{nearest(name, known)}")
        rows = [row for row in rows if not given or set(given) & set(names_of(row))]
    return sorted((row for row in rows if row["status"] == "ok"), key=lambda row: (row["class_names"], row["video_id"]))


def spread(videos: list[Row], limit: int) -> list[Row]:
    """At most ``limit`` videos, evenly over the sorted list, so that every class is among them if there is room."""
    if len(videos) <= limit:
        return videos
    return [videos[i * len(videos) // limit] for i in range(limit)]


def clip_tiles(folder: Path, videos: list[Row], whole: bool) -> Iterator[Tile]:
    """Frames of the cached model clips: the middle one of each video, or all.

    Raises:
        InspectionError: the cache keeps no clips, or not of these videos.
    """
    clips = shards_in(folder, "data/clips")
    where = {video: (path, i) for path, header in clips.items() for i, video in enumerate(header["video_id"])}
    found = [video["video_id"] for video in videos if video["video_id"] in where]
    if not found:
        raise InspectionError(f"{folder} has no clips of these videos in data/clips/")
    for video in found:
        path, i = where[video]
        with Arrays(path) as artifact:
            frames = artifact.part("frames", slice(i, i + 1))[0]
            numbers = artifact.part("frame_index", slice(i, i + 1))[0]
        for n in range(len(frames)) if whole else [len(frames) // 2]:
            yield Tile(frames[n], f"{video} {numbers[n]}")


def keyframe_tiles(folder: Path, videos: list[Row], root: Path, size: int, limit: int) -> Iterator[Tile]:
    """Key frames, decoded from the video files, at most ``limit``.

    Raises:
        InspectionError: no key frames in the cache, or a video file cannot be read.
    """
    frames: dict[str, list[int]] = {}
    for path in shards_of(folder, "motion/keyframes", ".parquet"):
        for row in read_table(path)[0].to_pylist():
            frames[row["video_id"]] = row["frames"]
    found = [video for video in videos if frames.get(video["video_id"])]
    if not found:
        raise InspectionError(f"{folder} has no key frames of these videos in motion/keyframes/")
    made = 0
    with Decoder() as decoder:
        for video in found:
            wanted = frames[video["video_id"]][: limit - made]
            if not wanted:
                return
            try:
                first = video.get("first_frame")
                excerpt = None if first is None else (first, video["end_frame"])
                with decoder.open(root / video["path"], frames=excerpt, min_fraction=0) as opened:
                    pictures = resize_and_crop(opened.frames(wanted), size)
            except VideoError as error:
                raise InspectionError(
                    f"{root / video['path']} cannot be read ({error}); `--frames clip` needs no video files"
                ) from None
            made += len(wanted)
            for number, picture in zip(wanted, pictures, strict=True):
                yield Tile(picture, f"{video['video_id']} {number}")


def write_sheet(sheet: Image.Image, out: Path) -> None:
    """Save as PNG or JPEG, by one of the `SUFFIXES`."""
    with replace_when_done(out) as temporary:
        sheet.save(temporary)
