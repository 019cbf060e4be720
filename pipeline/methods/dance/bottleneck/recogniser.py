"""The explainable model: concept layers and a sparse classifier, in one file of tensors and text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from pipeline.learning.novelty import Reach
from pipeline.methods import models
from pipeline.methods.dance.bottleneck.activations import activations
from pipeline.methods.dance.bottleneck.pooling import concept_maps, pool
from pipeline.methods.dance.bottleneck.words import named
from pipeline.store.atomic import ArtifactError
from pipeline.store.names import NameUnknown, find

TENSORS = ("layer_weight", "layer_mean", "layer_std", "classifier_weight", "classifier_bias", "medoids")
MAP_TENSOR = "map_weight"
REACH_TENSORS = ("reach_mean", "reach_whitening")


@dataclass(frozen=True)
class Contribution:
    """What one concept adds to the logit of one class: ``weight * activation`` (DANCE, after eq. 6).

    ``said`` is how the concept is spoken of, see `ConceptModel.named`.
    """

    concept: str
    type: str
    contribution: float
    activation: float
    weight: float
    index: int
    said: str = ""


@dataclass(frozen=True)
class Prediction:
    """The decision on one video and its reasons, strongest first; ``unseen`` as in `ConceptModel.unseen`."""

    class_name: str
    label: int
    probability: float
    probabilities: np.ndarray
    contributions: list[Contribution]
    unseen: dict[str, Any] | None = None


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
        reach: tells how far a video is from the training videos; None in files of others, which do not know.
    """

    class_names: list[str]
    concepts: list[str]
    types: list[str]
    layer: dict[str, np.ndarray]
    weight: np.ndarray
    bias: np.ndarray
    medoids: np.ndarray
    about: dict[str, Any]
    reach: Reach | None = None

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

    def named(self, concept: int) -> str:
        """What a concept is called in reasons and pictures."""
        return named(self.concepts, self.types, self.about, concept)

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

    def logits(self, z: np.ndarray) -> np.ndarray:
        """``[n, K]`` of concept activations ``[n, M]``."""
        return np.atleast_2d(z) @ self.weight.T + self.bias

    def probabilities(self, z: np.ndarray) -> np.ndarray:
        """Softmax over classes ``[n, K]`` of concept activations ``[n, M]``."""
        return softmax(self.logits(z), 1)

    def explain(self, z: np.ndarray, label: int, top_k: int = 5) -> list[Contribution]:
        """The concepts that contribute most to one class, by absolute contribution; zero contributions are left out."""
        parts = self.weight[label] * z
        order = np.argsort(-np.abs(parts), kind="stable")[:top_k]
        return [
            Contribution(
                self.concepts[m],
                self.types[m],
                float(parts[m]),
                float(z[m]),
                float(self.weight[label, m]),
                int(m),
                self.named(m),
            )
            for m in order
            if parts[m] != 0
        ]

    def decide(self, z: np.ndarray, top_k: int = 5) -> list[Prediction]:
        """Decisions and reasons for activations ``[n, M]``."""
        result = []
        for row, probabilities in zip(z, self.probabilities(z), strict=True):
            label = int(probabilities.argmax())
            reasons = self.explain(row, label, top_k)
            result.append(
                Prediction(self.class_names[label], label, float(probabilities[label]), probabilities, reasons)
            )
        return result

    def predict(self, features: np.ndarray, top_k: int = 5, maps: np.ndarray | None = None) -> list[Prediction]:
        """Decisions and reasons for features ``[n, D]`` and concept maps, see `activations`."""
        decided = self.decide(self.activations(features, maps), top_k)
        return [
            replace(item, unseen=self.unseen(distance))
            for item, distance in zip(decided, self.distance(features), strict=True)
        ]

    def distance(self, features: np.ndarray) -> np.ndarray | list[None]:
        """How far features ``[n, D]`` are from the training videos: ``[n]``, of None where the model cannot tell."""
        features = np.atleast_2d(features)
        return [None] * len(features) if self.reach is None else self.reach.distance(features)

    def unseen(self, distance: float | None) -> dict[str, Any] | None:
        """A distance, the limit for videos like those of training, and whether it lies beyond; None where unknown."""
        if self.reach is None or distance is None:
            return None
        return {"distance": float(distance), "limit": self.reach.limit, "flagged": bool(distance > self.reach.limit)}

    def tensors(self) -> dict[str, np.ndarray]:
        """What a file holds in numbers, float32: `TENSORS` and, where they are known, `MAP_TENSOR`, `REACH_TENSORS`."""
        values = (*(self.layer[name] for name in ("weight", "mean", "std")), self.weight, self.bias, self.medoids)
        found = dict(zip(TENSORS, values, strict=True))
        if self.has_maps:
            found[MAP_TENSOR] = self.layer["map_weight"]
        if self.reach:
            found |= dict(zip(REACH_TENSORS, (self.reach.mean, self.reach.whitening), strict=True))
        return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}

    def text(self) -> dict[str, Any]:
        """What a file holds in words."""
        words = {"class_names": self.class_names, "concepts": self.concepts, "types": self.types, "about": self.about}
        return {**words, "reach_limit": self.reach.limit} if self.reach else words

    @classmethod
    def of(cls, tensors: Mapping[str, np.ndarray], text: Mapping[str, Any]) -> ConceptModel:
        """The model that `tensors` and `text` came from; a KeyError where something is missing."""
        layer = {name: tensors[f"layer_{name}"] for name in ("weight", "mean", "std")}
        if MAP_TENSOR in tensors:
            layer["map_weight"] = tensors[MAP_TENSOR]
        classifier = tensors["classifier_weight"], tensors["classifier_bias"]
        words = (text[name] for name in ("class_names", "concepts", "types"))
        reach = None
        if "reach_limit" in text:
            reach = Reach(*(tensors[name] for name in REACH_TENSORS), float(text["reach_limit"]))
        return cls(*words, layer, *classifier, tensors["medoids"], text["about"], reach)

    def save(self, path: str | Path) -> None:
        """Write the model file."""
        import torch  # a second, which a model that is neither read nor written should not cost

        tensors = {name: torch.from_numpy(value) for name, value in self.tensors().items()}
        models.write(path, "dance", self.text(), tensors, check=read_model)


