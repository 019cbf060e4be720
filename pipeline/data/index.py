"""Stage `index`: which videos there are, what they show, which split they belong to."""

from __future__ import annotations

import pyarrow as pa

from pipeline import stage
from pipeline.config import Index
from pipeline.data.lists import read_class_names, read_entries


def build(job: stage.Job) -> None:
    """Write ``index.parquet``: one row per video; a problem is a status with its reason, not an error."""
    settings = Index.model_validate(job.settings)
    class_names = read_class_names(settings, job.root)
    entries = read_entries(settings, job.root)
    failed = {entry.video_id: entry.problem for entry in entries if entry.problem}
    table = pa.table(
        {
            "video_id": [entry.video_id for entry in entries],
            "path": [entry.path for entry in entries],
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
    job.write_table("index", table, {"class_names": class_names}, failed=failed)


if __name__ == "__main__":
    stage.run("index", build)
