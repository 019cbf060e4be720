"""Stage `model`: everything a user needs in one file, what it sees in every video, and the figures."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from pipeline.backbone.finetuning.tuned import named_backbone
from pipeline.backbone.samples import Samples, read_samples
from pipeline.jobs import stage
from pipeline.learning.metrics import accuracy, top_k_accuracy, wilson
from pipeline.learning.novelty import reach_of
from pipeline.learning.scaling import standardise
from pipeline.methods.dance.bottleneck.activations import TYPES, KindConcepts, concepts_of, motion_of
from pipeline.methods.dance.bottleneck.leakage_scores import beside_read, leakage, read_truth
from pipeline.methods.dance.bottleneck.levels import DOUBTS
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.bottleneck.targets import word_groups
from pipeline.store.plain import write_json

WARNED = {
    "few_positives": "are shown by fewer than {least} training videos",
    "undivided": "do not divide the training videos into those with and without them",
    "unread": "cannot be read well from the features",
}


def stage_seconds(took: dict[str, float]) -> dict[str, float]:
    """Seconds per stage, summed over its shards.

    Args:
        took: seconds by ``stage`` or ``stage/shard``, see `pipeline.jobs.stage.Job.took`.
    """
    seconds: dict[str, float] = {}
    for job, value in took.items():
        name = job.partition("/")[0]
        seconds[name] = round(seconds.get(name, 0) + value, 3)
    return seconds


def accuracies(
    samples: Samples, z: np.ndarray, types: np.ndarray, arrays: dict[str, np.ndarray], rows: np.ndarray, prefix: str
) -> dict[str, float]:
    """Top-1 of the classifier over all concepts and over each type alone, on the given rows."""
    parts = {**{kind: types == kind for kind in TYPES}, "all": np.ones(len(types), bool)}
    y = samples.label[rows]
    return {
        kind: accuracy(z[rows][:, own], y, arrays[f"{prefix}{kind}/weight"], arrays[f"{prefix}{kind}/bias"])
        for kind, own in parts.items()
        if f"{prefix}{kind}/weight" in arrays
    }


def kind_figures(
    samples: Samples, concepts: KindConcepts, arrays: dict[str, np.ndarray], certificates: dict, prefix: str
) -> dict[str, Any]:
    """Figures of one model kind; accuracies of every split but those that were developed on, NaN without a video."""
    z = concepts.activations(samples.features)
    types = np.array(concepts.types)
    main = certificates[f"{prefix}all"]
    figures = {
        "n_concepts": {kind: int((types == kind).sum()) for kind in TYPES},
        "nnz": main["nnz"],
        "lambda": main["lambda"],
        "kkt_gap": main["kkt_gap"],
        "relative_duality_gap": main["relative_gap"],
        "val_top1": main["val_top1"],
        "val_top1_by_type": {
            kind: certificates[f"{prefix}{kind}"]["val_top1"] for kind in TYPES if f"{prefix}{kind}" in certificates
        },
    }
    if concepts.pooling:
        figures["pooling"] = concepts.pooling
    for split in samples.result_splits:
        by_type = accuracies(samples, z, types, arrays, samples.split(split), prefix)
        name = "" if split == "test" else f"{split}_"
        figures[f"{name}top1"] = by_type["all"]
        n = int(samples.split(split).sum())
        right = round(by_type["all"] * n) if n else 0
        figures[f"{name}right"] = {"count": right, "of": n, "interval": wilson(right, n)}
        figures[f"{name}top1_by_type"] = by_type
    return figures


def doubts(concepts: KindConcepts, min_positives: int) -> tuple[dict[str, int], list[str]]:
    """How many concepts are doubtful, by `DOUBTS`; and for each type what a person must know of it."""
    counts = Counter(doubt for doubt in concepts.doubts if doubt)
    sentences = []
    for kind in TYPES:
        own = [doubt for doubt, its in zip(concepts.doubts, concepts.types, strict=True) if its == kind]
        # Of dead ones the stage `concept_layers` has warned.
        parts = [f"{own.count(doubt)} {words}" for doubt, words in WARNED.items() if doubt in own]
        if parts:
            reason = "; ".join(parts).format(least=min_positives)
            sentences.append(f"{sum(map(bool, own))} of {len(own)} {kind} concepts are doubtful: {reason}")
    return {doubt: counts[doubt] for doubt in DOUBTS}, sentences


def window_length(decode: dict[str, Any], durations: np.ndarray, fps: np.ndarray) -> float | None:
    """Seconds that a clip spans in the typical training video; None where no video was decoded.

    Args:
        decode: settings of the decoder; durations: of the training videos in seconds, ``[n]``; fps: ``[n]``.
    """
    if not len(durations):
        return None
    if decode["sampling"] == "uniform":
        return float(np.median(durations))
    frames = (decode["n_frames"] - 1) * decode["stride"] + 1
    return float(np.median(np.minimum(durations, frames / fps)))


def spans(job: stage.Job, training: set[str]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and frame rates of the training videos, ``[n]`` each, from the motion signals that decoding leaves."""
    seconds, rates = [], []
    for arrays, about in job.read_arrays("signal") if job.given("signal") else ():
        for key, fps, first, end in zip(
            about["video_id"], about["fps"], arrays["offsets"][:-1], arrays["offsets"][1:], strict=True
        ):
            if key in training:
                seconds.append(arrays["timestamps"][end - 1] - arrays["timestamps"][first] + 1 / fps)
                rates.append(fps)
    return np.array(seconds), np.array(rates)


