"""Stage `texts`: concept candidates and class names in the space of the dual encoder, E_T of DANCE eq. 3."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.context.settings import Texts
from pipeline.data.lines import lines_of
from pipeline.exchange.matrices import Matrix
from pipeline.jobs import stage
from pipeline.jobs.stage import Job, StageError
from pipeline.store.code import PROJECT

TYPES = ("object", "scene")


def read_candidates(path: Path) -> list[str]:
    """One candidate per line, without repeats; blank lines and lines that start with ``#`` are skipped.

    The shipped lists are ordered by class, under headings such as ``## Archery``: classes share objects and scenes.

    Raises:
        StageError: the file is missing or holds no candidate.
    """
    lines = lines_of(path, "context.texts.candidates names it, one concept per line")
    found = [line for _, line in lines if not line.startswith("#")]
    if not found:
        raise StageError(f"{path} holds no candidate")
    return list(dict.fromkeys(found))


def find_candidates(job: Job, settings: Texts) -> dict[str, list[str]]:
    """Candidates of each type that has some: of the stage `candidates` where it ran, else from the configured files.

    Raises:
        StageError: no type has a file, or a file cannot be read.
    """
    if job.given("candidates"):
        table, _ = job.read_table("candidates")
        found: dict[str, list[str]] = {kind: [] for kind in TYPES}
        for kind, text in zip(table["type"].to_pylist(), table["text"].to_pylist(), strict=True):
            if kind in found:
                found[kind].append(text)
        return {kind: list(dict.fromkeys(texts)) for kind, texts in found.items() if texts}
    if not settings.candidates:
        raise StageError(f"context.texts.candidates must name a file for each of {', '.join(TYPES)} that is learned")
    found = {}
    for kind in (kind for kind in TYPES if kind in settings.candidates):
        named = settings.candidates[kind]
        # The project ships lists for the published data sets; a list below the data set's own root comes first.
        places = [
            job.root / path if (job.root / path).is_file() else PROJECT / path
            for path in ([named] if isinstance(named, str) else named)
        ]
        texts = [text for place in places for text in read_candidates(place)]
        found[kind] = list(dict.fromkeys(texts))
        for place in places:
            job.note_file(kind, place)
    return found


def spoken(class_name: str) -> str:
    """A class name as one would say it: underscores and hyphens become spaces, CamelCase is parted."""
    parted = "".join(
        f" {letter}" if letter.isupper() and i and not class_name[i - 1].isupper() else letter
        for i, letter in enumerate(class_name)
    )
    return " ".join(parted.replace("_", " ").replace("-", " ").lower().split())


def in_order(rows: Matrix, candidates: list[str], where: str) -> np.ndarray:
    """Rows ``[m, d]`` of a file that names its texts, in the order of the candidates.

    Raises:
        StageError: a candidate has no row.
    """
    row_of = {text: row for row, text in enumerate(rows.ids or [])}
    absent = [text for text in candidates if text not in row_of]
    if absent:
        raise StageError(f"{where} has no row for {len(absent)} candidates, for example `{absent[0]}`")
    return rows.values[[row_of[text] for text in candidates]]


def build(job: Job) -> None:
    """Write the embeddings of prompts, of bare candidates and of class names."""
    settings = Texts.model_validate(job.settings)
    _, described = job.read_table("index")
    class_names = described["class_names"]
    candidates = find_candidates(job, settings)
    kinds = [kind for kind, found in candidates.items() for _ in found]
    texts = [text for found in candidates.values() for text in found]
    extra = {}
    if settings.source == "tensor":
        from pipeline.exchange.tensors import load_matrix

        matrices = []
        for kind in candidates:
            rows = load_matrix(job, f"texts_{kind}", settings.path.get(kind, ""), settings.array)
            matrix = rows.values if rows.ids is None else in_order(rows, candidates[kind], settings.path[kind])
            if len(matrix) != len(candidates[kind]):
                raise StageError(
                    f"{settings.path[kind]} has {len(matrix)} rows for {len(candidates[kind])} {kind} candidates"
                )
            norms = np.linalg.norm(matrix, axis=1, keepdims=True)
            if not (norms > 0).all():
                raise StageError(f"{settings.path[kind]}: an imported embedding is all zeros")
            matrices.append(matrix / norms)
        prompts = bare = np.concatenate(matrices)
        # Class names were not embedded by whoever made the file; the filter that needs them then says so.
        classes = np.zeros((0, prompts.shape[1]), np.float32)
    else:
        from pipeline.context.encoders import load_dual_encoder

        encoder = load_dual_encoder(settings.model, settings.revision, settings.sha256, job.runtime)
        prompts = encoder.texts([settings.prompt.format(concept=text) for text in texts])
        bare = encoder.texts(texts)
        classes = encoder.texts([spoken(name) for name in class_names])
        extra = encoder.record(settings.model, settings.revision)
    job.write_arrays(
        "texts",
        {"prompts": prompts, "bare": bare, "classes": classes},
        {"type": kinds, "text": texts, "class_names": class_names},
        n_ok=len(texts),
        **extra,
    )


if __name__ == "__main__":
    stage.run("texts", build)
