"""What a model can do: concepts of tracks under a sparse layer, or features under a linear one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from pipeline.backbone.look import Look
from pipeline.data.decode import decode_video
from pipeline.data.settings import Decode
from pipeline.methods import models
from pipeline.methods.transfer.concepts import SparseHead, TrackConcepts
from pipeline.motion.settings import Tracks
from pipeline.motion.tracks import find
from pipeline.store.atomic import replace_when_done
from pipeline.store.plain import write_json


class Decision:
    """A class, and the inputs of the layer that speak for it."""

    def __init__(self, source: Any, class_names: list[str], head: SparseHead, z: np.ndarray, names: list[str] | None):
        self.source = source
        chances = softmax(head.logits(z[None])[0])
        best = int(chances.argmax())
        self.class_name, self.probability = class_names[best], float(chances[best])
        self.ranking = sorted(zip(chances.tolist(), class_names, strict=True), reverse=True)
        speaks = head.weight[best] * (z - head.mean) / np.where(head.std > 0, head.std, 1)
        order = np.argsort(-np.abs(speaks)) if names else []
        self.reasons = [(names[k], int(k), float(speaks[k])) for k in order if speaks[k] != 0]

    def as_dict(self, top: int) -> dict[str, Any]:
        return {
            "class": self.class_name,
            "probability": self.probability,
            "reasons": [{"concept": name, "contribution": value} for name, _, value in self.reasons[:top]],
            "ranking": [{"class": name, "probability": chance} for chance, name in self.ranking[:top]],
        }

    def lines(self, top: int) -> list[str]:
        shown = [f"  {value:+7.2f}  {name}" for name, _, value in self.reasons[:top]]
        shown = shown or [f"  {chance:7.1%}  {name}" for chance, name in self.ranking[:top]]
        return [f"{self.source}: {self.class_name} ({self.probability:.0%})", *shown]


class Model:
    """Trained on one set of contexts, ``about["train_set"]``.

    Attributes:
        concepts: None where the head reads features.
    """

    method = "transfer"

    def __init__(self, class_names: list[str], head: SparseHead, concepts: TrackConcepts | None, about: dict[str, Any]):
        self.class_names, self.head, self.concepts, self.about = class_names, head, concepts, about
        self._look: Look | None = None

    def _inputs(self, source: str | Path) -> np.ndarray:
        if self.concepts is None:
            self._look = self._look or Look(self.about)
            return self._look.feature(self._look.clip(source)["frames"])[0]
        frames = decode_video(Path(source), Decode.model_validate(self.about["decode"]))["frames"]
        tracks = find(frames, Tracks.model_validate(self.about["tracks"]))
        return self.concepts.activations(tracks[None])[0]

    def predict(self, source: str | Path) -> Decision:
        names = self.concepts.names if self.concepts else None
        return Decision(source, self.class_names, self.head, self._inputs(source), names)

    def explain(self, source: str | Path, out: Path, top: int = 3) -> list[str]:
        """The decision as JSON, and the paths of the concepts that decided as pictures."""
        out.mkdir(parents=True, exist_ok=True)
        decision = self.predict(source)
        write_json(out / "explanation.json", decision.as_dict(top))
        lines = [*decision.lines(top), f"{out / 'explanation.json'}"]
        if self.concepts is not None:
            import cv2

            from pipeline.motion.drawing import draw_paths

            for name, k, _ in decision.reasons[:top]:
                path = out / f"{name.replace(' ', '_')}.png"
                picture = draw_paths(self.concepts.shown[k % len(self.concepts.shown)])
                with replace_when_done(path) as file:
                    file.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
                lines.append(f"{path}: the medoid's path")
        return lines

    def save(self, path: str | Path) -> None:
        tensors = {f"head/{name}": getattr(self.head, name) for name in ("weight", "bias", "mean", "std")}
        metadata: dict[str, Any] = {"class_names": self.class_names, "about": self.about}
        if self.concepts is not None:
            tensors |= {f"concepts/{name}": getattr(self.concepts, name) for name in _ARRAYS}
            metadata["concepts"] = {name: getattr(self.concepts, name) for name in _NUMBERS}
        models.write(path, "transfer", metadata, {key: torch.as_tensor(value) for key, value in tensors.items()})


_ARRAYS, _NUMBERS = ("mean", "std", "centres", "shown"), ("width", "length", "stride")


def open_model(envelope: models.Envelope, results: Path | None) -> Model:
    arrays = {name: value.numpy() for name, value in envelope.tensors.items()}
    head = SparseHead(**{name: arrays[f"head/{name}"] for name in ("weight", "bias", "mean", "std")})
    concepts = None
    if "concepts" in envelope.metadata:
        concepts = TrackConcepts(
            **{name: arrays[f"concepts/{name}"] for name in _ARRAYS}, **envelope.metadata["concepts"]
        )
    return Model(envelope.metadata["class_names"], head, concepts, envelope.metadata["about"])
