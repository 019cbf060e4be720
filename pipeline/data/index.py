"""Stage `index`: which videos there are, what they show, which split they belong to."""

from __future__ import annotations

import logging
from collections import Counter

import pyarrow as pa

from pipeline.data.lists import read_listing
from pipeline.data.sets.listing import Listing
from pipeline.data.settings import Index
from pipeline.jobs import stage

logger = logging.getLogger("conceptreel")


def check_classes(listing: Listing) -> None:
    """Raises: StageError: a class has no train video that can be used; nothing could be learned about it."""
    if listing.test_only:
        return
    named = Counter(entry.class_name for entry in listing.entries)
    good = [entry for entry in listing.entries if not entry.problem]
    learned = {entry.class_name for entry in good if entry.split == "train"}
    empty = [name for name in listing.class_names if name not in learned]
    if empty:
        name = empty[0]
        elsewhere = sum(entry.class_name == name for entry in good)
        why = "no video is listed"
        if named[name]:
            why = f"of its {named[name]} listed videos none can be used"
        if elsewhere:
            why = f"all {elsewhere} are in other splits"
        others = f" (and {len(empty) - 1} further classes)" if len(empty) > 1 else ""
        raise stage.StageError(
            f"index: the class `{name}` has no train video: {why}{others}; add videos or take it off the class list"
        )


def build(job: stage.Job) -> None:
    """Write ``index.parquet``: one row per video; a problem is a status with its reason, not an error."""
    settings = Index.model_validate(job.settings)
    listing = read_listing(settings, job.root)
    entries = listing.entries
    for note in [*listing.notes, *listing.missing]:
        logger.warning("%s: %s", job.dataset, note)
    failed = {entry.video_id: entry.problem for entry in entries if entry.problem}
    table = pa.table(
        {
            "video_id": [entry.video_id for entry in entries],
            "path": [entry.path for entry in entries],
            "first_frame": pa.array([entry.frames and entry.frames[0] for entry in entries], pa.int32()),
            "end_frame": pa.array([entry.frames and entry.frames[1] for entry in entries], pa.int32()),
            "label": pa.array([-1 if entry.label is None else entry.label for entry in entries], pa.int32()),
            "class_name": [entry.class_name or "" for entry in entries],
            "split": [entry.split for entry in entries],
            "listed": [entry.listed for entry in entries],
            "group": [entry.group or "" for entry in entries],
            "status": ["failed" if entry.problem else "ok" for entry in entries],
            "reason": [entry.problem or "" for entry in entries],
        }
    )
    job.check_failures(failed, len(entries), settings.max_failed_fraction)
    check_classes(listing)
    content = {name: getattr(listing, name) for name in ("class_names", "published", "notes", "missing")}
    job.write_table("index", table, content, failed=failed)


if __name__ == "__main__":
    stage.run("index", build)
