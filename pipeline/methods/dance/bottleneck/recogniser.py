"""The explainable model: concept layers and a sparse classifier, in one file of tensors and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from pipeline.learning.novelty import Reach
from pipeline.methods import models
from pipeline.methods.dance.bottleneck.activations import activations
from pipeline.methods.dance.bottleneck.levels import LEVELS
from pipeline.methods.dance.bottleneck.pooling import concept_maps, pool
from pipeline.methods.dance.bottleneck.words import named, signed, speaks
from pipeline.store.atomic import ArtifactError
from pipeline.store.names import NameUnknown, find

TENSORS = ("layer_weight", "layer_mean", "layer_std", "classifier_weight", "classifier_bias", "medoids")
MAP_TENSOR, TEXT_TENSOR = "map_weight", "texts"
REACH_TENSORS = ("reach_mean", "reach_whitening")
# Tensors that not every model has, by their names in the layer: imported ones know no training video.
OPTIONAL = {MAP_TENSOR: "map_weight", TEXT_TENSOR: "texts", "concept_levels": "levels", "heat": "heat"}
# Where merged concepts are read: what is theirs beside the leading one's.
OPTIONAL |= {name: name for name in ("merged_medoids", "merged_texts")}
# What "without a concept" can mean.
WITHOUT = ("absent", "mean", "zero")


@dataclass(frozen=True)
class Reason:
    """One concept behind a decision.

    Attributes:
        concept, type, index: which; activation: in standard deviations of the training videos.
        present: whether the video shows it, None where nobody knows, see
            `pipeline.methods.dance.bottleneck.levels`.
        said: the concept with its sign, in words; speaks: for or against the class.
        doubt: why one should not rely on the concept; empty where one may.
    """

    concept: str
    type: str
    index: int
    activation: float
    present: bool | None
    said: str
    speaks: str
    doubt: str

    def line(self, value: float) -> str:
        """The reason as people read it; value: what it adds."""
        doubt = f"   DOUBTFUL: {self.doubt}" if self.doubt else ""
        return (
            f"  {value:+7.3f}  {self.speaks:<7}  {self.type:<6}  {self.said}   activation {self.activation:+.2f}{doubt}"
        )


@dataclass(frozen=True)
class Contribution(Reason):
    """What one concept adds to the logit of one class: ``weight * activation`` (DANCE, after eq. 6)."""

    contribution: float
    weight: float


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
            are standardised with train statistics); ``map_weight`` ``[l, D']`` where the last concepts have maps;
            ``texts`` ``[t, E]`` where words are the dual encoder's own scores. Where the training videos are known:
            ``levels`` ``[5, M]``, see `pipeline.methods.dance.bottleneck.levels.LEVELS`, standardised, and with maps
            ``heat`` ``[2, l]``: from where on a concept is seen in a place, and where its heat is full.
        weight ``[K, M]``, bias ``[K]``: the sparse classifier.
        medoids: ``[n_motion, L, J, 2]``, the representative pose sequence of each motion concept; may have no rows.
        about: data set, skeleton, settings of the decoder, the encoders and the maps, figures, and why one should not
            rely on some concepts (``doubt``). Where concepts are merged, ``merged``: original names of those that are
            merged into each (``names``, ``M`` lists), and the motion concept or the word of each of the layer's
            ``merged_medoids`` and ``merged_texts``. Of a finished run ``digests`` (``M``) and, where somebody has
            curated, the original names (``was``) and marks of approval (``approved``).
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

    @property
    def read_medoids(self) -> tuple[np.ndarray, np.ndarray]:
        """Medoids that poses are compared with ``[k, L, J, 2]``, and the motion concept of each, int64 ``[k]``."""
        more = self.layer.get("merged_medoids", self.medoids[:0])
        concept_of = self.about["merged"]["medoids"] if len(more) else []
        return np.concatenate([self.medoids, more]), np.array([*range(len(self.medoids)), *concept_of], np.int64)

    def scores(self, embedding: np.ndarray) -> np.ndarray:
        """Activations ``[..., t]`` of words that are the dual encoder's own scores, of embeddings ``[..., E]``.

        Of a merged concept the largest of its texts.
        """
        result = embedding @ self.layer["texts"].T
        word_of = self.about.get("merged", {}).get("texts", [])
        for word, text in zip(word_of, self.layer.get("merged_texts", ()), strict=True):
            result[..., word] = np.maximum(result[..., word], embedding @ text)
        return result

    @property
    def was(self) -> list[str]:
        """The concepts' names in the artifacts of their run, ``M``."""
        return self.about.get("was") or self.concepts

    @property
    def doubt(self) -> list[str]:
        """Why one should not rely on each concept; empty where one may."""
        return self.about.get("doubt") or [""] * len(self.concepts)

    def named(self, concept: int) -> str:
        """What a concept is called in reasons and pictures."""
        return named(self.concepts, self.types, self.about, concept)

    @property
    def threshold(self) -> np.ndarray:
        """Activation from which on each concept counts as present, ``[M]``; NaN where nobody knows."""
        if "levels" not in self.layer:
            return np.full(len(self.concepts), np.nan)
        return self.layer["levels"][2]

    def present(self, z: np.ndarray) -> list[bool | None]:
        """Whether a video with these activations ``[M]`` shows each concept; None where nobody knows."""
        return [self._shows(limit, value) for limit, value in zip(self.threshold, z, strict=True)]

    @staticmethod
    def _shows(threshold: float, activation: float) -> bool | None:
        return None if np.isnan(threshold) else bool(activation >= threshold)

    def without(self, z: np.ndarray, concepts: Sequence[int], level: str = "absent") -> np.ndarray:
        """Activations ``[..., M]`` of the same videos without some concepts.

        Args:
            level: ``absent``: the mean of the training videos that do not show the concept, and what is lower stays;
                ``mean``: that of all training videos, where a concept adds nothing to any logit (DANCE 4.4 intervenes
                like that); ``zero``: the layer's output is 0.

        Raises:
            NameUnknown: there is no such level, or the model does not know it.
        """
        find(level, WITHOUT, "level")
        rows = list(concepts)
        result = np.array(z, np.float64)
        if level == "mean":
            result[..., rows] = 0
        elif level == "zero":
            result[..., rows] = (-self.layer["mean"] / self.layer["std"])[rows]
        else:
            absent = self.layer["levels"][0] if "levels" in self.layer else np.full(len(self.concepts), np.nan)
            unknown = [self.concepts[m] for m in rows if np.isnan(absent[m])]
            if unknown:
                raise NameUnknown(
                    f"nobody knows how active `{unknown[0]}` is where it is absent; choose the level mean or zero"
                )
            result[..., rows] = np.minimum(result[..., rows], absent[rows])
        return result

    def strongest(self, parts: np.ndarray, top_k: int) -> list[int]:
        """The concepts whose parts ``[M]`` are largest, without zeros; those that one may rely on come first.

        Where all of them are doubtful, the strongest that is not stands before them.
        """
        order = [int(m) for m in np.argsort(-np.abs(parts), kind="stable") if parts[m] != 0]
        doubtful = [bool(doubt) for doubt in self.doubt]
        shown = order[:top_k]
        if shown and all(doubtful[m] for m in shown):
            shown = [m for m in order if not doubtful[m]][:1] + shown
        return sorted(shown, key=lambda m: doubtful[m])

    def reason(self, z: np.ndarray, concept: int, value: float) -> dict[str, Any]:
        """What `Reason` says of a concept that adds ``value``, given activations ``[M]``."""
        present = self._shows(self.threshold[concept], z[concept])
        return {
            "concept": self.concepts[concept],
            "type": self.types[concept],
            "index": concept,
            "activation": float(z[concept]),
            "present": present,
            "said": signed(self.named(concept), present, float(z[concept])),
            "speaks": speaks(value),
            "doubt": self.doubt[concept],
        }

    def explain(self, z: np.ndarray, label: int, top_k: int = 5) -> list[Contribution]:
        """The concepts that contribute most to one class, see `strongest`."""
        parts = self.weight[label] * z
        return [
            Contribution(
                **self.reason(z, m, parts[m]), contribution=float(parts[m]), weight=float(self.weight[label, m])
            )
            for m in self.strongest(parts, top_k)
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
        decided = self.decide(self.activations(features, maps, read), top_k)
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
        """What a file holds in numbers: `TENSORS` and what there is of `OPTIONAL` and `REACH_TENSORS`, float32."""
        own = (*(self.layer[name] for name in ("weight", "mean", "std")), self.weight, self.bias, self.medoids)
        values = dict(zip(TENSORS, own, strict=True))
        values |= {name: self.layer[own] for name, own in OPTIONAL.items() if own in self.layer}
        if self.reach:
            values |= dict(zip(REACH_TENSORS, (self.reach.mean, self.reach.whitening), strict=True))
        return {name: np.ascontiguousarray(value, np.float32) for name, value in values.items()}

    def text(self) -> dict[str, Any]:
        """What a file holds in words."""
        words = {"class_names": self.class_names, "concepts": self.concepts, "types": self.types, "about": self.about}
        return {**words, "reach_limit": self.reach.limit} if self.reach else words

    @classmethod
    def of(cls, tensors: Mapping[str, np.ndarray], text: Mapping[str, Any]) -> ConceptModel:
        """The model that `tensors` and `text` came from; a KeyError where something is missing."""
        layer = {name: tensors[f"layer_{name}"] for name in ("weight", "mean", "std")}
        layer |= {own: tensors[name] for name, own in OPTIONAL.items() if name in tensors}
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


def _merges_fit(model: ConceptModel) -> bool:
    """Whether what is said of merged concepts fits their tensors."""
    told = model.about.get("merged", {"names": [[]] * len(model.concepts), "medoids": [], "texts": []})
    texts = model.layer.get("texts", ())
    return len(told["names"]) == len(model.concepts) and all(
        len(told[part]) == len(model.layer.get(f"merged_{part}", ())) and all(0 <= k < count for k in told[part])
        for part, count in (("medoids", len(model.medoids)), ("texts", len(texts)))
    )


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
    path, text, arrays = envelope.path, envelope.metadata, envelope.arrays
    if envelope.method != "dance":
        raise ArtifactError(f"{path} is a model of the method {envelope.method}; a concept bottleneck is wanted here")
    try:
        values = {
            name: value.astype(np.float32 if name == "medoids" else np.float64)
            for name, value in arrays.items()
            if name in (*TENSORS, *OPTIONAL, *REACH_TENSORS)
        }
        model = ConceptModel.of(values, text)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ArtifactError(f"{path} is incomplete ({str(error)[:200]!r})") from None
    n_classes, n_concepts = len(model.class_names), len(model.concepts)
    layer = model.layer
    maps = layer.get("map_weight", layer["weight"][:0])
    reach = model.reach
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
        and layer.get("levels", np.zeros((len(LEVELS), n_concepts))).shape == (len(LEVELS), n_concepts)
        and layer.get("heat", np.zeros((2, len(maps)))).shape == (2, len(maps))
        and len(model.doubt) == n_concepts
        and len(model.was) == n_concepts
        and _merges_fit(model)
        and (reach is None or reach.mean.shape * 2 == reach.whitening.shape == layer["weight"].shape[1:] * 2)
    )
    if not fits:
        raise ArtifactError(
            f"{path} is inconsistent: its tensors do not fit {n_concepts} concepts and {n_classes} classes"
        )
    return model
