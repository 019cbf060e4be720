"""The explainable model: concept layers and a sparse classifier, in one file of tensors and text."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.methods.dance.bottleneck.activations import activations
from pipeline.methods.dance.bottleneck.pooling import concept_maps, pool
from pipeline.store.atomic import ArtifactError, replace_when_done
from pipeline.store.names import NameUnknown, find

FORMAT = "conceptreel-model"
# 1: every concept sees the whole clip; 2: those that stand last may have maps.
VERSIONS = (1, 2)
TENSORS = ("layer_weight", "layer_mean", "layer_std", "classifier_weight", "classifier_bias", "medoids")
MAP_TENSOR = "map_weight"


@dataclass(frozen=True)
class Contribution:
    """What one concept adds to the logit of one class: ``weight * activation`` (DANCE, after eq. 6)."""

    concept: str
    type: str
    contribution: float
    activation: float
    weight: float
    index: int


@dataclass(frozen=True)
class Prediction:
    """The decision on one video and its reasons, strongest first."""

    class_name: str
    label: int
    probability: float
    probabilities: np.ndarray
    contributions: list[Contribution]


@dataclass(frozen=True)
class ConceptModel:
    """A concept bottleneck model.

    Attributes:
        class_names: ``K`` names.
        concepts: ``M`` names; types: ``M`` of motion, object, scene.
        layer: ``weight`` ``[m, D]`` of the concepts that see the whole clip, ``mean`` and ``std`` ``[M]`` (activations
            are standardised with train statistics); ``map_weight`` ``[M - m, D']`` where the last concepts have maps.
        weight ``[K, M]``, bias ``[K]``: the sparse classifier.
        medoids: ``[n_motion, L, J, 2]``, the representative pose sequence of each motion concept; may have no rows.
        about: data set, skeleton, settings of the decoder, the encoders and the maps, figures.
    """

    class_names: list[str]
    concepts: list[str]
    types: list[str]
    layer: dict[str, np.ndarray]
    weight: np.ndarray
    bias: np.ndarray
    medoids: np.ndarray
    about: dict[str, Any]

    @property
    def has_maps(self) -> bool:
        return "map_weight" in self.layer

    @property
    def n_whole(self) -> int:
        """Number of concepts without a map; concept ``n_whole + k`` has map ``k``."""
        return len(self.layer["weight"])

    def find_concept(self, name: str) -> int:
        """Position of a concept, named as it is or, where two types share a name, as ``type:name``.

        Raises:
            NameUnknown: there is none, or there are two of that name.
        """
        full = [f"{kind}:{concept}" for kind, concept in zip(self.types, self.concepts, strict=True)]
        if name in full:
            return full.index(name)
        same = [position for position, concept in enumerate(self.concepts) if concept == name]
        if len(same) > 1:
            raise NameUnknown(f"`{name}` is the name of two concepts; say {' or '.join(f'`{full[m]}`' for m in same)}")
        return same[0] if same else find(name, self.concepts, "concept")

    def reweight(self, label: int, concept: int, weight: float) -> ConceptModel:
        """A model with one other concept-to-class weight; the edit is appended to ``about["edits"]``.

        Raises:
            ValueError: the weight is not a finite number.
        """
        if not np.isfinite(weight):
            raise ValueError(f"a weight must be a finite number, got {weight}")
        changed = self.weight.copy()
        changed[label, concept] = weight
        edit = {
            "class": self.class_names[label],
            "concept": self.concepts[concept],
            "type": self.types[concept],
            "before": float(self.weight[label, concept]),
            "after": float(weight),
        }
        return replace(self, weight=changed, about={**self.about, "edits": [*self.about.get("edits", []), edit]})

    def maps(self, features: np.ndarray) -> np.ndarray:
        """Concept maps ``[n, S, h, w, M - m]`` of feature maps ``[n, S, h, w, D']`` on the model's grid.

        Raises:
            ValueError: the model has no maps, or the feature maps have another width.
        """
        if not self.has_maps:
            raise ValueError("this model has no maps: all its concepts see the whole clip")
        _check_width(features.shape[-1], self.layer["map_weight"].shape[1])
        return concept_maps(features, self.layer["map_weight"])

    def activations(self, features: np.ndarray, maps: np.ndarray | None = None) -> np.ndarray:
        """Standardised concept activations ``[n, M]``.

        Args:
            features: ``[n, D]``; maps: concept maps ``[n, S, h, w, M - m]`` for a model that has maps.

        Raises:
            ValueError: the features have another width than those that the model was trained on, or maps are missing.
        """
        features = np.atleast_2d(features)
        _check_width(features.shape[1], self.layer["weight"].shape[1])
        if not self.has_maps:
            return activations(features, self.layer)
        if maps is None:
            raise ValueError("this model locates its concepts; it needs the feature maps beside the features")
        return activations(features, self.layer, pool(maps, self.about["maps"]["pooling"]))

    def probabilities(self, z: np.ndarray) -> np.ndarray:
        """Softmax over classes ``[n, K]`` of concept activations ``[n, M]``."""
        logits = np.atleast_2d(z) @ self.weight.T + self.bias
        logits -= logits.max(1, keepdims=True)
        exponential = np.exp(logits)
        return exponential / exponential.sum(1, keepdims=True)

    def explain(self, z: np.ndarray, label: int, top_k: int = 5) -> list[Contribution]:
        """The concepts that contribute most to one class, by absolute contribution; zero contributions are left out."""
        parts = self.weight[label] * z
        order = np.argsort(-np.abs(parts), kind="stable")[:top_k]
        return [
            Contribution(
                self.concepts[m], self.types[m], float(parts[m]), float(z[m]), float(self.weight[label, m]), int(m)
            )
            for m in order
            if parts[m] != 0
        ]

    def decide(self, z: np.ndarray, top_k: int = 5) -> list[Prediction]:
        """Decisions and reasons for activations ``[n, M]``."""
        result = []
        for row, probabilities in zip(z, self.probabilities(z), strict=True):
            label = int(probabilities.argmax())
            result.append(
                Prediction(
                    self.class_names[label],
                    label,
                    float(probabilities[label]),
                    probabilities,
                    self.explain(row, label, top_k),
                )
            )
        return result

    def predict(self, features: np.ndarray, top_k: int = 5, maps: np.ndarray | None = None) -> list[Prediction]:
        """Decisions and reasons for features ``[n, D]`` and concept maps, see `activations`."""
        return self.decide(self.activations(features, maps), top_k)

    def save(self, path: str | Path) -> None:
        """Write the model: tensors and one JSON text, so that ``torch.load(weights_only=True)`` opens it."""
        import torch  # a second, which a model that is neither read nor written should not cost

        values = (
            self.layer["weight"],
            self.layer["mean"],
            self.layer["std"],
            self.weight,
            self.bias,
            self.medoids,
        )
        content: dict[str, Any] = {
            name: torch.from_numpy(np.ascontiguousarray(value, np.float32))
            for name, value in zip(TENSORS, values, strict=True)
        }
        if self.has_maps:
            content[MAP_TENSOR] = torch.from_numpy(np.ascontiguousarray(self.layer["map_weight"], np.float32))
        content["format"], content["version"] = FORMAT, VERSIONS[-1]
        content["json"] = json.dumps(
            {"class_names": self.class_names, "concepts": self.concepts, "types": self.types, "about": self.about},
            ensure_ascii=False,
        )
        with replace_when_done(path, check=load) as temporary:
            torch.save(content, temporary)


def _check_width(given: int, expected: int) -> None:
    if given != expected:
        raise ValueError(f"features have {given} dimensions, the model was trained on {expected}")


def load(path: str | Path) -> ConceptModel:
    """Read a model file; nothing in it is executed.

    Raises:
        ArtifactError: absent, damaged, not one of our models, or made by a newer release.
    """
    import torch

    if not Path(path).is_file():
        raise ArtifactError(f"{path} does not exist; `snakemake --cores all {path}` makes it")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for hostile files
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactError(f"{path} is not a model file ({first})") from None
    if not isinstance(content, dict) or str(content.get("format")) != FORMAT:
        raise ArtifactError(f"{path} is a file of tensors, but not a model of this project")
    if not isinstance(content.get("version"), int) or content["version"] not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        raise ArtifactError(f"{path} has version {content.get('version')}, this release reads {known}")
    held = sum(value.numel() * value.element_size() for value in content.values() if isinstance(value, torch.Tensor))
    if held > Path(path).stat().st_size:
        raise ArtifactError(f"{path} is inconsistent: its tensors claim more values than the file holds")
    try:
        text = json.loads(content["json"])
        weight, mean, std, classifier, bias, medoids = (
            content[name].numpy().astype(np.float64 if name != "medoids" else np.float32) for name in TENSORS
        )
        layer = {"weight": weight, "mean": mean, "std": std}
        if MAP_TENSOR in content:
            layer["map_weight"] = content[MAP_TENSOR].numpy().astype(np.float64)
        model = ConceptModel(
            text["class_names"],
            text["concepts"],
            text["types"],
            layer,
            classifier,
            bias,
            medoids,
            text["about"],
        )
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ArtifactError(f"{path} is incomplete ({str(error)[:200]!r})") from None
    n_classes, n_concepts = len(model.class_names), len(model.concepts)
    fits = (
        len(model.types) == n_concepts
        and weight.ndim == 2
        and len(weight) + len(layer.get("map_weight", ())) == n_concepts
        and layer.get("map_weight", weight).ndim == 2
        and model.has_maps == ("maps" in model.about)
        and mean.shape == std.shape == (n_concepts,)
        and classifier.shape == (n_classes, n_concepts)
        and bias.shape == (n_classes,)
        and (std > 0).all()
    )
    if not fits:
        raise ArtifactError(
            f"{path} is inconsistent: its tensors do not fit {n_concepts} concepts and {n_classes} classes"
        )
    return model
