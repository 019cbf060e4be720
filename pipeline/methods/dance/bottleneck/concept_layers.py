"""Stage `concept_layers`: one bias-free linear layer per concept type (DANCE eq. 4 and 5, SALF-CBM loss 1)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.backbone.samples import Samples, read_samples
from pipeline.data.table import join_shards
from pipeline.jobs import stage
from pipeline.learning.metrics import average_precision
from pipeline.learning.scaling import standardise, standardise_fit
from pipeline.methods.dance.bottleneck.activations import TYPES
from pipeline.methods.dance.bottleneck.layers import ConceptLayer, train_motion_layer, train_text_layer
from pipeline.methods.dance.bottleneck.levels import LEVELS, heat_scale, levels_of, moved, shrinkage
from pipeline.methods.dance.bottleneck.pooling import POOLINGS, concept_maps, pool
from pipeline.methods.dance.bottleneck.spatial import SpatialData, slices_of_frames, train_spatial_layer
from pipeline.methods.dance.bottleneck.targets import Showing, Targets, read_targets
from pipeline.methods.dance.curation import parted
from pipeline.methods.dance.settings import ConceptLayers

logger = logging.getLogger("conceptreel")

DEAD = "dead: it says the same of every training video"


def _row(layer: str, kind: str, name: str, quality: float, kept: bool, reason: str) -> dict:
    return {"layer": layer, "type": kind, "name": name, "quality": float(quality), "kept": kept, "reason": reason}


def enough(samples: Samples, usable: np.ndarray, least: int, what: str, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    """The training and validation videos that a layer can learn from and be stopped by, bool ``[n]`` each.

    Args:
        usable: bool ``[n]``: the video has ``what`` the layer learns; remedy: what to change where too few have it.

    Raises:
        StageError: fewer than ``least`` in a split.
    """
    for name, key in (("train", "test_fraction and validation_fraction"), ("val", "validation_fraction")):
        own = samples.split(name)
        count = int((own & usable).sum())
        if count < least:
            raise stage.StageError(
                f"{count} of {own.sum()} videos of the split `{name}` have {what}, and a layer needs at least {least}; "
                f"{remedy}, or give the split more videos (data.index.{key})"
            )
    return samples.split("train") & usable, samples.split("val") & usable


def label_layer(
    settings: ConceptLayers,
    samples: Samples,
    labels: np.ndarray,
    labelled: np.ndarray,
    projection: np.ndarray | None = None,
) -> ConceptLayer:
    """The layer of multi-hot labels ``[n, m]`` whose weight decay serves validation best; labelled: bool ``[n]``.

    Raises:
        StageError: a split has no labelled video.
    """
    remedy = "loosen motion.pose_clips.min_confidence or min_cosine"
    fit, check = enough(samples, labelled, 1, "a kept key clip", remedy)
    layers = [
        train_motion_layer(
            samples.features[fit],
            labels[fit],
            samples.features[check],
            labels[check],
            optimizer=settings.optimizer,
            weight_decay=weight_decay,
            projection=projection,
            feature_scaling=settings.feature_scaling,
            **settings.training(),
        )
        for weight_decay in settings.motion_weight_decay
    ]
    losses = [layer.loss for layer in layers]
    logger.info(
        "%d concepts; validation cross-entropy by weight decay: %s",
        labels.shape[1],
        ", ".join(f"{decay:g} → {loss:.4f}" for decay, loss in zip(settings.motion_weight_decay, losses, strict=True)),
    )
    return layers[int(np.argmin(losses))]


def _motion_layer(settings: ConceptLayers, samples: Samples, targets: Targets) -> tuple[np.ndarray, list[dict]]:
    """Weights ``[n_motion, D]`` and one row per discovered motion concept."""
    seen = targets.seen(samples.split("train"))
    if not seen.any():
        raise stage.StageError(
            f"none of the {len(seen)} motion concepts is seen in a training video with a kept key clip; loosen "
            f"motion.pose_clips.min_confidence or min_cosine, or set bottleneck.concept_layers.kinds: [salf]"
        )
    projection = targets.hidden_from("motion", samples, samples.features, settings.leakage_rank)
    layer = label_layer(settings, samples, targets.labels[:, seen], targets.labelled, projection)
    quality = iter(layer.quality)
    rows = [
        _row("global", "motion", name, next(quality), True, "")
        if has_positive
        else _row("global", "motion", name, np.nan, False, "no training video shows it")
        for name, has_positive in zip(targets.motion_names, seen, strict=True)
    ]
    return layer.weight, rows


def _kept(layer: str, targets: Targets, columns: np.ndarray, quality: np.ndarray, cutoff: float) -> list[dict]:
    """Rows of the concepts of one layer: kept, or dropped because they cannot be read from the features."""
    return [
        _row(
            layer,
            str(targets.types[column]),
            targets.names[column],
            value,
            bool(value >= cutoff),
            "" if value >= cutoff else f"projection: validation similarity {value:.3f} < {cutoff}",
        )
        for column, value in zip(columns, quality, strict=True)
    ]


def text_layers(
    settings: ConceptLayers, samples: Samples, targets: Targets, types: Sequence[str], cutoff: float, leakage_rank: int
) -> tuple[np.ndarray, list[dict]]:
    """Weights ``[m, D]`` of the kept concepts in words that see the whole clip, and one row per concept.

    Args:
        types: each has a layer of its own; cutoff: on validation; leakage_rank: see `Targets.hidden_from`.

    Raises:
        StageError: a split has fewer than two videos to compare.
    """
    remedy = "see what failed in context/dual_encoder with `conceptreel inspect`"
    weights, rows = [np.zeros((0, samples.features.shape[1]), np.float32)], []
    for kind in types:
        columns = np.flatnonzero(targets.types == kind)
        if not len(columns):
            continue
        fit, check = enough(samples, targets.has_similarity, 2, "an embedding of the dual encoder", remedy)
        layer = train_text_layer(
            samples.features[fit],
            targets.similarity[fit][:, columns],
            samples.features[check],
            targets.similarity[check][:, columns],
            weight_decay=settings.text_weight_decay,
            projection=targets.hidden_from(kind, samples, samples.features, leakage_rank),
            feature_scaling=settings.feature_scaling,
            **settings.training(),
        )
        kept = layer.quality >= cutoff
        logger.info("%s: %d of %d concepts kept, %d steps", kind, kept.sum(), len(kept), layer.n_steps)
        weights.append(layer.weight[kept])
        rows += _kept("global", targets, columns, layer.quality, cutoff)
    return np.concatenate(weights), rows


@dataclass(frozen=True)
class Places:
    """What the maps learn from.

    Attributes:
        maps: feature maps ``[n, S, h, w, D]``; regions: prompt embeddings ``[n, K, h, w, E]``.
        has_prompts: bool ``[n]``.
        slices: of the maps, in which each prompted frame lies, ``[K]``.
    """

    maps: np.ndarray
    regions: np.ndarray
    has_prompts: np.ndarray
    slices: np.ndarray


def read_places(job: stage.Job, samples: Samples, targets: Targets) -> Places:
    """Maps and prompts of the samples, joined by id.

    Raises:
        StageError: a video has no maps, or prompts and texts come from different encoders.
    """
    joined = join_shards(job, "maps", "maps")
    maps, has_maps = samples.align(joined.video_id, joined.values)
    if not has_maps.all():
        raise stage.StageError(
            f"{(~has_maps).sum()} videos have a feature but no maps, for example "
            f"{samples.videos.video_id[~has_maps][0]}; delete backbone/maps and run the pipeline again"
        )
    prompts = join_shards(job, "prompts", "regions")
    regions, has_prompts = samples.align(prompts.video_id, prompts.values)
    if regions.shape[-1] != targets.texts.shape[1]:
        raise stage.StageError(
            f"prompts are embedded in {regions.shape[-1]} dimensions, texts in {targets.texts.shape[1]}; "
            f"context.prompts and context.texts must name the same dual encoder"
        )
    slices = slices_of_frames(prompts.attributes["frames"], prompts.attributes["n_frames"], maps.shape[1])
    return Places(maps, regions, has_prompts, slices)


def _map_layer(
    settings: ConceptLayers, samples: Samples, targets: Targets, places: Places
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
    """Weights ``[m, D]`` of the kept objects and scenes as maps, pooled activations ``[3, n, m]``, the warmest place of
    each clip ``[n, m]``, and the rows."""
    # A projection acts on every place alike, so that what it hides from the mean place it hides from all of their mean.
    mean_place = places.maps.mean((1, 2, 3), dtype=np.float32)  # [n, D]
    remedy = "see what failed in context/prompts with `conceptreel inspect`"
    least = 1 if len(places.slices) > 1 else 2  # a video with several prompted frames is several pictures
    weights, rows = [np.zeros((0, places.maps.shape[-1]), np.float32)], []
    for kind in TYPES[1:]:
        columns = np.flatnonzero(targets.types == kind)
        if not len(columns):
            continue
        projection = targets.hidden_from(kind, samples, mean_place, settings.leakage_rank)
        own = np.isin(targets.text_of, columns)
        texts, text_of = targets.texts[own], np.searchsorted(columns, targets.text_of[own])
        fit, check = (
            SpatialData.of(places.maps[videos], places.regions[videos], texts, places.slices, text_of)
            for videos in enough(samples, places.has_prompts, least, "prompts", remedy)
        )
        layer = train_spatial_layer(
            fit, check, projection=projection, weight_decay=settings.map_weight_decay, **settings.training()
        )
        kept = layer.quality >= settings.map_cutoff
        logger.info("%s maps: %d of %d concepts kept, %d steps", kind, kept.sum(), len(kept), layer.n_steps)
        weights.append(layer.weight[kept])
        rows += _kept("map", targets, columns, layer.quality, settings.map_cutoff)
    weight = np.concatenate(weights)
    pooled, warmest = [], []
    for block in np.array_split(places.maps, max(1, len(places.maps) // 64)):
        maps = concept_maps(block, weight)
        pooled.append(np.stack([pool(maps, pooling) for pooling in POOLINGS]))
        warmest.append(maps.max((1, 2, 3)))
    return weight, np.concatenate(pooled, 1), np.concatenate(warmest), rows


def _readings(settings: ConceptLayers, samples: Samples, targets: Targets) -> tuple[np.ndarray, list[dict]]:
    """What no layer is learned for ``[n, r]``, NaN where it is unknown: motions read from poses, the dual encoder's own
    scores where a kind takes them; and the rows."""
    seen = targets.seen(samples.split("train")) if targets.read is not None else np.zeros(0, bool)
    parts, rows = [np.zeros((len(samples.videos), 0), np.float32)], []
    if seen.any():
        parts.append(targets.read[:, seen])
        val = samples.split("val") & targets.labelled & np.isfinite(parts[-1]).all(1)
        quality = average_precision(parts[-1][val], targets.labels[val][:, seen])
        names = [name for name, kept in zip(targets.motion_names, seen, strict=True) if kept]
        rows += [_row("read", "motion", name, value, True, "") for name, value in zip(names, quality, strict=True)]
    if "read" in settings.kinds:
        parts.append(np.where(targets.has_similarity[:, None], targets.similarity, np.nan))
        words = zip(targets.types, targets.names, strict=True)
        rows += [_row("read", str(kind), name, np.nan, True, "") for kind, name in words]
    return np.concatenate(parts, 1).astype(np.float32), rows


def _dead(raw: np.ndarray) -> np.ndarray:
    """bool ``[m]``: concepts whose activations ``[n, m]`` are all the same but for their rounding."""
    return (np.abs(standardise(raw, *standardise_fit(raw))) < 1e-3).all(0)


def _levels(raw: np.ndarray, showing: list[Showing]) -> np.ndarray:
    """`LEVELS` of the concepts with activations ``[n, m]``, float64 ``[5, m]``; showing: see `Targets.showing`."""
    found = [levels_of(raw[rows, m], *told) for m, (rows, *told) in enumerate(showing)]
    return np.array(found).reshape(len(showing), len(LEVELS)).T


def _heat(warmest: np.ndarray, showing: list[Showing]) -> np.ndarray:
    """`heat_scale` of the concepts whose maps reach ``warmest`` ``[n, m]``, float64 ``[2, m]``."""
    found = np.full((2, len(showing)), np.nan)
    for m, (rows, shown, divided, _) in enumerate(showing):
        if divided:
            found[:, m] = heat_scale(warmest[rows, m], shown)
    return found


def warnings_of(rows: list[dict]) -> list[str]:
    """What a person must know of kept concepts: types that have none, and those that are dead."""
    kept = [row for row in rows if row["kept"]]
    found = [
        f"no {kind} concept is left; why each was dropped stands in bottleneck/concept_layers.parquet"
        for kind in TYPES
        if any(row["type"] == kind for row in rows) and not any(row["type"] == kind for row in kept)
    ]
    for layer, kind in dict.fromkeys((row["layer"], row["type"]) for row in kept):
        own = [row["reason"] == DEAD for row in kept if (row["layer"], row["type"]) == (layer, kind)]
        if any(own):
            if layer == "read":
                found.append(
                    f"{sum(own)} of {len(own)} {kind} concepts that are read say the same of every train video"
                )
                continue
            decay = "map" if layer == "map" else "motion" if kind == "motion" else "text"
            found.append(
                f"{sum(own)} of {len(own)} {kind} concepts are dead: what their layer says is the same for every "
                f"training video, so that no decision can use them; lower "
                f"bottleneck.concept_layers.{decay}_weight_decay, or train on more videos"
            )
    return found


def train_layers(
    settings: ConceptLayers, samples: Samples, targets: Targets, places: Places | None
) -> tuple[dict[str, np.ndarray], dict[str, Any], list[dict]]:
    """The layers of all model kinds.

    Args:
        places: needed by the kinds that have maps.

    Returns:
        arrays and content of the artifact ``concept_layers``, see `concepts_of` of `activations`, and one row per
        concept.

    Raises:
        StageError: no concept is left.
    """
    train = samples.split("train")
    rows: list[dict] = []
    weights = [np.zeros((0, samples.features.shape[1]), np.float32)]
    if settings.guesses_motion:
        weight, found = _motion_layer(settings, samples, targets)
        weights.append(weight)
        rows += found
    if settings.guesses_words:
        cutoff, rank = settings.projection_cutoff, settings.leakage_rank
        weight, found = text_layers(settings, samples, targets, settings.words, cutoff, rank)
        weights.append(weight)
        rows += found
    arrays: dict[str, np.ndarray] = {}
    content: dict[str, Any] = {
        "kinds": settings.kinds,
        "min_positives": settings.min_positives,
        "n_without_motion": int((~targets.labelled).sum()),
    }
    dead = {"map": np.zeros(0, bool), "read": np.zeros(0, bool)}
    if places is not None:
        map_weight, pooled, warmest, found = _map_layer(settings, samples, targets, places)
        rows += found
        statistics = [standardise_fit(values[train]) for values in pooled]
        arrays |= {
            "map_weight": map_weight,
            "map_activations": pooled.astype(np.float32),
            "map_mean": np.stack([mean for mean, _ in statistics]),
            "map_std": np.stack([std for _, std in statistics]),
        }
        dead["map"] = np.all([_dead(values[train]) for values in pooled], 0)
    if settings.reads:
        readings, found = _readings(settings, samples, targets)
        rows += found
        missing = np.isnan(readings[train])
        total = np.where(missing, 0, readings[train]).sum(0, dtype=np.float64)
        known = np.where(missing, total / np.maximum((~missing).sum(0), 1), readings[train])
        mean, std = standardise_fit(known)
        arrays |= {"read_activations": readings, "read_mean": mean, "read_std": std}
        dead["read"] = _dead(known)
    if places is not None or settings.reads:
        content["video_id"] = samples.videos.video_id.tolist()
    weight = np.concatenate(weights).astype(np.float32)
    raw = samples.features[train] @ weight.T
    mean, std = standardise_fit(raw)
    dead["global"] = _dead(raw)
    arrays |= {"weight": weight, "mean": mean, "std": std}
    for layer, prefix in (("global", ""), ("map", "map_"), ("read", "read_")):
        own = [row for row in rows if row["layer"] == layer and row["kept"]]
        for row, is_dead in zip(own, dead[layer], strict=True):
            row["reason"] = DEAD if is_dead else ""
        content |= {f"{prefix}names": [row["name"] for row in own], f"{prefix}types": [row["type"] for row in own]}
        content[f"{prefix}dead"] = dead[layer].tolist()
        showing = [targets.showing(row["type"], row["name"], train) for row in own]
        if layer == "global":
            activation = samples.features @ weight.T
            levels = _levels(activation, showing)
            if motion := [m for m, row in enumerate(own) if row["type"] == "motion"]:
                val = samples.split("val") & targets.labelled
                known = [targets.motion_names.index(own[m]["name"]) for m in motion]
                part = shrinkage(levels[:, motion], activation[val][:, motion], targets.labels[val][:, known] > 0)
                levels[:, motion] = moved(levels[:, motion], part)
                content["threshold_part"] = part
            arrays["levels"] = levels
        elif layer == "read" and settings.reads:
            # Where nothing was read, the mean speaks, as in `activations`.
            filled = np.where(np.isnan(arrays["read_activations"]), arrays["read_mean"], arrays["read_activations"])
            arrays["read_levels"] = _levels(filled, showing)
        elif layer == "map" and places is not None:
            arrays["map_levels"] = np.stack([_levels(values, showing) for values in pooled])
            arrays["heat"] = _heat(warmest, showing)
    if not content["names"] and not content["map_names"] and not content["read_names"]:
        raise stage.StageError(
            "no concept is left; loosen context.concepts, or projection_cutoff and map_cutoff of "
            "bottleneck.concept_layers"
        )
    return arrays, content, rows


def build(job: stage.Job) -> None:
    """Write the layers of all model kinds, the train statistics of their activations, and the list of concepts."""
    own_settings, _ = parted(job.settings)
    settings = ConceptLayers.model_validate(own_settings)
    samples = read_samples(job, "DANCE")
    stage.limit_threads(samples.features.size)
    job.check_failures(samples.failed, len(samples.failed) + len(samples.videos), settings.max_failed_fraction)
    targets = read_targets(job, samples, settings)
    candidates = job.read_table("concepts")[0].to_pylist() if settings.words else []
    rows = [
        _row("", item["type"], item["text"], np.nan, False, f"{item['dropped_by']}: {item['reason']}")
        for item in candidates
        if not item["kept"] and item["type"] in settings.words
    ]
    places = read_places(job, samples, targets) if settings.has_maps else None
    arrays, content, found = train_layers(settings, samples, targets, places)
    rows += found
    for sentence in warnings_of(rows):
        job.warn(sentence)
    if content["n_without_motion"]:
        job.warn(
            f"{content['n_without_motion']} of {len(samples.videos)} videos have no key clip that could be used: no "
            f"motion concept knows them; the report says why, and motion.pose_clips decides"
        )
    job.write_arrays(
        "concept_layers",
        arrays,
        content,
        n_ok=sum(len(content[f"{prefix}names"]) for prefix in ("", "map_", "read_")),
        failed=samples.failed,
        dtype="float32",
    )
    job.write_table("concept_table", pa.Table.from_pylist(rows))


if __name__ == "__main__":
    stage.run("concept_layers", build)
