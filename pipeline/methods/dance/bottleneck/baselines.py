"""Stage `baselines`: the models that DANCE is compared with, on the same features and with the same sparse classifier.

- backbone, backbone-sparse: a linear head over the features, dense or sparse;
- attributes: a concept bottleneck of attributes that every class has or has not (Koh et al. 2020);
- lf-cbm-entangled: Label-Free CBM (Oikarinen et al. 2023) with sentences that mix objects, scenes and motion;
- lf-cbm-disentangled: the same with a layer each for objects, scenes and sentences on how the action unfolds.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.backbone.samples import Samples, read_samples
from pipeline.data.entries import plain
from pipeline.jobs import stage
from pipeline.learning.heads import dense_head
from pipeline.learning.scaling import standardise_fit
from pipeline.methods.dance.bottleneck.activations import activations
from pipeline.methods.dance.bottleneck.classifier import choose
from pipeline.methods.dance.bottleneck.concept_layers import label_layer, text_layers
from pipeline.methods.dance.bottleneck.targets import Targets
from pipeline.methods.dance.settings import Baselines, Classifier, ConceptLayers
from pipeline.store.code import PROJECT

# Types of concepts of the language kinds, each with a layer of its own.
LANGUAGE = {"lf-cbm-entangled": ("spatio_temporal",), "lf-cbm-disentangled": ("object", "scene", "temporal")}


@dataclass(frozen=True)
class BaselineConcepts:
    """What a baseline decides by.

    Attributes:
        names, types: of the ``M`` concepts.
        layer: ``weight`` ``[M, D]``, ``mean`` and ``std`` ``[M]`` of the training activations.
        dropped: name → reason.
    """

    names: list[str]
    types: list[str]
    layer: dict[str, np.ndarray]
    dropped: dict[str, str]


def read_attributes(path: Path, class_names: list[str]) -> tuple[list[str], np.ndarray]:
    """A table of attributes in the form of UCF-101's: classes in the first line, then one attribute per line.

    Returns:
        names ``m``; bool ``[n_classes, m]``.

    Raises:
        StageError: no such file, a class is missing, or a cell is not 0 or 1.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except FileNotFoundError:
        raise stage.StageError(f"{path} does not exist; bottleneck.baselines.attributes names it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise stage.StageError(f"{path} is not a CSV file in UTF-8 ({error})") from None
    column = {plain(name): position for position, name in enumerate(rows[0] if rows else []) if position}
    absent = [name for name in class_names if plain(name) not in column]
    if absent:
        raise stage.StageError(
            f"{path} has no column for {len(absent)} of {len(class_names)} classes, for example {absent[0]}"
        )
    columns = [column[plain(name)] for name in class_names]
    names, values = [], []
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row[1:]):
            continue  # a heading or an empty line
        if len(row) != len(rows[0]) or not row[0].strip():
            raise stage.StageError(f"{path}, line {number}: expected a name and {len(rows[0]) - 1} cells")
        cells = [row[position].strip() for position in columns]
        if not set(cells) <= {"0", "1"}:
            raise stage.StageError(f"{path}, line {number}: a cell is {min(set(cells) - {'0', '1'})!r}, not 0 or 1")
        names.append(row[0].strip())
        values.append([cell == "1" for cell in cells])
    if not names:
        raise stage.StageError(f"{path} holds no attribute")
    return names, np.array(values, bool).T


def attribute_concepts(
    samples: Samples, names: list[str], table: np.ndarray, settings: ConceptLayers
) -> BaselineConcepts:
    """A layer that is trained by cross-entropy on the attributes of each video's class.

    Args:
        table: bool ``[n_classes, m]``.

    Raises:
        StageError: no attribute differs between the classes.
    """
    varies = table.any(0) & ~table.all(0)  # what all classes have says nothing
    if not varies.any():
        raise stage.StageError(
            f"none of the {len(varies)} attributes differs between the {len(table)} classes; "
            f"bottleneck.baselines.attributes names their file"
        )
    labels = table[samples.label][:, varies].astype(np.float32)
    layer = label_layer(settings, samples, labels, np.ones(len(labels), bool))
    kept = [name for name, ok in zip(names, varies, strict=True) if ok]
    dropped = {name: "all classes have it, or none has" for name, ok in zip(names, varies, strict=True) if not ok}
    return _standardised(samples, kept, ["attribute"] * len(kept), layer.weight, dropped)


def text_concepts(
    samples: Samples, given: Targets, types: tuple[str, ...], settings: ConceptLayers, cutoff: float
) -> BaselineConcepts:
    """Layers that are trained by the cubed cosine, one per type; what validation cannot read is dropped.

    Raises:
        StageError: nothing is left.
    """
    weight, rows = text_layers(settings, samples, given, types, cutoff, leakage_rank=0)
    names = [row["name"] for row in rows if row["kept"]]
    kinds = [row["type"] for row in rows if row["kept"]]
    dropped = {row["name"]: row["reason"] for row in rows if not row["kept"]}
    if not names:
        raise stage.StageError(
            f"no concept of type {' or '.join(types)} is left; loosen context.sentences, or projection_cutoff of "
            f"bottleneck.baselines"
        )
    return _standardised(samples, names, kinds, weight, dropped)


