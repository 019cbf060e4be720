"""What every backbone gives: one feature per clip, and feature maps ``[n, S, h, w, D]``.

S are slices of a clip: one per tubelet of a video transformer, one per frame of an image network; each is a map of
h × w places that cover all of the picture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch

from pipeline.encoding.batches import Rows, Stopwatch, seen_frames
from pipeline.encoding.encoder import Encoder
from pipeline.encoding.pixels import Preprocessing, check_patch, evenly
from pipeline.jobs.runtime import Runtime
from pipeline.store.atomic import StageError

VIDEO, IMAGE, CONVOLUTIONAL = "video_transformer", "image_transformer", "convolutional"


class Backbone(Encoder, ABC):
    """One network with its preprocessing.

    Attributes:
        kind: its family: video_transformer, image_transformer or convolutional.
        cls_token: the maps have the CLS token of an image transformer behind the channels of every place (SALF-CBM
            B.1), so their D doubles.
    """

    kind: str

    def __init__(self, model: torch.nn.Module, preprocessing: Preprocessing, runtime: Runtime, cls_token: bool = False):
        super().__init__(model, runtime)
        self.preprocessing, self.cls_token = preprocessing, cls_token
        if cls_token and self.kind != IMAGE:
            raise StageError("this backbone has no CLS token for its positions; set backbone.maps.cls_token to false")

    @property
    def patch(self) -> int:
        """Side of the smallest picture that it can see, in pixels."""
        return self.model.config.patch_size

    @property
    def width(self) -> int:
        """Channels of a feature."""
        return self.model.config.hidden_size

    @property
    def map_width(self) -> int:
        """Channels D of the maps."""
        return self.width * (1 + self.cls_token)

    def frames_taken(self, n_frames: int) -> int:
        """How many of a clip's frames the network sees.

        Raises:
            StageError: it needs more than there are.
        """
        return n_frames

    def pixels(self, frames: np.ndarray | torch.Tensor) -> torch.Tensor:
        """uint8 ``[b, T, H, W, 3]`` → standardised ``[b, t, 3, height, width]``.

        Raises:
            StageError: too few frames, or pictures smaller than one patch.
        """
        check_patch(tuple(frames.shape), self.patch, "backbone")
        taken = self.frames_taken(frames.shape[1])
        if taken != frames.shape[1]:
            frames = frames[:, evenly(frames.shape[1], taken)]
        tensor = torch.from_numpy(frames) if isinstance(frames, np.ndarray) else frames
        return self.preprocessing(tensor.to(self.device))

    @abstractmethod
    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        """Feature maps ``[b, S, h, w, D]`` of `pixels`; differentiable."""

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        """Features ``[b, width]`` of maps ``[b, S, h, w, width]``: the mean over slices and places."""
        return maps.mean((1, 2, 3))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features ``[b, width]`` of `pixels`: pooled maps, if the network has nothing better."""
        return self.pooled(self.maps(pixels))

    @property
    def pools_maps(self) -> bool:
        """Whether its features are its pooled maps; networks with a CLS token have something else."""
        return type(self).features is Backbone.features


def encode(
    backbone: Backbone,
    frames: Rows,
    batch_size: int,
    what: str = "features",
    watch: Stopwatch | None = None,
    then: Callable[[torch.Tensor], torch.Tensor] = lambda rows: rows,
) -> np.ndarray:
    """Features of clips, or their feature maps.

    Args:
        frames: uint8 ``[n, T, H, W, 3]``, or blocks of them as they are read.
        what: features, float32 ``[n, width]``; or maps, float32 ``[n, S, h, w, map_width]``.
        then: what else is done on the device before they come back.
    """
    give = backbone.maps if what == "maps" else backbone.features

    def run(batch: torch.Tensor) -> torch.Tensor:
        return then(give(backbone.pixels(batch)))

    frames = seen_frames(frames, lambda n: evenly(n, backbone.frames_taken(n)))
    empty = (0, backbone.width) if what == "features" else (0, 0, 0, 0, backbone.map_width)
    return backbone.rows(frames, run, batch_size, what, watch, np.zeros(empty, np.float32))
