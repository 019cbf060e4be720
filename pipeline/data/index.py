"""Stage `index`: what the videos show, and which split they belong to."""

from __future__ import annotations

import logging
from collections import Counter

import pyarrow as pa

from pipeline.data.lists import read_listing
from pipeline.data.sets.listing import Listing
from pipeline.data.settings import Index
from pipeline.data.table import columns_of
from pipeline.jobs import stage
from pipeline.store.places import VIDEOS_OF

logger = logging.getLogger("conceptreel")

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
            why = f"of its {named[name]} listed videos none can be used"
        if elsewhere:
            why = f"all {elsewhere} are in other splits"
        others = f" (and {len(empty) - 1} further classes)" if len(empty) > 1 else ""
        raise stage.StageError(
            f"index: the class `{name}` has no train video: {why}{others}; add videos or take it off the class list; "
            f"data.index.unseen_classes allows it for methods that can name actions they were not trained on"
        )


def build(job: stage.Job) -> None:
    """Write ``index.parquet``: one row per video; a problem is a status with its reason, not an error."""
    settings = Index.model_validate(job.settings)
    listing = read_listing(settings, job.root)
    entries = listing.entries
    for note in [*listing.notes, *listing.missing]:
        logger.warning("%s: %s", job.dataset, note)
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
    check_classes(listing, settings.unseen_classes)
    content = {name: getattr(listing, name) for name in ("class_names", "published", "notes", "missing")}
    if job.videos_of:
        content[VIDEOS_OF] = job.videos_of
    job.write_table("index", pa.table(columns), content, failed=failed)


if __name__ == "__main__":
    stage.run("index", build)
