"""Stage `concept_layers`: one bias-free linear layer per concept type (DANCE eq. 4 and 5)."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa

from pipeline import stage
from pipeline.bottleneck.activations import TYPES, Samples, read_samples
from pipeline.bottleneck.layers import standardise_fit, train_motion_layer, train_text_layer
from pipeline.bottleneck.leakage import leakage_projection
from pipeline.config import ConceptLayers

logger = logging.getLogger("conceptreel")


def align(ids: list[str], values: np.ndarray, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``values`` for the samples.

    Returns:
        values ``[n_samples, ...]``, zeros where a sample has no row, and has_row bool ``[n_samples]``.
    """
    row_of = {key: row for row, key in enumerate(ids)}
    rows = np.array([row_of.get(key, -1) for key in samples.videos.video_id])
    has_row = rows >= 0
    result = np.zeros((len(rows), *values.shape[1:]), values.dtype)
    result[has_row] = values[rows[has_row]]
    return result, has_row


def _motion_labels(job: stage.Job, samples: Samples) -> tuple[list[str], np.ndarray, np.ndarray]:
    table, described = job.read_table("motion_labels")
    hot = np.zeros((table.num_rows, len(described["names"])), np.float32)
    for row, concepts in enumerate(table["concepts"].to_pylist()):
        hot[row, concepts] = 1
    labels, has_row = align(table["video_id"].to_pylist(), hot, samples)
    return described["names"], labels, has_row


def build(job: stage.Job) -> None:
    """Write the layers, the train statistics of their activations, and the final list of concepts."""
    settings = ConceptLayers.model_validate(job.settings)
    samples = read_samples(job)
    stage.limit_threads(samples.features.size)
    job.check_failures(samples.failed, len(samples.failed) + len(samples.videos), settings.max_failed_fraction)
    train, val = samples.split("train"), samples.split("val")
    x = samples.features
    options = {
        "learning_rate": settings.learning_rate,
        "batch_size": settings.batch_size,
        "max_steps": settings.max_steps,
        "eval_every": settings.eval_every,
        "patience": settings.patience,
        "feature_scaling": settings.feature_scaling,
        "seed": settings.seed,
    }
    weights: list[np.ndarray] = []
    rows: list[dict] = []

    ((pseudo, described),) = job.read_arrays("pseudo_labels")
    target, has_target = align(described["video_id"], pseudo["similarity"], samples)
    names, labels, labelled = _motion_labels(job, samples)
    # A concept without a positive training video has nothing to learn from.
    seen = labels[train & labelled].any(0)
    kinds, texts = np.array(described["types"]), described["names"]
    known = (train | val) & labelled & has_target

    def hidden_from(kind: str) -> np.ndarray | None:
        """The projection that the features of one type's layer go through."""
        if not settings.leakage_rank:
            return None
        targets = np.concatenate([labels[:, seen], target], 1)[known]
        is_own = np.concatenate([np.full(seen.sum(), "motion"), kinds]) == kind
        return leakage_projection(x[known], targets[:, is_own], targets[:, ~is_own], settings.leakage_rank)

    # Videos whose clips were all dropped teach the motion layer nothing (DANCE supplement 2.2), but get a decision.
    projection = hidden_from("motion")
    layers = [
        train_motion_layer(
            x[train & labelled],
            labels[train & labelled][:, seen],
            x[val & labelled],
            labels[val & labelled][:, seen],
            optimizer=settings.optimizer,
            weight_decay=weight_decay,
            projection=projection,
            **options,
        )
        for weight_decay in settings.motion_weight_decay
    ]
    losses = [float(layer.val_loss.min()) for layer in layers]
    layer = layers[int(np.argmin(losses))]
    logger.info(
        "motion: %d concepts; validation cross-entropy by weight decay: %s",
        seen.sum(),
        ", ".join(f"{decay:g} → {loss:.4f}" for decay, loss in zip(settings.motion_weight_decay, losses, strict=True)),
    )
    weights.append(layer.weight)
    quality = iter(layer.quality)
    for name, has_positive in zip(names, seen, strict=True):
        rows.append(
            _row(
                "motion",
                name,
                next(quality) if has_positive else np.nan,
                bool(has_positive),
                "" if has_positive else "no training video shows it",
            )
        )

    candidates, _ = job.read_table("concepts")
    rows += [
        _row(item["type"], item["text"], np.nan, False, f"{item['dropped_by']}: {item['reason']}")
        for item in candidates.to_pylist()
        if not item["kept"]
    ]
    for kind in TYPES[1:]:
        columns = np.flatnonzero(kinds == kind)
        if not len(columns):
            logger.warning("no %s concept passed the filters", kind)
            continue
        fit, check = train & has_target, val & has_target
        layer = train_text_layer(
            x[fit],
            target[fit][:, columns],
            x[check],
            target[check][:, columns],
            weight_decay=settings.text_weight_decay,
            projection=hidden_from(kind),
            **options,
        )
        similarity = layer.quality
        kept = similarity >= settings.projection_cutoff
        logger.info("%s: %d of %d concepts kept, %d steps", kind, kept.sum(), len(kept), layer.n_steps)
        weights.append(layer.weight[kept])
        for column, value, keep in zip(columns, similarity, kept, strict=True):
            reason = "" if keep else f"projection: validation similarity {value:.3f} < {settings.projection_cutoff}"
            rows.append(_row(kind, texts[column], float(value), bool(keep), reason))

    if not sum(len(weight) for weight in weights):
        raise stage.StageError(
            "no concept is left; loosen context.concepts or bottleneck.concept_layers.projection_cutoff"
        )
    weight = np.concatenate(weights).astype(np.float32)
    mean, std = standardise_fit(x[train] @ weight.T)
    kept_rows = [row for kind in TYPES for row in rows if row["type"] == kind and row["kept"]]
    job.write_arrays(
        "concept_layers",
        {"weight": weight, "mean": mean, "std": std},
        {"names": [row["name"] for row in kept_rows], "types": [row["type"] for row in kept_rows]},
        n_ok=len(weight),
        failed=samples.failed,
        dtype="float32",
    )
    table = pa.table({key: [row[key] for row in rows] for key in rows[0]})
    job.write_table("concept_table", table)


def _row(kind: str, name: str, quality: float, kept: bool, reason: str) -> dict:
    return {"type": kind, "name": name, "kept": kept, "quality": float(quality), "reason": reason}


if __name__ == "__main__":
    stage.run("concept_layers", build)
