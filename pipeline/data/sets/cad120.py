"""CAD-120 with the scene graphs of Zhuo et al. 2019: `annotations.zip`, whose `video_clips.txt` has the segments."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

from pipeline.data.entries import Entry, ListError, Segment, video_id
from pipeline.data.sets.listing import Listing, check_test_groups, find_file

ARCHIVE = "annotations.zip"
CLIPS = "annotations/video_clips.txt"
# Kinect recordings.
FPS = 30.0


class Clip(NamedTuple):
    """A labelled part of a recording; frames count from 1."""

    subject: str
    activity: str
    recording: str
    first: int
    last: int
    action: str

    @property
    def path(self) -> str:
        return f"{self.subject}/{self.activity}/{self.recording}"


def clips(root: Path) -> list[Clip]:
    """All segments that have an action.

    Raises:
        ListError: the archive or its list cannot be read.
    """
    path = find_file(root, ARCHIVE)
    try:
        with zipfile.ZipFile(path) as archive:
            lines = archive.read(CLIPS).decode().splitlines()
        rows = [[word.strip() for word in line.split(",")] for line in lines if line.strip()]
        found = [Clip(a, b, c, int(first), int(last), action) for a, b, c, first, last, action in rows]
    except (zipfile.BadZipFile, KeyError, ValueError, UnicodeDecodeError) as error:
        raise ListError(f"{path} has no {CLIPS} of segments ({error})") from None
    return [clip for clip in found if clip.action != "null"]


def read(settings, root: Path) -> Listing:
    """One entry per recording that has segments; groups are subjects, `data.index.test_groups` is a fold."""
    found = clips(root)
    names = sorted({clip.action for clip in found})
    check_test_groups(settings.test_groups, {clip.subject for clip in found})
    by_path: dict[str, list[Clip]] = {}
    for clip in found:
        by_path.setdefault(clip.path, []).append(clip)
    entries = []
    for path, own in sorted(by_path.items()):
        labels = tuple(sorted({names.index(clip.action) for clip in own}))
        spans = [Segment((clip.first - 1) / FPS, clip.last / FPS, names.index(clip.action)) for clip in own]
        split = "test" if own[0].subject in settings.test_groups else "train"
        words = tuple(names[label] for label in labels)
        entries.append(
            Entry(video_id(path), path, labels, words, split, split, own[0].subject, segments=tuple(sorted(spans)))
        )
    return Listing(names, entries, settings.videos, notes=["segments without an action (`null`) are left out"])