def feature_concepts(samples: Samples) -> BaselineConcepts:
    """The features themselves."""
    width = samples.features.shape[1]
    names = [f"feature {number:03d}" for number in range(width)]
    return _standardised(samples, names, ["feature"] * width, np.eye(width, dtype=np.float32), {})


def _standardised(
    samples: Samples, names: list[str], types: list[str], weight: np.ndarray, dropped: dict[str, str]
) -> BaselineConcepts:
    mean, std = standardise_fit(samples.features[samples.split("train")] @ weight.T)
    return BaselineConcepts(names, types, {"weight": weight, "mean": mean, "std": std}, dropped)


def decide(
    samples: Samples, concepts: BaselineConcepts, settings: Classifier, dense: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Weight ``[K, M]``, bias ``[K]`` and the figures of ``metrics.json``.

    Args:
        dense: a ridge penalty instead of the elastic net.
    """
    z = activations(samples.features, concepts.layer)
    y, n_classes = samples.label.astype(np.int64), len(samples.videos.class_names)
    train, val = samples.split("train"), samples.split("val")
    types = np.array(concepts.types)
    figures: dict[str, Any] = {"n_concepts": {kind: int((types == kind).sum()) for kind in dict.fromkeys(types)}}
    if dense:
        head = dense_head(z, y, train, val, n_classes, settings.refit)
        weight, bias = head.weight, head.bias
        figures |= {"nnz": int(np.count_nonzero(weight)), "ridge": head.penalty, "val_top1": head.val_top1}
    else:
        choice = choose(z, y, train, val, n_classes, settings)
        solution = choice.solution
        weight, bias = solution.weight, solution.bias
        figures |= {
            "nnz": int(solution.nnz),
            "lambda": solution.lam,
            "kkt_gap": solution.kkt_gap,
            "relative_duality_gap": solution.relative_gap,
            "val_top1": float(choice.accuracy[choice.chosen]),
        }
    return weight, bias, figures | samples.top1(z, weight, bias)


def read_similarities(job: stage.Job, samples: Samples, types: set[str]) -> Targets:
    """Pseudo labels of objects, scenes and sentences, joined by id."""
    names: list[str] = []
    kinds: list[str] = []
    parts = []
    known = np.ones(len(samples.videos), bool)
    for name in ("pseudo_labels", "sentence_labels"):
        if not job.given(name):
            continue
        ((arrays, described),) = job.read_arrays(name)
        columns = [position for position, kind in enumerate(described["types"]) if kind in types]
        values, has_row = samples.align(described["video_id"], arrays["similarity"][:, columns])
        known &= has_row
        parts.append(values)
        names += [described["names"][position] for position in columns]
        kinds += [described["types"][position] for position in columns]
    return Targets.of_words(names, np.array(kinds), np.concatenate(parts, 1), known)


def build(job: stage.Job) -> None:
    """Write layer, head and figures of every configured baseline."""
    settings = Baselines.model_validate(job.settings["baselines"])
    layer_settings = ConceptLayers.model_validate(job.settings["concept_layers"])
    classifier = Classifier.model_validate(job.settings["classifier"])
    samples = read_samples(job, "DANCE")
    stage.limit_threads(samples.features.size)
    arrays: dict[str, np.ndarray] = {}
    content: dict[str, dict[str, Any]] = {}
    for kind in settings.kinds:
        if kind in LANGUAGE:
            given = read_similarities(job, samples, set(LANGUAGE[kind]))
            concepts = text_concepts(samples, given, LANGUAGE[kind], layer_settings, settings.projection_cutoff)
        elif kind == "attributes":
            path = job.root / settings.attributes
            path = path if path.is_file() else PROJECT / settings.attributes
            names, table = read_attributes(path, samples.videos.class_names)
            job.note_file("attributes", path)
            concepts = attribute_concepts(samples, names, table, layer_settings)
        else:
            concepts = feature_concepts(samples)
        weight, bias, figures = decide(samples, concepts, classifier, dense=kind == "backbone")
        arrays |= {f"{kind}/layer_{name}": value for name, value in concepts.layer.items()}
        arrays |= {f"{kind}/weight": weight, f"{kind}/bias": bias}
        content[kind] = {
            "names": concepts.names,
            "types": concepts.types,
            "dropped": concepts.dropped,
            "figures": figures,
        }
    job.write_arrays(
        "baselines",
        arrays,
        {"kinds": content, "class_names": samples.videos.class_names},
        n_ok=len(content),
        failed=samples.failed,
    )


if __name__ == "__main__":
    stage.run("baselines", build)
