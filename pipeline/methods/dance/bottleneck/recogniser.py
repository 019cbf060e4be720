"""The explainable model: concept layers and a sparse classifier, in one file of tensors and text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from pipeline.methods import models
from pipeline.methods.dance.bottleneck.activations import activations
from pipeline.methods.dance.bottleneck.pooling import concept_maps, pool
from pipeline.store.atomic import ArtifactError
from pipeline.store.names import NameUnknown, find

TENSORS = ("layer_weight", "layer_mean", "layer_std", "classifier_weight", "classifier_bias", "medoids")
MAP_TENSOR, TEXT_TENSOR = "map_weight", "texts"


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
            are standardised with train statistics); ``map_weight`` ``[l, D']`` where the last concepts have maps;
            ``texts`` ``[t, E]`` where words are the dual encoder's own scores.
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
        return len(self.concepts) - len(self.layer.get("map_weight", ()))

    @property
    def n_read(self) -> int:
        """Number of concepts that are read, from poses and by the dual encoder; they stand first."""
        return self.n_whole - len(self.layer["weight"])

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

    def activations(
        self, features: np.ndarray, maps: np.ndarray | None = None, read: np.ndarray | None = None
    ) -> np.ndarray:
        """Standardised concept activations ``[n, M]``.

        Args:
            features: ``[n, D]``; maps: concept maps ``[n, S, h, w, l]`` for a model that has maps.
            read: ``[n, n_read]`` for a model whose concepts are read; NaN where nothing could be.

        Raises:
            ValueError: the features have another width than those that the model was trained on, or maps or readings
                are missing.
        """
        features = np.atleast_2d(features)
        _check_width(features.shape[1], self.layer["weight"].shape[1])
        if self.has_maps and maps is None:
            raise ValueError("this model locates its concepts; it needs the feature maps beside the features")
        if self.n_read and read is None:
            raise ValueError("this model reads concepts in videos; features alone do not tell them")
        pooled = pool(maps, self.about["maps"]["pooling"]) if self.has_maps else None
        return activations(features, self.layer, pooled, np.atleast_2d(read) if self.n_read else None)

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
            reasons = self.explain(row, label, top_k)
            result.append(
                Prediction(self.class_names[label], label, float(probabilities[label]), probabilities, reasons)
            )
        return result

    def predict(
        self,
        features: np.ndarray,
        top_k: int = 5,
        maps: np.ndarray | None = None,
        read: np.ndarray | None = None,
    ) -> list[Prediction]:
        """Decisions and reasons for features ``[n, D]``, concept maps and readings, see `activations`."""
        return self.decide(self.activations(features, maps, read), top_k)

    def tensors(self) -> dict[str, np.ndarray]:
        """What a file holds in numbers, float32: `TENSORS`, and `MAP_TENSOR` and `TEXT_TENSOR` where there are some."""
        values = (*(self.layer[name] for name in ("weight", "mean", "std")), self.weight, self.bias, self.medoids)
        named = dict(zip(TENSORS, values, strict=True))
        named |= {name: self.layer[name] for name in (MAP_TENSOR, TEXT_TENSOR) if name in self.layer}
        return {name: np.ascontiguousarray(value, np.float32) for name, value in named.items()}

    def text(self) -> dict[str, Any]:
        """What a file holds in words."""
        return {"class_names": self.class_names, "concepts": self.concepts, "types": self.types, "about": self.about}

    @classmethod
    def of(cls, tensors: Mapping[str, np.ndarray], text: Mapping[str, Any]) -> ConceptModel:
        """The model that `tensors` and `text` came from; a KeyError where something is missing."""
        layer = {name: tensors[f"layer_{name}"] for name in ("weight", "mean", "std")}
        layer |= {name: tensors[name] for name in (MAP_TENSOR, TEXT_TENSOR) if name in tensors}
        classifier = tensors["classifier_weight"], tensors["classifier_bias"]
        words = (text[name] for name in ("class_names", "concepts", "types"))
        return cls(*words, layer, *classifier, tensors["medoids"], text["about"])

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
        named = {
            name: value.numpy().astype(np.float32 if name == "medoids" else np.float64)
            for name, value in tensors.items()
            if name in (*TENSORS, MAP_TENSOR, TEXT_TENSOR)
        }
        model = ConceptModel.of(named, text)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ArtifactError(f"{path} is incomplete ({str(error)[:200]!r})") from None
    n_classes, n_concepts = len(model.class_names), len(model.concepts)
    layer = model.layer
    maps = layer.get("map_weight", layer["weight"][:0])
    fits = (
        len(model.types) == n_concepts
        and layer["weight"].ndim == maps.ndim == 2
        and model.n_read >= 0
        and bool(model.n_read) == ("reading" in model.about)
        and model.has_maps == ("maps" in model.about)
        and layer["mean"].shape == layer["std"].shape == (n_concepts,)
        and model.weight.shape == (n_classes, n_concepts)
        and model.bias.shape == (n_classes,)
        and (layer["std"] > 0).all()
    )
    if not fits:
        raise ArtifactError(
            f"{path} is inconsistent: its tensors do not fit {n_concepts} concepts and {n_classes} classes"
        )
    return model
