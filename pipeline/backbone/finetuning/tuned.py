"""What other stages read of a fine-tuning; without the training code, whose changes are not theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.encoding import checkpoints
from pipeline.jobs.stage import Job
from pipeline.store.atomic import ArtifactError


def tuned_backbone(job: Job) -> tuple[str, str] | None:
    """Name and revision of the tuned backbone that a job was given; None if it got none.

    Raises:
        ArtifactError: it was made with other settings, or the weights are not those that its curve tells of.
    """
    if not job.given("finetune"):
        return None
    _, attributes = job.read_table("finetune")
    folder = job.input("finetuned").parent
    check(folder, attributes["weights"])
    return str(folder), "main"


def named_backbone(job: Job) -> dict[str, Any]:
    """How a model file names its backbone: ``features``, and ``finetuned``, the digest of tuned weights.

    Raises:
        ArtifactError: see `tuned_backbone`.
    """
    features, tuned = job.settings["features"], tuned_backbone(job)
    if tuned is None:
        return {"features": features}
    model, revision = tuned
    digest = checkpoints.weights_digest(model, revision)
    return {"features": {**features, "model": model, "revision": revision, "sha256": digest}, "finetuned": digest}


def check(folder: Path, expected: str) -> None:
    """Compare the weights in a folder with those that are expected.

    Raises:
        ArtifactError: they are absent or others.
    """
    if not (folder / checkpoints.WEIGHTS).is_file():
        raise ArtifactError(
            f"there is no fine-tuned backbone in {folder}; run the pipeline again to tune it, and keep the model in "
            f"the folder of its run, or copy the backbone there"
        )
    if checkpoints.weights_digest(str(folder)) != expected:
        raise ArtifactError(
            f"the weights in {folder} are not the expected ones: they were tuned again or changed after they were "
            f"written; run the pipeline again"
        )
