"""Stage `concepts`: which object and scene candidates become concepts, and the pseudo labels of every video."""

from __future__ import annotations

import numpy as np

from pipeline.context import filters
from pipeline.context.settings import Concepts
from pipeline.data.table import join_shards, read_index
from pipeline.jobs import stage


def build(job: stage.Job) -> None:
    """Filter the candidates and write their similarity to every video (DANCE eq. 3)."""
    settings = Concepts.model_validate(job.settings)
    videos = read_index(job)
    joined = join_shards(job, "dual_encoder", "embeddings")
    ((texts, described),) = job.read_arrays("texts")
    if joined.values.shape[1] != texts["prompts"].shape[1]:
        raise stage.StageError(
            f"videos are embedded in {joined.values.shape[1]} dimensions, texts in {texts['prompts'].shape[1]}; "
            f"context.dual_encoder and context.texts must name the same dual encoder"
        )
    where = videos.rows_of(joined.video_id)
    known = where >= 0
    ids = [key for key, ok in zip(joined.video_id, known, strict=True) if ok]
    similarity = joined.values[known] @ texts["prompts"].T  # [n_videos, n_candidates]
    # Rule 9 of the cache: whether a concept is in the data is decided on train videos only.
    train = videos.split[where[known]] == "train"

    candidates = [
        filters.Candidate(kind, text) for kind, text in zip(described["type"], described["text"], strict=True)
    ]
    classes = texts["classes"]
    kept = filters.apply_filters(
        candidates,
        texts["bare"],
        (described["class_names"], classes),
        similarity[train],
        settings,
        settings.max_length,
    )
    job.write_table(
        "concepts",
        filters.as_table(candidates),
        {"class_filter": "applied" if len(classes) else "not applied: no class name embeddings were imported"},
    )
    job.write_arrays(
        "pseudo_labels",
        {"similarity": similarity[:, kept].astype(np.float32), "texts": texts["prompts"][kept].astype(np.float32)},
        {
            "video_id": ids,
            "types": [candidate.type for candidate in candidates if candidate.kept],
            "names": [candidate.text for candidate in candidates if candidate.kept],
        },
        n_ok=len(ids),
        failed=joined.failed,
    )


if __name__ == "__main__":
    stage.run("concepts", build)
