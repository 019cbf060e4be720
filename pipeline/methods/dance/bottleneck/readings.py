"""Stage `readings`: the motion concepts of every video, read from its poses."""

from __future__ import annotations

import numpy as np

from pipeline.jobs import stage
from pipeline.methods.dance.bottleneck.reading import readings_of
from pipeline.methods.dance.curation import kept_groups, parted
from pipeline.methods.dance.settings import Reading


def build(job: stage.Job) -> None:
    """Write one row per video that has key clips; NaN where none of them can be read."""
    own_settings, _ = parted(job.settings)
    settings = Reading.model_validate(own_settings)
    ((concepts, about),) = job.read_arrays("motion_concepts")
    groups = kept_groups(job, "motion", about["names"])
    medoids = concepts["medoids"][[row for own in groups for row in own]]
    concept_of = np.repeat(np.arange(len(groups)), [len(own) for own in groups])
    ids: list[str] = []
    rows = [np.zeros((0, len(groups)))]
    failed: dict[str, str] = {}
    # A shard has the same videos in both.
    for (poses, posed), (clips, described) in zip(job.read_arrays("poses"), job.read_arrays("pose_clips"), strict=True):
        failed |= {item["video_id"]: item["reason"] for item in posed["failed"]}
        shown = posed["video_id"], described["video_id"]
        for key, values in readings_of(poses, shown[0], clips, shown[1], medoids, settings, concept_of):
            ids.append(key)
            rows.append(values[None])
    job.write_arrays(
        "readings",
        {"readings": np.concatenate(rows).astype(np.float32)},
        {"video_id": ids, "names": [about["names"][own[0]] for own in groups]},
        n_ok=len(ids),
        failed=failed,
    )


if __name__ == "__main__":
    stage.run("readings", build)
