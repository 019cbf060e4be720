"""Stage `baseline_model`: one baseline as a model file, which predicts and explains like any other."""

from __future__ import annotations

import numpy as np

from pipeline.backbone.finetuning.tuned import named_backbone
from pipeline.jobs import stage
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel


def build(job: stage.Job) -> None:
    """Write the model of the kind that the output file is named after."""
    ((arrays, described),) = job.read_arrays("baselines")
    path = job.outputs["model"]
    kind = path.stem
    if kind not in described["kinds"]:
        raise stage.StageError(
            f"{kind} is not among the baselines of {job.dataset} ({', '.join(described['kinds'])}); add it to "
            f"bottleneck.baselines.kinds"
        )
    own = described["kinds"][kind]
    model = ConceptModel(
        described["class_names"],
        own["names"],
        own["types"],
        {name: arrays[f"{kind}/layer_{name}"] for name in ("weight", "mean", "std")},
        arrays[f"{kind}/weight"],
        arrays[f"{kind}/bias"],
        np.zeros((0, 2, 1, 2), np.float32),
        {
            "dataset": job.dataset,
            "kind": kind,
            "quality": [float("nan")] * len(own["names"]),
            "decode": job.settings["decode"],
            **named_backbone(job),
            "metrics": own["figures"],
            "edits": [],
            "skeleton": "coco",
            "n_videos": [],
        },
    )
    model.save(path)


if __name__ == "__main__":
    stage.run("baseline_model", build)
