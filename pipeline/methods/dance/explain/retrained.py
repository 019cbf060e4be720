"""Stage `retrained`: the bottleneck again, with other seeds and with concept labels that belong to other videos.

With other seeds (another validation split, another order of batches) a trustworthy explanation stays what it was. With
shuffled labels concepts mean nothing: what accuracy is left then says how little accuracy alone proves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipeline.backbone.samples import Samples, read_samples
from pipeline.data.entries import DEVELOPMENT
from pipeline.data.table import VideoTable
from pipeline.jobs import stage
from pipeline.jobs.stage import Job
from pipeline.learning.metrics import accuracy
from pipeline.methods.dance.bottleneck.activations import TYPES, KindConcepts
from pipeline.methods.dance.bottleneck.classifier import choose_pooling
from pipeline.methods.dance.bottleneck.concept_layers import Places, read_places, train_layers
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.bottleneck.targets import Targets, read_targets
from pipeline.methods.dance.explain.sanity import correlations, read_run
from pipeline.methods.dance.settings import Classifier, ConceptLayers, Retrained


def other_validation(videos: VideoTable, label: np.ndarray, seed: int) -> VideoTable:
    """The same videos with other groups as validation, about as many as before; every class stays in train.

    Args:
        label: int ``[n]``.

    Raises:
        StageError: no group can be spared.
    """
    rng = np.random.default_rng([7101, seed])
    split = videos.split.copy()
    development = np.isin(split, DEVELOPMENT)
    wanted = int((split == "val").sum())
    group = np.array([name or key for name, key in zip(videos.group, videos.video_id, strict=True)])
    split[development] = "train"
    for name in rng.permutation(np.unique(group[development])):
        own = development & (group == name)
        left = (split == "train") & ~own
        if len(np.setdiff1d(label[development], label[left])):
            continue
        if (split == "val").sum() + own.sum() <= 1.2 * wanted:
            split[own] = "val"
        if (split == "val").sum() >= wanted:
            break
    if not (split == "val").any():
        raise stage.StageError("no group of videos can become validation instead: each has a class for itself")
    return replace(videos, split=split)


def shuffled(targets: Targets, places: Places | None, chosen: np.ndarray, seed: int) -> tuple[Targets, Places | None]:
    """Targets in which each chosen video has the concept labels of another one, all of the same one.

    Args:
        chosen: bool ``[n]``.
    """
    order = np.arange(len(chosen))
    rows = np.flatnonzero(chosen)
    order[rows] = rows[np.random.default_rng([7102, seed]).permutation(len(rows))]
    mixed = replace(
        targets,
        labels=targets.labels[order],
        labelled=targets.labelled[order],
        similarity=targets.similarity[order],
        has_similarity=targets.has_similarity[order],
        read=None if targets.read is None else targets.read[order],
    )
    if places is None:
        return mixed, None
    return mixed, replace(places, regions=places.regions[order], has_prompts=places.has_prompts[order])


def aligned(names: list[tuple[str, str]], concepts: KindConcepts, values: np.ndarray) -> np.ndarray:
    """Columns ``[..., M]`` of given (type, name) concepts; 0 for those that a run does not have."""
    column = {key: m for m, key in enumerate(zip(concepts.types, concepts.names, strict=True))}
    result = np.zeros((*values.shape[:-1], len(names)))
    for m, key in enumerate(names):
        if key in column:
            result[..., m] = values[..., column[key]]
    return result


def meaning(z: np.ndarray, names: list[tuple[str, str]], targets: Targets, rows: np.ndarray) -> dict[str, float]:
    """Correlation of activations with what the concepts are meant to say, per type, mean over its concepts.

    Args:
        z: activations of the concepts ``[n, M]``; names: their (type, name); targets: true labels and similarities.
        rows: bool ``[n]``, the videos that are asked.
    """
    columns = {("motion", name): targets.labels[:, k] for k, name in enumerate(targets.motion_names)}
    columns |= {
        (str(kind), name): targets.similarity[:, k]
        for k, (kind, name) in enumerate(zip(targets.types, targets.names, strict=True))
    }
    result = {}
    for kind in TYPES:
        known = rows & (targets.labelled if kind == "motion" else targets.has_similarity)
        own = [m for m, key in enumerate(names) if key[0] == kind]
        if own and known.any():
            truth = np.stack([columns[names[m]] for m in own], 1)[known]
            result[f"meaning_{kind}"] = float(correlations(z[known][:, own], truth).mean())
    return result


def jaccard_of_top(first: np.ndarray, second: np.ndarray, k: int = 5) -> float:
    """Overlap of the k largest weights (by magnitude, not zero) of each class, mean over classes; ``[K, M]`` each."""
    overlaps = []
    for a, b in zip(first, second, strict=True):
        top = [{int(m) for m in np.argsort(-np.abs(w), kind="stable")[:k] if w[m]} for w in (a, b)]
        union = top[0] | top[1]
        overlaps.append(len(top[0] & top[1]) / len(union) if union else 1.0)
    return float(np.mean(overlaps))


def _figures(model: ConceptModel, z_model: np.ndarray, samples: Samples, run: dict) -> dict[str, float]:
    """Accuracies of a run, and how like the model it is."""
    splits = [name for name in sorted(set(samples.videos.split)) if name not in DEVELOPMENT] or ["val"]
    y = samples.label
    figures = {
        "val_top1": run["val_top1"],
        # A concept that cannot be read from the features is dropped; of shuffled labels none should be readable.
        "n_concepts": float(run["weight"].shape[1]),
        "nnz": float(np.count_nonzero(run["weight"])),
    }
    for name in splits:
        rows = samples.split(name)
        figures[f"{name}_top1"] = accuracy(run["z"][rows], y[rows], run["weight"], run["bias"])
    rows = samples.split(*splits)
    decided = (run["z"][rows] @ run["weight"].T + run["bias"]).argmax(1)
    figures["agreement"] = float((decided == model.probabilities(z_model[rows]).argmax(1)).mean())
    weight = run["aligned_weight"]
    figures["top5_overlap"] = jaccard_of_top(model.weight, weight)
    figures["weight_correlation"] = float(correlations(model.weight.reshape(-1, 1), weight.reshape(-1, 1))[0])
    return figures


def build(job: Job) -> None:
    """Write one row per run and figure, and the weights of the runs over the model's concepts."""
    settings = Retrained.model_validate(job.settings["retrained"])
    layers_settings = ConceptLayers.model_validate(job.settings["concept_layers"])
    classifier_settings = Classifier.model_validate(job.settings["classifier"])
    kind = layers_settings.kinds[0]
    layers_settings = layers_settings.model_copy(update={"kinds": [kind]})
    model, arrays, described = read_run(job)
    samples = read_samples(job, "DANCE")
    stage.limit_threads(samples.features.size)
    targets = read_targets(job, samples, layers_settings)
    places = read_places(job, samples, targets) if layers_settings.has_maps else None
    names = list(zip(model.types, model.concepts, strict=True))
    row_of = {key: row for row, key in enumerate(described["video_id"])}
    z_model = arrays["z"][[row_of[key] for key in samples.videos.video_id]].astype(np.float64)
    development = samples.split(*DEVELOPMENT)
    asked = samples.split("val") if development.all() else ~development
    table = [("model", 0, figure, value) for figure, value in meaning(z_model, names, targets, asked).items()]
    bottleneck = {"z": z_model, "weight": model.weight, "bias": model.bias, "aligned_weight": model.weight}
    bottleneck["val_top1"] = model.about["metrics"]["val_top1"]
    own_figures = _figures(model, z_model, samples, bottleneck)
    # It is as like itself as can be: that needs no row.
    alike = ("agreement", "top5_overlap", "weight_correlation")
    table += [("model", 0, figure, value) for figure, value in own_figures.items() if figure not in alike]
    weights, runs = [], []
    plan = [("seed", seed) for seed in range(1, settings.seeds + 1)]
    plan += [("shuffled", seed) for seed in range(1, settings.shuffles + 1)]
    for variant, seed in stage.progress(plan, "retrained", unit="run"):
        own = layers_settings.model_copy(update={"seed": layers_settings.seed + seed})
        again, own_targets, own_places = samples, targets, places
        try:
            if variant == "seed":
                again = replace(samples, videos=other_validation(samples.videos, samples.label, seed))
            else:
                own_targets, own_places = shuffled(targets, places, development, seed)
            layers, content, _ = train_layers(own, again, own_targets, own_places)
            concepts, z, choice = choose_pooling(kind, layers, content, again, classifier_settings)
        except stage.StageError as error:
            if variant == "shuffled":
                # As it should be: of labels that mean nothing, no concept can be read.
                stage.logger.info("shuffled %d: %s", seed, error)
                table.append((variant, seed, "n_concepts", 0.0))
                weights.append(np.zeros_like(model.weight))
            else:  # a small set has no other validation
                job.warn(f"the run `{variant} {seed}` has no figures: {error}")
            continue
        weight = choice.solution.weight
        run = {
            "z": z,
            "weight": weight,
            "bias": choice.solution.bias,
            "aligned_weight": aligned(names, concepts, weight),
            "val_top1": float(choice.accuracy[choice.chosen]),
        }
        found = _figures(model, z_model, samples, run)
        found |= meaning(aligned(names, concepts, z), names, targets, asked)
        table += [(variant, seed, figure, value) for figure, value in found.items()]
        weights.append(run["aligned_weight"])
        runs.append(f"{variant} {seed}")
    digest = {"activations": described["content_digest"]}
    stacked = np.array(weights).reshape(-1, *model.weight.shape)
    job.write_arrays("retrained", {"weight": stacked}, {"runs": runs, **digest}, n_ok=len(runs))
    columns = ("run", "seed", "figure", "value")
    job.write_table(
        "retrained_table", pa.table({name: [row[i] for row in table] for i, name in enumerate(columns)}), digest
    )


if __name__ == "__main__":
    stage.run("retrained", build)
