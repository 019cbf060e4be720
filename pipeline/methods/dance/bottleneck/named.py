"""Stage `named`: ``model.pt`` and ``metrics.json``, with the names that people have given to concepts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline.jobs import stage
from pipeline.methods.dance import curation
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.curation import Concept, Curation
from pipeline.methods.dance.explain.sanity import read_run
from pipeline.store.plain import write_json

COLUMNS = ("type", "digest", "was", "name", "state", "into", "approved", "words", "videos")


def with_names(
    model: ConceptModel, concepts: Sequence[Concept], marks: Mapping[str, Mapping[str, Any]]
) -> ConceptModel:
    """The model as people see it: with the digests of its concepts, given names, and marks of approval.

    Args:
        concepts: of the run; marks: see `pipeline.methods.dance.curation.Curation.marks`.

    Raises:
        CurationError: two concepts have one name.
    """
    known = {(concept.type, concept.was): concept.digest for concept in concepts}
    digests = [known[key] for key in zip(model.types, model.concepts, strict=True)]
    about = {**model.about, "digests": digests}
    if not marks:
        return replace(model, about=about)
    names = list(model.concepts)
    for kind in dict.fromkeys(model.types):
        own = [m for m, its in enumerate(model.types) if its == kind]
        given = curation.named(marks, kind, [(digests[m], model.concepts[m]) for m in own])
        for m, name in zip(own, given, strict=True):
            names[m] = name
    approved = [
        bool(marks.get(kind, {}).get(digest, {}).get("approved"))
        for kind, digest in zip(model.types, digests, strict=True)
    ]
    return replace(model, concepts=names, about={**about, "was": model.concepts, "approved": approved})


def concepts_of_job(job: stage.Job) -> list[Concept]:
    """As `pipeline.methods.dance.curation.of_run`, of the inputs of a job."""
    found: list[Concept] = []
    if job.given("motion_concepts"):
        ((arrays, about),) = job.read_arrays("motion_concepts")
        labels = job.read_table("motion_labels")[0].to_pylist()
        found += curation.motion_concepts(arrays, about, labels)
    if job.given("pseudo_labels"):
        ((_, about),) = job.read_arrays("pseudo_labels")
        found += curation.word_concepts(about)
    return found


def build(job: stage.Job) -> None:
    """Write the model, its figures, and what became of every concept that the run has found."""
    _, marks = curation.parted(job.settings)
    said = Curation.of(marks)
    model, _, _ = read_run(job)
    concepts = concepts_of_job(job)
    metrics = json.loads(job.note_file("learned", job.input("learned")).read_text())
    named = with_names(model, concepts, marks)
    if marks:
        metrics["curation"] = curation.told(said, concepts)
        if metrics["curation"]["unknown"]:
            sentence = curation.unknown_words(metrics["curation"]["unknown"])
            job.warn(sentence)
            metrics["warnings"].append(sentence)
    rows = curation.shown(said, concepts)
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    table = pa.table(
        {
            name: pa.array(values, pa.int32())
            if name == "videos"
            else pa.array(values, pa.bool_() if name == "approved" else pa.string())
            for name, values in columns.items()
        }
    )
    job.write_table("curation", table)
    named.save(job.outputs["model"])
    write_json(job.outputs["metrics"], metrics)


if __name__ == "__main__":
    stage.run("named", build)