def _check_width(given: int, expected: int) -> None:
    if given != expected:
        raise ValueError(f"features have {given} dimensions, the model was trained on {expected}")


def read_model(path: str | Path) -> ConceptModel:
    """Read a model file; nothing in it is executed.

    Raises:
        ArtifactError: absent, damaged, not one of our models, of another method, or made by a newer release.
    """
    return opened(models.read(path))


def opened(envelope: models.Envelope) -> ConceptModel:
    """The model in an opened file.

    Raises:
        ArtifactError: it is of another method, or its parts do not fit each other.
    """
    path, text, tensors = envelope.path, envelope.metadata, envelope.tensors
    if envelope.method != "dance":
        raise ArtifactError(f"{path} is a model of the method {envelope.method}; a concept bottleneck is wanted here")
    try:
        found = {
            name: value.numpy().astype(np.float32 if name == "medoids" else np.float64)
            for name, value in tensors.items()
            if name in (*TENSORS, MAP_TENSOR, *REACH_TENSORS)
        }
        model = ConceptModel.of(found, text)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ArtifactError(f"{path} is incomplete ({str(error)[:200]!r})") from None
    n_classes, n_concepts = len(model.class_names), len(model.concepts)
    layer = model.layer
    maps = layer.get("map_weight", layer["weight"][:0])
    reach = model.reach
    fits = (
        len(model.types) == n_concepts
        and layer["weight"].ndim == maps.ndim == 2
        and len(layer["weight"]) + len(maps) == n_concepts
        and model.has_maps == ("maps" in model.about)
        and layer["mean"].shape == layer["std"].shape == (n_concepts,)
        and model.weight.shape == (n_classes, n_concepts)
        and model.bias.shape == (n_classes,)
        and (layer["std"] > 0).all()
        and (reach is None or reach.mean.shape * 2 == reach.whitening.shape == layer["weight"].shape[1:] * 2)
    )
    if not fits:
        raise ArtifactError(
            f"{path} is inconsistent: its tensors do not fit {n_concepts} concepts and {n_classes} classes"
        )
    return model
