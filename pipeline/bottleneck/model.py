"""Stage `model`: everything a user needs in ``model.pt``, what it sees in every video, and the figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipeline import stage
from pipeline.bottleneck.activations import TYPES, Samples, activations, kept_motion_concepts, read_samples
from pipeline.bottleneck.classifier import accuracy
from pipeline.bottleneck.layers import standardise
from pipeline.bottleneck.recogniser import ConceptModel
from pipeline.store.arrays import Arrays
from pipeline.store.atomic import ArtifactError, replace_when_done
from pipeline.store.tables import read_attributes

DEVELOPMENT = ("train", "val")


def top_k_accuracy(z: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: np.ndarray, k: int) -> float:
    """Share of samples whose class is among the k highest logits."""
    logits = z @ weight.T + bias
    own = logits[np.arange(len(y)), y][:, None]
    return float(((logits > own).sum(1) < k).mean()) if len(y) else float("nan")


def stage_seconds(folder: Path) -> dict[str, float]:
    """Recorded run time per stage, summed over its shards, of the artifacts below a results folder."""
    longest: dict[tuple[str, str], float] = {}
    for path in sorted(folder.rglob("[!.]*")):
        try:
            if path.name.endswith(".zarr.zip"):
                with Arrays(path) as artifact:
                    record = artifact.attributes["provenance"]
            elif path.suffix == ".parquet":
                record = read_attributes(path)["provenance"]
            else:
                continue
        except ArtifactError:
            continue
        job = (record["stage"], str(record["shard"]))
        # A stage with two artifacts records its running time in each; the later one is the stage's.
        longest[job] = max(longest.get(job, 0), record["seconds"])
    seconds: dict[str, float] = {}
    for (name, _), value in sorted(longest.items()):
        seconds[name] = round(seconds.get(name, 0) + value, 3)
    return seconds


def type_columns(types: np.ndarray, kind: str) -> np.ndarray:
    return np.ones(len(types), bool) if kind == "all" else types == kind


def accuracies(
    samples: Samples, z: np.ndarray, types: np.ndarray, arrays: dict[str, np.ndarray], rows: np.ndarray
) -> dict[str, float]:
    """Top-1 of the classifier over all concepts and over each type alone, on the given rows."""
    y = samples.videos.label[rows]
    return {
        kind: accuracy(z[rows][:, type_columns(types, kind)], y, arrays[f"{kind}/weight"], arrays[f"{kind}/bias"])
        for kind in (*TYPES, "all")
        if f"{kind}/weight" in arrays
    }


def build(job: stage.Job) -> None:
    """Write the activations, the model and the metrics."""
    samples = read_samples(job)
    ((layer, described),) = job.read_arrays("concept_layers")
    ((concepts, about_motion),) = job.read_arrays("motion_concepts")
    ((arrays, chosen),) = job.read_arrays("classifier")
    table, _ = job.read_table("concept_table")
    types = np.array(described["types"])
    z = activations(samples.features, layer)
    y = samples.videos.label.astype(np.int64)
    test = samples.split("test")
    main = chosen["certificates"]["all"]

    n_failed = len(samples.failed)
    metrics = {
        "dataset": job.dataset,
        "n_train": int(samples.split("train").sum()),
        "n_val": int(samples.split("val").sum()),
        "n_test": int(test.sum()),
        "n_failed": n_failed,
        "n_classes": len(samples.videos.class_names),
        "top1": accuracy(z[test], y[test], arrays["all/weight"], arrays["all/bias"]),
        "top5": top_k_accuracy(z[test], y[test], arrays["all/weight"], arrays["all/bias"], 5),
        "top1_by_type": accuracies(samples, z, types, arrays, test),
        "backbone_top1": accuracy(
            standardise(samples.features[test], arrays["backbone/mean"], arrays["backbone/std"]),
            y[test],
            arrays["backbone/weight"],
            arrays["backbone/bias"],
        ),
        "n_concepts": {kind: int((types == kind).sum()) for kind in TYPES},
        "nnz": int(main["nnz"]),
        "top1_at_nec": {
            name.removeprefix("nec_"): accuracy(z[test], y[test], arrays[f"{name}/weight"], arrays[f"{name}/bias"])
            for name in chosen["certificates"]
            if name.startswith("nec_")
        },
        "kkt_gap": main["kkt_gap"],
        "relative_duality_gap": main["relative_gap"],
        "lambda": main["lambda"],
        "val_top1": main["val_top1"],
        "val_top1_by_type": {
            kind: chosen["certificates"][kind]["val_top1"] for kind in TYPES if kind in chosen["certificates"]
        },
    }
    for split in sorted(set(samples.videos.split) - {*DEVELOPMENT, "test"}):
        by_type = accuracies(samples, z, types, arrays, samples.split(split))
        metrics[f"n_{split}"] = int(samples.split(split).sum())
        metrics[f"{split}_top1"] = by_type["all"]
        metrics[f"{split}_top1_by_type"] = by_type
    if job.inputs.get("evaluation"):
        evaluation, _ = job.read_table("evaluation")
        figures = dict(zip(evaluation["figure"].to_pylist(), evaluation["value"].to_pylist(), strict=True))
        metrics["pck"] = figures["pck_test_visible"]
        metrics["ceilings"] = {
            name.removeprefix("ceiling_"): value for name, value in figures.items() if name.startswith("ceiling_")
        }
        metrics["evaluation"] = {name: value for name, value in figures.items() if not name.startswith("ceiling_")}
    metrics["seconds"] = stage_seconds(job.outputs["model"].parent)

    digest = job.write_arrays(
        "activations",
        {"z": z.astype(np.float32), "label": samples.videos.label.astype(np.int32)},
        {
            "video_id": samples.videos.video_id.tolist(),
            "split": samples.videos.split.tolist(),
            "class_names": samples.videos.class_names,
            "names": described["names"],
            "types": described["types"],
        },
        n_ok=len(z),
        failed=samples.failed,
    )
    motion = kept_motion_concepts(described, about_motion)
    kept = [row for row in table.to_pylist() if row["kept"]]
    model = ConceptModel(
        samples.videos.class_names,
        described["names"],
        described["types"],
        layer,
        arrays["all/weight"],
        arrays["all/bias"],
        concepts["medoids"][motion] if len(concepts["medoids"]) else concepts["medoids"],
        {
            "dataset": job.dataset,
            "skeleton": about_motion["skeleton"],
            "n_videos": concepts["n_videos"][motion].tolist(),
            "quality": [row["quality"] for row in kept],
            "decode": job.settings["decode"],
            "features": job.settings["features"],
            "metrics": {name: value for name, value in metrics.items() if name != "seconds"},
            "edits": [],
            # Belongs together: whoever explains a video from the cache can tell whether it is this model's.
            "activations": digest,
        },
    )
    model.save(job.outputs["model"])
    with replace_when_done(job.outputs["metrics"]) as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")


if __name__ == "__main__":
    stage.run("model", build)
