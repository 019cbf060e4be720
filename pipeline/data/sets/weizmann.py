"""Weizmann (Gorelick et al. 2007): ten actions of nine actors; one actor, or some, make the test split."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.entries import VIDEO_SUFFIXES, Entry, ListError, video_id
from pipeline.data.sets.listing import Listing, check_test_groups, files_in, folder_of, own_class_list

ACTORS = ("daria", "denis", "eli", "ido", "ira", "lena", "lyova", "moshe", "shahar")
# One per actor and action. The download has three more, because lena runs, skips and walks in both directions.
PUBLISHED = {"total": 90}
SECOND_TAKES = 3


def read(settings, root: Path) -> Listing:
    """``walk/daria_walk.avi``; a pair of actor and action without a file is an entry that is missing."""
    if not settings.test_groups:
        raise ListError(f"data.index.test_groups must name the actors to test on, of {', '.join(ACTORS)}")
    check_test_groups(settings.test_groups, set(ACTORS))
    videos = folder_of(root, settings.videos, "videos")
    names = own_class_list(settings, root, "weizmann")
    entries = []
    for label, name in enumerate(names):
        files = files_in(root / videos / name, VIDEO_SUFFIXES)
        for actor in ACTORS:
            own = [file for file in files if file.startswith(f"{actor}_")]
            split = "test" if actor in settings.test_groups else "train"
            for file in own or [f"{actor}_{name}.avi"]:
                entries.append(
                    Entry(video_id(f"{name}/{file}"), f"{name}/{file}", (label,), (name,), split, split, actor)
                )
    published = {} if len(entries) == PUBLISHED["total"] + SECOND_TAKES else PUBLISHED
    return Listing(names, entries, videos, published)
