"""Stage `sentences`: what language baselines learn from in place of motion (DANCE supplement 4.2).

Temporal sentences tell how an action unfolds, spatio-temporal ones mix that with objects and scenes. They go through
the filters of the objects and scenes, but for the one on length.
"""

from __future__ import annotations

import numpy as np

from pipeline.context import filters
from pipeline.context.encoders import load_dual_encoder
from pipeline.context.settings import Sentences
from pipeline.context.texts import read_candidates, spoken
from pipeline.data.table import join_shards, read_index
from pipeline.jobs import stage
from pipeline.store.code import PROJECT


def read_sentences(job: stage.Job, settings: Sentences) -> list[filters.Candidate]:
    """The sentences of all files; classes may share one.

    Raises:
        StageError: a file is missing or empty.
    """
    found = []
    for kind, name in settings.files.items():
        path = job.root / name
        path = path if path.is_file() else PROJECT / name  # the project ships some
        if not path.is_file():
            raise stage.StageError(
                f"{job.root / name} does not exist; context.sentences.files names it, one {kind} sentence per line"
            )
        found += [filters.Candidate(kind, text) for text in dict.fromkeys(read_candidates(path))]
        job.note_file(kind, path)
    return found


def build(job: stage.Job) -> None:
    """Filter the sentences and write their similarity to every video (DANCE eq. 3)."""
    settings = Sentences.model_validate(job.settings)
    videos = read_index(job)
    joined = join_shards(job, "dual_encoder", "embeddings")
    _, described = job.read_table("index")
    class_names = described["class_names"]
    candidates = read_sentences(job, settings)
    encoder = load_dual_encoder(settings.model, settings.revision, settings.sha256, job.runtime)
    texts = encoder.texts([candidate.text for candidate in candidates])  # [m, E]
    if joined.values.shape[1] != texts.shape[1]:
        raise stage.StageError(
            f"videos are embedded in {joined.values.shape[1]} dimensions, sentences in {texts.shape[1]}; name the "
            f"dual encoder of the videos in context.sentences.model"
        )
    where = videos.rows_of(joined.video_id)
    known = where >= 0
    similarity = joined.values[known] @ texts.T  # [n, m]
    # Rule 9 of the cache: what is in the data is decided on train videos only.
    train = videos.split[where[known]] == "train"
    classes = encoder.texts([spoken(name) for name in class_names])
    kept = filters.apply_filters(candidates, texts, (class_names, classes), similarity[train], settings)
    job.write_table("sentences", filters.as_table(candidates))
    job.write_arrays(
        "sentence_labels",
        {"similarity": similarity[:, kept].astype(np.float32)},
        {
            "video_id": [key for key, ok in zip(joined.video_id, known, strict=True) if ok],
            "types": [candidate.type for candidate in candidates if candidate.kept],
            "names": [candidate.text for candidate in candidates if candidate.kept],
        },
        n_ok=int(known.sum()),
        failed=joined.failed,
        **encoder.record(settings.model, settings.revision),
    )


if __name__ == "__main__":
    stage.run("sentences", build)
