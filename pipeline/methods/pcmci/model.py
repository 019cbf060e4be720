"""A trained network as a model: decisions about videos, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from pipeline.data.entries import Segment
from pipeline.methods import models
from pipeline.methods.pcmci import transport
from pipeline.methods.pcmci.network import Network
from pipeline.methods.pcmci.settings import PCMCI
from pipeline.methods.pcmci.training import at_once
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.names import find
from pipeline.store.tables import read_table

INDEX = "data/index.parquet"


def network_of(metadata: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Network:
    """The network of an artifact or a model file, in eval mode; tensors may be flat.

    Raises:
        ArtifactError: weights, labels and settings do not fit each other.
    """
    try:
        own = PCMCI.model_validate(metadata["settings"])
        n_labels, width = len(metadata["class_names"]), own.network.width
        texts = tensors["texts"].reshape(n_labels, -1)
        network = Network(texts, tensors["tokens.weight"].numel() // width, own.network)
        shapes = {name: value.shape for name, value in network.state_dict().items()}
        network.load_state_dict({name: value.reshape(shapes[name]) for name, value in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"the weights do not fit the network of PCMCI ({str(error).splitlines()[0][:160]})"
        ) from None
    return network.eval()


@dataclass(frozen=True)
class Seen:
    """A video as the encoders see it.

    Attributes:
        frames: unit rows ``[L, E]``; tokens: ``[L_v, D]``; times: of the frames in seconds ``[L]``.
        pictures: uint8 ``[L, size, size, 3]``, where there are any.
    """

    frames: np.ndarray
    tokens: np.ndarray
    times: np.ndarray
    pictures: np.ndarray | None = None

    @property
    def token_times(self) -> np.ndarray:
        """Times of the tokens ``[L_v]``, which are as evenly spread over the video as frames are."""
        return np.linspace(self.times[0], self.times[-1], len(self.tokens))

    def without(self, first: float, last: float) -> Seen:
        """The same video without what is shown from one second to another.

        Raises:
            StageError: no frame would be left.
        """
        keep, kept = ((at < first) | (at > last) for at in (self.times, self.token_times))
        if not keep.any() or not kept.any():
            raise StageError(f"--drop-frames {first:g}-{last:g} leaves no frame of {self.times[-1]:.1f} s")
        pictures = None if self.pictures is None else self.pictures[keep]
        return Seen(self.frames[keep], self.tokens[kept], self.times[keep], pictures)


class Decision:
    """Labels of one video with their probability, the surest first."""

    def __init__(self, source: str, class_names: list[str], probability: np.ndarray):
        self.source = source
        order = np.argsort(-probability, kind="stable")
        self.ranking = [(class_names[label], float(probability[label])) for label in order]
        self.class_name, self.probability = self.ranking[0]

    def as_dict(self, top: int) -> dict[str, Any]:
        """The decision and its ``top`` surest labels."""
        labels = [{"label": name, "probability": value} for name, value in self.ranking[:top]]
        return {"class": self.class_name, "probability": self.probability, "labels": labels}

    def lines(self, top: int) -> list[str]:
        """The same in words."""
        head = f"{self.source}: {self.class_name} ({self.probability:.3f})"
        return [head, *(f"  {value:6.3f}  {name}" for name, value in self.ranking[:top])]


class Model:
    """A network over its list of labels.

    Args:
        metadata: ``class_names``, ``settings`` of the section pcmci, and ``look`` where it was trained on videos.
        results: folder of the run, whose index may know true segments.
    """

    method = "pcmci"

    def __init__(self, metadata: Mapping[str, Any], network: Network, results: Path | None = None):
        self.metadata, self.network = dict(metadata), network
        self.results = results
        self.class_names: list[str] = list(metadata["class_names"])
        self.settings = PCMCI.model_validate(metadata["settings"])

    @cached_property
    def _look(self) -> Any:
        from pipeline.methods.pcmci.look import Look

        if "look" not in self.metadata:
            raise StageError(
                "this model was trained on features of a structural causal model, which has no pictures; from features "
                "it decides: model.logits(tokens, frames)"
            )
        return Look(self.metadata["look"])

    def see(self, source: str | Path) -> Seen:
        """A video file through both encoders; VideoError where it cannot be read.

        Raises:
            StageError: the model was not trained on videos.
        """
        return Seen(**self._look(source))

    def logits(
        self, tokens: np.ndarray, frames: np.ndarray, texts: torch.Tensor | None = None, **more: Any
    ) -> np.ndarray:
        """Logits ``[B, N]`` of tokens ``[B, L_v, D]`` and frames ``[B, L, E]``.

        Args:
            texts: other embeddings of the labels ``[N, E]``: do(T).
            more: ``mask`` and ``replaced`` of `Network.steps`.
        """
        given = torch.as_tensor(tokens).float(), transport.unit_rows(torch.as_tensor(frames).float(), "frames")
        kept = self.network.texts
        try:
            if texts is not None:
                self.network.texts = transport.unit_rows(texts.float(), "texts of labels")
            with torch.no_grad():
                return self.network(*given, **more).numpy()
        finally:
            self.network.texts = kept

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Of an activity among all, or of every action for itself."""
        values = torch.from_numpy(logits)
        return (values.softmax(-1) if self.settings.training.target == "activity" else values.sigmoid()).numpy()

    def predict(self, source: str | Path) -> Decision:
        """The decision on a video file; VideoError where it cannot be read."""
        seen = self.see(source)
        logits = self.logits(seen.tokens[None], seen.frames[None])[0]
        return Decision(str(source), self.class_names, self.probability(logits))

    def label(self, name: str) -> int:
        """Number of a label.

        Raises:
            NameUnknown: there is none of this name; has the nearest ones.
        """
        return find(name, self.class_names, "label")

    def weights(self, seen: Seen) -> dict[str, np.ndarray]:
        """What labels look at: the plan P* and S̃ over frames ``[N, L]``; A over tokens ``[N, L_v]`` where IVC is."""
        frames = torch.as_tensor(seen.frames).float()[None]
        chosen = self.network.settings
        with torch.no_grad():
            similar = transport.log_similarity(self.network.texts, frames, chosen.temperature)
            found = {
                "plan": transport.log_plan(similar, chosen.regularisation).exp()[0],
                "frames": self.network.weights(frames)[0],
            }
            weights = self.network.steps(torch.as_tensor(seen.tokens).float()[None], frames)[2]
        if "tokens" in weights:
            found["tokens"] = weights["tokens"][0]
        return {name: value.numpy() for name, value in found.items()}

    def couplings(self, seen: Seen, texts: torch.Tensor | None = None, of: Sequence[int] | None = None) -> np.ndarray:
        """logit_i − logit_i | do(T'_j = mean) ``[N, N]``: what label j does to label i in this video.

        Args:
            texts: other embeddings of the labels ``[N, E]``.
            of: the labels j that are asked about; columns of others are NaN. Each costs as much as a video.
        """
        n = len(self.class_names)
        changed = np.full((n, n), np.nan, np.float32)  # [j, i]
        for labels in torch.tensor(range(n) if of is None else of).split(at_once(self.network)):
            tokens, frames = (np.repeat(rows[None], len(labels), 0) for rows in (seen.tokens, seen.frames))
            replaced = functional.one_hot(labels, n).bool()
            changed[labels] = self.logits(tokens, frames, texts, replaced=replaced)
        return (self.logits(seen.tokens[None], seen.frames[None], texts) - changed).T

    def under(
        self, seen: Seen, texts: Mapping[str, str] | None = None, drop: tuple[float, float] | None = None
    ) -> tuple[Seen, torch.Tensor | None]:
        """The video and the embeddings of the labels under an intervention; None where these stay.

        Args:
            texts: label → another text; drop: first and last second of what is not shown.

        Raises:
            NameUnknown: an unknown label. StageError: no frame would be left.
        """
        changed = None
        if texts:
            labels = [self.label(name) for name in texts]
            changed = self.network.texts.clone()
            changed[labels] = torch.from_numpy(self._look.dual.texts(list(texts.values())))
        return (seen if drop is None else seen.without(*drop)), changed

    def intervene(
        self, seen: Seen, texts: Mapping[str, str] | None = None, drop: tuple[float, float] | None = None
    ) -> np.ndarray:
        """Logits ``[N]`` under an intervention; arguments and errors as of `under`."""
        left, changed = self.under(seen, texts, drop)
        return self.logits(left.tokens[None], left.frames[None], changed)[0]

    def truth(self, source: str | Path) -> list[Segment]:
        """True segments of a video that the index of the model's run lists, labels as this model counts them."""
        return [] if self.results is None else true_segments(self.results, Path(source), self.class_names)

    def explain(self, source: str | Path, out: Path, top: int = 3) -> list[str]:
        """Pictures of the frames that the surest labels rest on, the plan, and JSON; see `intervene`."""
        from pipeline.methods.pcmci.pictures import write

        return write(self, str(source), self.see(source), out, top, truth=self.truth(source))

    def save(self, path: str | Path) -> None:
        """Write the model."""
        models.write(path, self.method, self.metadata, self.network.state_dict())


def true_segments(results: Path, source: Path, class_names: list[str]) -> list[Segment]:
    """Segments of the video file that a run's index lists under this path; none where it lists none.

    Args:
        results: folder of the run; class_names: those that labels of the result count.
    """
    path = results / INDEX
    if not path.is_file():
        return []
    table, attributes = read_table(path)
    place = source.resolve().parts
    number_of = {name: number for number, name in enumerate(class_names)}
    for row in table.select(["path", "segments", "first_frame"]).to_pylist():
        listed = Path(row["path"]).parts
        # Times of an excerpt count from its first frame, and here the whole file is seen.
        if place[-len(listed) :] == listed and row["first_frame"] is None:
            names = [attributes["class_names"][part["label"]] for part in row["segments"]]
            return [
                Segment(part["start"], part["end"], number_of[name])
                for part, name in zip(row["segments"], names, strict=True)
                if name in number_of
            ]
    return []


def open_model(envelope: models.Envelope, results: Path | None) -> Model:
    """The model of a file, which lies in the folder of its method below that of its run."""
    folder = results or envelope.path.resolve().parents[1]
    return Model(envelope.metadata, network_of(envelope.metadata, envelope.tensors), folder)
