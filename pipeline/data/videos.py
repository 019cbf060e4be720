"""Stage `videos`: which videos there are, whatever they show; all experiments on them share what is made of each."""

from __future__ import annotations

import logging

import pyarrow as pa

from pipeline.data.entries import DEVELOPMENT, Entry, ListError, without_suffix
from pipeline.data.lists import read_listing
from pipeline.data.settings import Index
from pipeline.data.table import columns_of
from pipeline.jobs import stage

logger = logging.getLogger("conceptreel")


def developed_in(entries: list[Entry], experiments: dict[str, list[Entry]]) -> set[str]:
    """Ids of the videos that some experiment trains on or validates with.

    Args:
        entries: of the data set's own lists.
        experiments: name → entries of each experiment.

    Raises:
        StageError: an experiment has a video that the data set's own lists do not name.
    """

    def file_of(entry: Entry) -> tuple[str, str, tuple[int, int] | None]:
        return entry.video_id, without_suffix(entry.path), entry.frames

    known = {file_of(entry) for entry in entries}
    for name, own in experiments.items():
        for entry in own:
            if file_of(entry) not in known:
                raise stage.StageError(
                    f"the experiment `{name}` has the video `{entry.video_id}` ({entry.path}), which the data "
                    f"set's own lists do not name; add it there, or make the experiment a separate data set"
                )
    return {entry.video_id for own in (entries, *experiments.values()) for entry in own if entry.split in DEVELOPMENT}


def build(job: stage.Job) -> None:
    """Write ``videos.parquet``: one row per video; a problem is a status with its reason, not an error."""
    settings = Index.model_validate(job.settings["index"])
    entries = read_listing(settings, job.root).entries
    experiments = {name: Index.model_validate(raw) for name, raw in job.settings["experiments"].items()}
    listed, notes = {}, []
    for name, own in experiments.items():
        try:
            listed[name] = entries if own == settings else read_listing(own, job.root).entries
        except ListError as error:  # the lists of another split need not be there until it is run
            notes.append(f"experiment `{name}` is left out: {error}")
            logger.warning(notes[-1])
    developed = developed_in(entries, listed)
    columns = columns_of(entries) | {"developed": [entry.video_id in developed for entry in entries]}
    failed = {entry.video_id: entry.problem for entry in entries if entry.problem}
    job.check_failures(failed, len(entries), settings.max_failed_fraction)
    job.write_table("videos", pa.table(columns), {"notes": notes}, failed=failed)


if __name__ == "__main__":
    stage.run("videos", build)
