"""A trained network as a model: `predict` says what is going on, `disentangle` what carries given actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.data.entries import shard_of
from pipeline.graphs.graph import ARRAYS
from pipeline.graphs.scene import Scenes
from pipeline.methods import models
from pipeline.methods.proda.answers import answer, groups
from pipeline.methods.proda.fit import encoded
from pipeline.methods.proda.network import Encoded, ProDA
from pipeline.methods.proda.settings import ProDA as Settings
from pipeline.methods.proda.state import network_of
from pipeline.store.arrays import read_arrays
from pipeline.store.atomic import ArtifactError, StageError, new_folder
from pipeline.store.names import find
from pipeline.store.plain import write_json
from pipeline.store.tables import read_table


@dataclass(frozen=True)
class Part:
    """What one asked action is carried by; N frames, E edges.

    Attributes:
        name: of the action; score: σ(a_s) when it alone is asked for.
        frames: s ``[N]``, 0 to 1; times: ``[N]`` seconds; kept: bool ``[N]``, s² / max s² reaches θ.
        edges: w ``[N, E]`` of its own half, mean over the layers; others: of the complement's.
        segments: true (start, end) in seconds, where they are known.
    """

    name: str
    score: float
    frames: np.ndarray
    times: np.ndarray
    kept: np.ndarray
    edges: np.ndarray
    others: np.ndarray
    segments: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Disentangled:
    """The answer to some actions in one video.

    Attributes:
        parts: one per action asked, in that order.
        scene: the video's graph, of the frames that were seen; node_names: of its nodes, empty where there is none.
        pictures: uint8 ``[N, H, W, 3]``, or None where no video is at hand.
        threshold: θ of frames and w of edges.
    """

    source: str
    parts: list[Part]
    scene: Scenes
    node_names: list[str]
    threshold: float
    pictures: np.ndarray | None

    def edges_kept(self, part: Part, weights: np.ndarray) -> list[dict[str, Any]]:
        """Edges that reach θ in some frame that is kept, the strongest first."""
        edges, shown = self.scene.edges[0], part.kept if part.kept.any() else np.ones_like(part.kept)
        best = weights[shown].max(0)
        found = [
            {"source": self.node_names[a], "target": self.node_names[b], "weight": round(float(best[number]), 4)}
            for number, (a, b) in enumerate(edges)
            if a >= 0 and b >= 0 and best[number] >= self.threshold
        ]
        return sorted(found, key=lambda edge: (-edge["weight"], edge["source"], edge["target"]))

    def as_dict(self) -> dict[str, Any]:
        """Scores, frames, nodes and edges, for JSON."""
        found = []
        for part in self.parts:
            own, others = self.edges_kept(part, part.edges), self.edges_kept(part, part.others)
            nodes = list(dict.fromkeys(name for edge in own for name in (edge["source"], edge["target"])))
            rows = zip(part.times, part.frames, part.kept, strict=True)
            found.append(
                {
                    "action": part.name,
                    "score": round(part.score, 4),
                    "frames": [
                        {"time_s": round(float(t), 3), "s": round(float(s), 4), "kept": bool(k)} for t, s, k in rows
                    ],
                    "nodes": nodes,
                    "edges": own,
                    "complement": others,
                    "segments": [list(span) for span in part.segments],
                }
            )
        return {"video": self.source, "threshold": self.threshold, "actions": found}

    def lines(self) -> list[str]:
        """The same as people read it."""
        found = []
        for part, own in zip(self.parts, self.as_dict()["actions"], strict=True):
            when = "".join("█" if kept else "·" for kept in part.kept)
            what = ", ".join(own["nodes"]) or "no node"
            found.append(f"{part.score:.3f}  {part.name}  {when}  {what}")
        return found

    def write(self, out: Path) -> list[str]:
        """``disentangled.json`` and a picture per action in a new folder; lines that tell what lies there."""
        from pipeline.methods.proda.drawing import draw

        with new_folder(Path(out)) as folder:
            described = self.as_dict()
            for number, part in enumerate(self.parts):
                draw(self, part, folder / f"action_{number + 1:02d}.png")
                described["actions"][number]["picture"] = f"action_{number + 1:02d}.png"
            write_json(folder / "disentangled.json", described)
        return [*self.lines(), f"{out}: disentangled.json and {len(self.parts)} pictures"]


class Decision:
    """Scores of all actions in one video, asked without knowing any.

    Attributes:
        class_name, probability: of the surest action; ranking: all, (score, name), the surest first.
    """

    def __init__(
        self, model: Model, source: str, scene: Scenes, pictures: np.ndarray | None, segments: dict[str, list]
    ):
        self._model, self._scene, self._pictures, self._segments = model, scene, pictures, segments
        self.source = source
        self._graph = encoded(model.network, scene, model.settings.frames)
        prompts = groups(len(model.class_names), model.settings.asked, model.settings.shuffles)
        scores = answer(model.network, self._graph, prompts).headline[0].tolist()
        self.ranking = sorted(zip(scores, model.class_names, strict=True), key=lambda item: (-item[0], item[1]))
        self.probability, self.class_name = self.ranking[0]

    def as_dict(self, top: int) -> dict[str, Any]:
        named = [{"class": name, "probability": score} for score, name in self.ranking[:top]]
        return {"class": self.class_name, "probability": self.probability, "actions": named}

    def lines(self, top: int) -> list[str]:
        told = [f"  {score:8.3f}  {name}" for score, name in self.ranking[:top]]
        return [f"{self.source}: {self.class_name} ({self.probability:.3f})", *told]

    def disentangle(self, actions: Sequence[str]) -> Disentangled:
        """What carries each of some actions.

        Raises:
            NameUnknown: an action is none of the model's; names the nearest.
        """
        model, names = self._model, self._model.class_names
        numbers = [find(name, names, "action") for name in actions]
        return _disentangled(self, model, self._graph, numbers, self._scene, self._pictures, self._segments)

    def top(self, count: int) -> list[str]:
        return [name for _, name in self.ranking[:count]]


@torch.no_grad()
def _disentangled(decision: Decision, model: Model, graph: Encoded, numbers: list[int], scene, pictures, segments):
    settings, names = model.settings, model.class_names
    seen = scene.frames(np.zeros(1, int), settings.frames)[0]
    parts = []
    for number in numbers:
        prompt = torch.zeros(1, len(names))
        prompt[0, number] = 1
        found = model.network.disentangle(graph, prompt)
        read = model.network.read_s(found.specified, graph.present)
        frames = read.frames[0].numpy()
        power = frames.astype(np.float64) ** 2
        parts.append(
            Part(
                names[number],
                float(torch.sigmoid(read.logits[0, number])),
                frames,
                scene.times[seen],
                power / max(power.max(), 1e-12) >= model.threshold,
                found.weights.mean(0)[0].numpy(),
                found.weights_unspecified.mean(0)[0].numpy(),
                tuple((start, end) for start, end in segments.get(names[number], ())),
            )
        )
    shown = Scenes(
        scene.video_id,
        np.array([0, len(seen)], np.int64),
        scene.times[seen],
        scene.node_class,
        scene.present[seen],
        scene.box[seen],
        scene.edges,
        scene.relations[seen],
    )
    kinds = model.about["graphs"]["node_classes"]
    labels = [kinds[kind] if kind >= 0 else "" for kind in scene.node_class[0]]
    twice = {label for label in labels if labels.count(label) > 1}
    labels = [f"{label} {place}" if label in twice else label for place, label in enumerate(labels)]
    return Disentangled(decision.source, parts, shown, labels, model.threshold, pictures)


class Model:
    """See `pipeline.methods.models.Model`.

    Attributes:
        network: in eval mode; settings: of the method; about: how graphs of a new video are made.
        results: folder of the run that it belongs to, or None.
    """

    method = "proda"

    def __init__(
        self,
        class_names: list[str],
        network: ProDA,
        settings: Settings,
        about: dict[str, Any],
        results: Path | None = None,
    ):
        self.class_names, self.network, self.settings, self.about = class_names, network, settings, about
        self.results = results
        self.threshold = float(about["threshold"])
        self._looks: Any = None

    def predict(self, source: str | Path) -> Decision:
        """The decision on a video file, or on a video of the run by its id; VideoError where it cannot be read."""
        if not Path(source).exists() and self.results is not None:
            return self._of_run(str(source))
        scene, pictures = self._look(Path(source))
        return Decision(self, str(source), scene, pictures, {})

    def disentangle(self, source: str | Path, actions: Sequence[str]) -> Disentangled:
        """What carries some actions in a video; unknown actions are refused before the video is opened."""
        for name in actions:
            find(name, self.class_names, "action")
        return self.predict(source).disentangle(actions)

    def explain(self, source: str | Path, out: Path, top: int = 3) -> list[str]:
        decision = self.predict(source)
        return [*decision.lines(top), *decision.disentangle(decision.top(top)).write(Path(out))]

    def save(self, path: str | Path) -> None:
        metadata = {"class_names": self.class_names, "about": self.about}
        models.write(path, "proda", metadata, self.network.state_dict())

    def _of_run(self, key: str) -> Decision:
        """A video of the run, from its cached graph; pictures are not opened."""
        shards = sorted((self.results / "graphs" / "graph").glob("*.zarr.zip"))
        if not shards:
            raise ArtifactError(f"{key} is no file, and {self.results} holds no graphs that it could be looked up in")
        number = shard_of(key, len(shards))
        arrays, attributes = read_arrays(shards[number])
        if key not in attributes["video_id"]:
            raise StageError(f"{key} is neither a file nor the id of a video of {self.results} that has a scene graph")
        values = read_arrays(self.results / "graphs" / "nodes" / shards[number].name)[0]["features"]
        row = attributes["video_id"].index(key)
        scenes = Scenes(attributes["video_id"], **{name: arrays[name] for name in ARRAYS}, features=values)
        return Decision(self, key, scenes.take(np.array([row])), None, self._segments(key))

    def _segments(self, key: str) -> dict[str, list]:
        path = self.results / "graphs" / "segments.parquet"
        found: dict[str, list] = {}
        if path.is_file():
            for row in read_table(path)[0].to_pylist():
                if row["video_id"] == key:
                    found.setdefault(row["class"], []).append((row["start_s"], row["end_s"]))
        return found

    def _look(self, path: Path) -> tuple[Scenes, np.ndarray]:
        """The scene graph of a new video, made as those that the model was trained on."""
        if self._looks is None:
            from pipeline.methods.proda.look import Look

            self._looks = Look(self.about)
        return self._looks(path, self.settings.frames)


def open_model(envelope: models.Envelope, results: Path | None) -> Model:
    """The model in a file.

    Raises:
        ArtifactError: its weights or its metadata do not fit.
    """
    try:
        about, names = envelope.metadata["about"], envelope.metadata["class_names"]
        network, settings = network_of(about["sizes"], about["settings"], envelope.tensors)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{envelope.path} is incomplete: {error}") from None
    home = envelope.path.resolve().parent
    if results is None and (home.parent / "graphs").is_dir():
        results = home.parent
    return Model(names, network, settings, about, results)
