"""From a video or a picture to a decision with its reasons, and with the places of its concepts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pipeline.backbone.encoders import encode
from pipeline.backbone.look import Look, Opener
from pipeline.backbone.maps import on_grid
from pipeline.backbone.window import Window
from pipeline.data.readers import open_video
from pipeline.data.settings import Decode
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, Prediction
from pipeline.methods.dance.explain.reader import Reader
from pipeline.methods.dance.explain.regions import View
from pipeline.methods.dance.explain.seen import Seen
from pipeline.store.atomic import StageError


class VideoPredictor:
    """A model together with its backbone, loaded once for many videos."""

    def __init__(self, model: ConceptModel, runtime: Runtime = AUTO):
        self.model = model
        self._look = Look(model.about, runtime)
        self.backbone = self._look.backbone
        self.places = model.about.get("maps")
        self.reader = Reader(model, runtime) if model.n_read else None
        # The feature never has the CLS token twice; the maps may.
        self.map_backbone = self.backbone
        if self.places and self.places["cls_token"]:
            self.map_backbone = self._look.load(cls_token=True)

    @property
    def decode(self) -> Decode:
        """How clips are cut out of a video."""
        return self._look.decode

    def look(self, path: Path, opener: Opener | None = None) -> Seen:
        """Decode a video or picture and encode it.

        Args:
            opener: see `pipeline.data.decode.decode_video`.

        Raises:
            VideoError: it cannot be read.
        """
        decoded = self._look.clip(path, opener)
        clip = decoded["frames"]
        feature = self._look.feature(clip)
        times = decoded["timestamps"][decoded["frame_index"]]
        read = self.reader.file(path, decoded, self._look.decode, opener) if self.reader else None
        if not self.places:
            return Seen(clip, times, feature, None, None, read)
        maps = self._maps(encode(self.map_backbone, clip[None], 1, "maps"))
        return Seen(clip, times, feature, maps[0], View.of(decoded["height"], decoded["width"], self.places), read)

    def _maps(self, maps: np.ndarray) -> np.ndarray:
        """Concept maps on the model's grid of the backbone's feature maps ``[n, S, h, w, D]``."""
        where = {name: self.places[name] for name in ("grid", "placement", "radius")}
        return self.model.maps(on_grid(torch.from_numpy(maps), **where).numpy())

    def activations(self, frames: np.ndarray, batch_size: int = 4, read: np.ndarray | None = None) -> np.ndarray:
        """Standardised concept activations ``[n, M]`` of clips, uint8 ``[n, T, size, size, 3]``.

        Args:
            read: what was read of the clips' videos, ``[n, n_read]``; see `pipeline.methods.dance.explain.reader`.
        """
        if not self.places:
            return self.model.activations(encode(self.backbone, frames, batch_size), read=read)
        parts = []
        for start in range(0, len(frames), batch_size):
            full = encode(self.map_backbone, frames[start : start + batch_size], batch_size, "maps")
            if self.backbone.pools_maps:  # one pass gives both
                with torch.inference_mode():
                    features = self.backbone.pooled(torch.from_numpy(full).to(self.backbone.device)).cpu().numpy()
            else:
                features = encode(self.backbone, frames[start : start + batch_size], batch_size)
            own = None if read is None else read[start : start + batch_size]
            parts.append(self.model.activations(features, self._maps(full), own))
        return np.concatenate(parts) if parts else np.zeros((0, len(self.model.concepts)))

    def over_time(
        self,
        path: Path,
        length: float,
        hop: float,
        batch_size: int = 4,
        excerpt: tuple[int, int] | None = None,
        opener: Opener = open_video,
    ) -> tuple[list[Window], np.ndarray]:
        """Windows over a video, without their frames, and what the model makes of each, ``[n, M]``.

        Args:
            length, hop: in seconds, see `pipeline.backbone.look.windows`.
            excerpt: first frame and end of the part that is the video; None for the whole file.
            opener: see `pipeline.backbone.look.Look.windows`.

        Raises:
            VideoError: it cannot be read. StageError: the model reads concepts, which windows do not tell.
        """
        if self.reader:
            raise StageError(
                "this model reads concepts in whole videos, so that it has no timeline; take one whose kind is dance, "
                "salf or dance+salf"
            )
        found, parts = [], []
        windows = self._look.windows(path, length, hop, excerpt, opener)
        while block := list(itertools.islice(windows, batch_size)):
            parts.append(self.activations(np.stack([window.frames for window in block]), batch_size))
            found += [replace(window, frames=window.frames[:0]) for window in block]
        return found, np.concatenate(parts)

    def predict(self, path: Path, top_k: int = 5) -> Prediction:
        """The decision on one video file."""
        seen = self.look(path)
        maps = None if seen.maps is None else seen.maps[None]
        return self.model.predict(seen.feature, top_k, maps, seen.read)[0]
