"""Stage `index`: what the videos show, and which split they belong to."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pyarrow as pa

from pipeline.data.lists import read_listing
from pipeline.data.sets.listing import Listing
from pipeline.data.settings import Index
from pipeline.data.table import columns_of
from pipeline.data.unused import first_lines, with_findings
from pipeline.jobs import stage
from pipeline.store.places import VIDEOS_OF

FEW_VIDEOS = 5
SEGMENTS = pa.list_(pa.struct({"start": pa.float64(), "end": pa.float64(), "label": pa.int32()}))


def check_classes(listing: Listing, unseen_classes: bool = False) -> None:
    """Check that something can be learned about every class.

    Args:
        unseen_classes: whether classes without train videos are allowed.

    Raises:
        StageError: a class has no train video that can be used.
    """
    if listing.test_only or unseen_classes:
        return
    named = Counter(name for entry in listing.entries for name in entry.class_names)
    good = [entry for entry in listing.entries if not entry.problem]
    learned = {name for entry in good if entry.split == "train" for name in entry.class_names}
    empty = [name for name in listing.class_names if name not in learned]
    if empty:
        name = empty[0]
        elsewhere = sum(name in entry.class_names for entry in good)
        why = "no video is listed"
        if named[name]:
            why = f"none of its {named[name]} listed videos can be used"
        if elsewhere:
            why = f"all {elsewhere} are in other splits"
        others = f" (and {len(empty) - 1} more classes)" if len(empty) > 1 else ""
        raise stage.StageError(
            f"the class `{name}` has no train video: {why}{others}; add videos or take it off the class list; "
            f"data.index.unseen_classes allows it for methods that can name actions they were not trained on"
        )


def check_splits(listing: Listing, settings: Index) -> None:
    """Check that there is something to decide about, to learn from, to choose by and to test on.

    Raises:
        StageError: one class alone, or a split without a usable video; says what to change.
    """
    if listing.test_only:
        return
    good = [entry for entry in listing.entries if not entry.problem]
    if len(listing.class_names) == 1 and all(entry.labels for entry in good):
        raise stage.StageError(f"there is only one class, `{listing.class_names[0]}`; add videos of another class")
    # Who names lists, and none of test videos, wants none: figures of test are null then.
    untested = settings.lists and "test" not in settings.lists and not settings.test_fraction
    for split in ("train", "val") if untested else ("train", "val", "test"):
        if not any(entry.split == split for entry in good):
            raise stage.StageError(f"the split `{split}` has no video: {_why_empty(split, listing, settings)}")


def _why_empty(split: str, listing: Listing, settings: Index) -> str:
    """What left a split empty, and what to change."""
    listed = [entry for entry in listing.entries if split in (entry.listed, entry.split)]
    if listed:
        return f"none of its {len(listed)} listed videos can be used, for example {listed[0].path}: {listed[0].problem}"
    if split == "train" or split in settings.lists:
        return "its list names none"
    if split == "test" and not settings.test_fraction:
        return "name a list for it, add a folder test/, or set data.index.test_groups or data.index.test_fraction"
    pool = [entry for entry in listing.entries if not entry.problem and entry.split in ("train", "val")]
    classes = Counter(name for entry in pool for name in entry.class_names)
    groups = {entry.group for entry in pool if entry.group}
    fraction = f"data.index.{'test' if split == 'test' else 'validation'}_fraction"
    if settings.validation_by == "group" and groups:
        return (
            f"{fraction} moves whole groups, and {len(groups)} groups of {len(pool)} videos are too few to leave each "
            f"class a train video; set data.index.validation_by: video, a group_pattern with more groups, or add videos"
        )
    return (
        f"{fraction} leaves each class a train video, and {len(pool)} videos of {len(classes)} classes are too few for "
        f"that; a class needs one for each of train, val and test"
    )


def few_videos(listing: Listing) -> list[str]:
    """Classes of which little can be learned, one line each."""
    usable = Counter(name for entry in listing.entries if not entry.problem for name in entry.class_names)
    lines = [
        f"{name}: {usable[name]} videos are few; a class with fewer than {FEW_VIDEOS} is hardly learned"
        for name in listing.class_names
        if usable[name] < FEW_VIDEOS and not listing.test_only
    ]
    return first_lines(lines, "classes")


def build(job: stage.Job) -> None:
    """Write ``index.parquet``: one row per video; a problem is a status with its reason, not an error."""
    settings = Index.model_validate(job.settings)
    listing = with_findings(read_listing(settings, job.root), settings, job.root)
    listing = replace(listing, notes=[*listing.notes, *few_videos(listing)])
    entries = listing.entries
    for note in [*listing.notes, *listing.missing, *listing.unused, *listing.copies]:
        job.warn(note)
    failed = {entry.video_id: entry.problem for entry in entries if entry.problem}
    segments = [[segment._asdict() for segment in entry.segments] for entry in entries]
    columns = columns_of(entries) | {
        "labels": pa.array([entry.labels for entry in entries], pa.list_(pa.int32())),
        "class_names": pa.array([entry.class_names for entry in entries], pa.list_(pa.string())),
        "segments": pa.array(segments, SEGMENTS),
        "split": [entry.split for entry in entries],
        "group": [entry.group or "" for entry in entries],
    }
    job.check_failures(failed, len(entries), settings.max_failed_fraction)
    check_splits(listing, settings)
    check_classes(listing, settings.unseen_classes)
    content = {"class_names": listing.class_names, "published": listing.published}
    if job.videos_of:
        content[VIDEOS_OF] = job.videos_of
    job.write_table("index", pa.table(columns), content, failed=failed)


if __name__ == "__main__":
    stage.run("index", build)
