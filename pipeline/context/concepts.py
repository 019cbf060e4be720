"""Stage `concepts`: which object and scene candidates become concepts, and the pseudo labels of every video."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline import stage
from pipeline.config import Concepts
from pipeline.context import filters
from pipeline.data.table import join_shards, read_index


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

    table = filters.apply_text_filters(
        described["type"],
        described["text"],
        texts["bare"],
        described["class_names"] if len(texts["classes"]) else [],
        texts["classes"],
        similarity[train],
        settings,
    )
    kept = np.array([row.kept for row in table])
    columns = filters.columns(table)
    job.write_table(
        "concepts",
        pa.table(columns),
        {"class_filter": "applied" if len(texts["classes"]) else "not applied: no class name embeddings were imported"},
    )
    job.write_arrays(
        "pseudo_labels",
        {"similarity": similarity[:, kept].astype(np.float32)},
        {
            "video_id": ids,
            "types": [row.type for row in table if row.kept],
            "names": [row.text for row in table if row.kept],
        },
        n_ok=len(ids),
        failed=joined.failed,
    )


if __name__ == "__main__":
    stage.run("concepts", build)