def groups_of_words(job: stage.Job, told: dict[str, Any], concepts: KindConcepts) -> list[list[int]]:
    """Rows of the pseudo labels behind each concept in words of a model, the leading one first.

    Args:
        told: attributes of the pseudo labels.
    """
    groups = word_groups(job, told["types"], told["names"])
    group_of = {(told["types"][rows[0]], told["names"][rows[0]]): rows for rows in groups}
    return [group_of[key] for key in zip(concepts.types, concepts.names, strict=True) if key[0] != "motion"]


def build(job: stage.Job) -> None:
    """Write the activations, the model and the metrics."""
    samples = read_samples(job, "DANCE")
    ((layers, described),) = job.read_arrays("concept_layers")
    ((arrays, chosen),) = job.read_arrays("classifier")
    table, _ = job.read_table("concept_table")
    certificates = chosen["certificates"]
    kinds = [
        concepts_of(kind, layers, described, samples.videos, chosen["pooling"].get(kind)) for kind in chosen["kinds"]
    ]
    concepts = kinds[0]
    z = concepts.activations(samples.features)
    y = samples.label.astype(np.int64)
    test = samples.split("test")
    if not test.any():
        job.warn(
            "no test video has a feature: there are no test figures, and validation, which the model was chosen on, "
            "flatters; see data.index.test_fraction and test_groups"
        )
    figures = {
        item.kind: kind_figures(samples, item, arrays, certificates, f"{item.kind}/" if position else "")
        for position, item in enumerate(kinds)
    }

    truth = read_truth(job, samples)
    asked = test if test.any() else samples.split("val")
    for item in kinds:
        own = [truth.get(key) for key in zip(item.types, item.names, strict=True)]
        figures[item.kind]["leakage"] = leakage(
            item.activations(samples.features)[asked],
            item.types,
            [None if column is None else column[asked] for column in own],
            y[asked],
        )
    alone = beside_read(figures)

    if job.given("baselines"):
        ((_, compared),) = job.read_arrays("baselines")
        figures |= {kind: item["figures"] for kind, item in compared["kinds"].items()}

    counts, sentences = doubts(concepts, described["min_positives"])
    for sentence in sentences:
        job.warn(sentence)
    metrics = {
        "headline": {"name": "top-1", "value": figures[concepts.kind]["top1"], "split": "test"},
        "dataset": job.dataset,
        "kind": concepts.kind,
        "n_train": int(samples.split("train").sum()),
        "n_val": int(samples.split("val").sum()),
        "n_test": int(test.sum()),
        "n_failed": len(samples.failed),
        "n_without_motion": described["n_without_motion"],
        "n_doubtful": counts,
        "n_classes": len(samples.videos.class_names),
        **figures[concepts.kind],
        "top5": top_k_accuracy(z[test], y[test], arrays["all/weight"], arrays["all/bias"], 5),
        "backbone_top1": accuracy(
            standardise(samples.features[test], arrays["backbone/mean"], arrays["backbone/std"]),
            y[test],
            arrays["backbone/weight"],
            arrays["backbone/bias"],
        ),
        "top1_at_nec": {
            name.removeprefix("nec_"): accuracy(z[test], y[test], arrays[f"{name}/weight"], arrays[f"{name}/bias"])
            for name in certificates
            if name.startswith("nec_")
        },
        "alone": alone,
        "kinds": figures,
    }
    metrics |= {f"n_{split}": int(samples.split(split).sum()) for split in samples.result_splits if split != "test"}
    if job.given("quality"):
        metrics["poses"] = job.read_table("quality")[1]["words"]
    reach = reach_of(samples.features[samples.split("train")], samples.features[samples.split("val")])
    distance = reach.distance(samples.features)
    metrics["unseen"] = {
        split: float((distance[samples.split(split)] > reach.limit).mean())
        for split in sorted(set(samples.videos.split))
    }
    metrics["warnings"] = job.warnings
    metrics["seconds"] = stage_seconds(job.took)

    digest = job.write_arrays(
        "activations",
        {"z": z.astype(np.float32), "label": samples.label, "distance": distance},
        {
            "video_id": samples.videos.video_id.tolist(),
            "split": samples.videos.split.tolist(),
            "class_names": samples.videos.class_names,
            "names": concepts.names,
            "types": concepts.types,
        },
        n_ok=len(z),
        failed=samples.failed,
    )
    quality = {(row["layer"], row["type"], row["name"]): row["quality"] for row in table.to_pylist() if row["kept"]}
    n_read = 0 if concepts.read is None else concepts.read.shape[1]
    n_whole = n_read + len(concepts.layer["weight"])
    training = set(samples.videos.video_id[samples.split("train")])
    about = {
        "dataset": job.dataset,
        "kind": concepts.kind,
        "quality": [
            quality["read" if position < n_read else "global" if position < n_whole else "map", kind, name]
            for position, (kind, name) in enumerate(zip(concepts.types, concepts.names, strict=True))
        ],
        "doubt": concepts.doubt,
        "decode": job.settings["decode"],
        "window": window_length(job.settings["decode"], *spans(job, training)),
        **named_backbone(job),
        "metrics": {name: value for name, value in metrics.items() if name != "seconds"},
        "edits": [],
        # Belongs together: whoever explains a video from the cache can tell whether it is this model's.
        "activations": digest,
    }
    if concepts.pooling:
        about["maps"] = {**job.settings["maps"], "pooling": concepts.pooling}
    if n_read:
        about["reading"] = job.settings["reading"]
    motion = motion_of(job, described if "motion" in concepts.types else None)
    about |= motion.about
    # Motion stands first in every kind.
    merged, texts_of = motion.names, []
    if job.given("pseudo_labels"):
        ((words, told),) = job.read_arrays("pseudo_labels")
        groups = groups_of_words(job, told, concepts)
        merged = [*merged, *([told["names"][row] for row in group[1:]] for group in groups)]
        if concepts.kind == "read":
            concepts.layer["texts"] = words["texts"][[group[0] for group in groups]]
            others = [(word, row) for word, group in enumerate(groups) for row in group[1:]]
            texts_of = [word for word, _ in others]
            if others:
                concepts.layer["merged_texts"] = words["texts"][[row for _, row in others]]
    if any(merged):
        reads_motion = n_read > 0 and motion.merged_of
        about["merged"] = {"names": merged, "medoids": motion.merged_of if reads_motion else [], "texts": texts_of}
        if reads_motion:
            concepts.layer["merged_medoids"] = motion.merged
    model = ConceptModel(
        samples.videos.class_names,
        concepts.names,
        concepts.types,
        concepts.layer,
        arrays["all/weight"],
        arrays["all/bias"],
        motion.medoids,
        about,
        reach,
    )
    model.save(job.outputs["model"])
    write_json(job.outputs["metrics"], metrics)


if __name__ == "__main__":
    stage.run("model", build)
