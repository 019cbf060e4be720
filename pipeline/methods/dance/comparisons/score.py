"""What a variant reaches: one classifier over the concepts that its layers learned, or over what stands in for them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.backbone.samples import Samples, read_samples
from pipeline.config import Dataset
from pipeline.jobs import stage
from pipeline.learning.early_stopping import Schedule
from pipeline.learning.heads import dense_head, dump_layer
from pipeline.learning.scaling import standardise, standardise_fit
from pipeline.methods.dance.bottleneck.activations import TYPES, concepts_of
from pipeline.methods.dance.bottleneck.classifier import choose
from pipeline.methods.dance.settings import Classifier, ConceptLayers


@dataclass(frozen=True)
class Head:
    """The last part of a variant.

    Attributes:
        over: concepts; the bare features; or dump, a layer of as many units as there are concepts, trained on classes.
        sparse: the elastic net of DANCE eq. 6, else a dense head.
        types: of the concepts that may be used.
        kind: of the model that they are of; one without maps.
    """

    over: Literal["concepts", "features", "dump"] = "concepts"
    sparse: bool = True
    types: tuple[str, ...] = TYPES
    kind: Literal["dance", "read", "read+dance"] = "dance"

    @property
    def reads(self) -> tuple[str, ...]:
        return ("index", "features") if self.over == "features" else ("index", "features", "concept_layers")

    def settings(self, section: Dataset) -> dict[str, Any]:
        """What decides the figures, beside the artifacts."""
        own = {"head": asdict(self), "classifier": section.bottleneck.classifier.model_dump(mode="json")}
        if self.over == "dump":  # it is trained like the layers it stands for
            own["concept_layers"] = section.bottleneck.concept_layers.model_dump(mode="json")
        return own


def _inputs_of_head(job: stage.Job, head: Head, samples: Samples) -> np.ndarray:
    """Standardised ``[n, p]``."""
    train = samples.split("train")
    if head.over == "features":
        return standardise(samples.features, *standardise_fit(samples.features[train]))
    ((arrays, described),) = job.read_arrays("concept_layers")
    concepts = concepts_of(head.kind, arrays, described, samples.videos)
    if head.over == "concepts":
        wanted = np.isin(np.array(concepts.types, object), head.types)
        if not wanted.any():
            raise stage.StageError(f"no concept of type {' or '.join(head.types)} is left")
        return concepts.activations(samples.features)[:, wanted]
    settings = ConceptLayers.model_validate(job.settings["concept_layers"])
    weight = dump_layer(
        samples.features,
        samples.label.astype(np.int64),
        train,
        samples.split("val"),
        len(samples.videos.class_names),
        len(concepts.names),
        Schedule(**settings.training()),
    )
    raw = samples.features @ weight.T
    return standardise(raw, *standardise_fit(raw[train]))


def build(job: stage.Job) -> None:
    """Write accuracies on validation, test and every further split, and the size of the classifier."""
    head = Head(**{**job.settings["head"], "types": tuple(job.settings["head"]["types"])})
    settings = Classifier.model_validate(job.settings["classifier"])
    samples = read_samples(job, "DANCE")
    stage.limit_threads(samples.features.size)
    z = _inputs_of_head(job, head, samples)
    y, n_classes = samples.label.astype(np.int64), len(samples.videos.class_names)
    train, val = samples.split("train"), samples.split("val")
    if head.sparse:
        choice = choose(z, y, train, val, n_classes, settings)
        weight, bias, right = choice.solution.weight, choice.solution.bias, float(choice.accuracy[choice.chosen])
    else:
        dense = dense_head(z, y, train, val, n_classes, settings.refit)
        weight, bias, right = dense.weight, dense.bias, dense.val_top1
    figures = {"n_concepts": float(z.shape[1]), "nnz": float(np.count_nonzero(weight)), "val_top1": right}
    figures |= samples.top1(z, weight, bias)
    figures = {name: value for name, value in figures.items() if np.isfinite(value)}  # of a test split without videos
    job.write_table("score", pa.table({"figure": list(figures), "value": list(figures.values())}))
