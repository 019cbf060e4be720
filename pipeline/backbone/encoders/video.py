"""Video transformers: VideoMAE (Tong et al. 2022), V-JEPA 2 (Assran et al. 2025), TimeSformer (Bertasius et al.)."""

from __future__ import annotations

import torch

from pipeline.backbone.encoders.base import VIDEO, Backbone
from pipeline.encoding.pixels import Preprocessing
from pipeline.jobs.runtime import Runtime
from pipeline.store.atomic import StageError


def _too_short(n_frames: int, wanted: int) -> StageError:
    return StageError(f"the backbone needs {wanted} frames, the clips have {n_frames}; set data.decode.n_frames")


class _FixedLength(Backbone):
    """A network with a position for each of a set number of frames."""

    kind = VIDEO

    def frames_taken(self, n_frames: int) -> int:
        wanted = self.model.config.num_frames
        if n_frames < wanted:
            raise _too_short(n_frames, wanted)
        return wanted


class VideoMAE(_FixedLength):
    """Tokens of 2 × 16 × 16 pixels, averaged.

    Args:
        norm: the normalisation that a fine-tuned network applies to the mean before its classifier. The published
            features of DANCE went through it: centred, they lie in a hyperplane, as the output of a LayerNorm does.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        preprocessing: Preprocessing,
        runtime: Runtime,
        cls_token: bool = False,
        norm: torch.nn.Module | None = None,
    ):
        super().__init__(model, preprocessing, runtime, cls_token)
        self.norm = norm

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        config = self.model.config
        side = config.image_size // config.patch_size
        hidden = self.model(pixels).last_hidden_state  # [b, S * h * w, D]
        return hidden.unflatten(1, (config.num_frames // config.tubelet_size, side, side))

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        mean = super().pooled(maps)
        return mean if self.norm is None else self.norm(mean)


class VJEPA2(Backbone):
    """Tokens of 2 × 16 × 16 pixels, averaged; its rotary positions take any even number of frames."""

    kind = VIDEO

    def frames_taken(self, n_frames: int) -> int:
        tubelet = self.model.config.tubelet_size
        taken = min(n_frames, self.model.config.frames_per_clip) // tubelet * tubelet
        if not taken:
            raise _too_short(n_frames, tubelet)
        return taken

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        config = self.model.config
        side = config.crop_size // config.patch_size
        hidden = self.model(pixels, skip_predictor=True).last_hidden_state  # [b, S * h * w, D]
        return hidden.unflatten(1, (pixels.shape[1] // config.tubelet_size, side, side))


class TimeSformer(_FixedLength):
    """Space and time attended to one after the other; the CLS token is the feature, as its classifier takes it."""

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        config = self.model.config
        side = config.image_size // config.patch_size
        hidden = self.model(pixels).last_hidden_state[:, 1:]  # [b, h * w * T, D], time running fastest
        return hidden.unflatten(1, (side, side, pixels.shape[1])).movedim(3, 1)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model(pixels).last_hidden_state[:, 0]
