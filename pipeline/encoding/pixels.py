"""Frames as a network wants them: scaled, cropped, standardised, on the device and in batch.

What the reference processors do with PIL, one picture after the other, is done here with torch. The difference is
measured by ``tests/encoding/test_pixels.py``; `docs/encoders.md` says how large it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from pipeline.store.atomic import StageError

# PIL's numbers for the filters, as the configuration files of processors give them.
RESAMPLING = {2: "bilinear", 3: "bicubic"}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def evenly(n_frames: int, wanted: int) -> np.ndarray:
    """Frames taken from a clip, evenly spaced, the first and the last included: int64 ``[wanted]``."""
    return np.linspace(0, n_frames - 1, wanted).round().astype(int)


def normalise_pixels(frames: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    """uint8 or float frames in 0…255, ``[..., H, W, 3]`` → float32 ``[..., 3, H, W]``, standardised per channel."""
    scale = frames.new_tensor(mean, dtype=torch.float32) * 255
    spread = frames.new_tensor(std, dtype=torch.float32) * 255
    return ((frames.float() - scale) / spread).movedim(-1, -3)


def resize(frames: torch.Tensor, shape: tuple[int, int], how: str = "bicubic") -> torch.Tensor:
    """Frames ``[n, H, W, 3]`` in 0…255 → float32 ``[n, *shape, 3]``, antialiased.

    As PIL does it: along the rows, then along the columns, and whole grey levels after each, which cuts off what
    bicubic filters add beyond black and white.
    """
    result = frames.movedim(-1, 1).float()
    for size in ((frames.shape[1], shape[1]), tuple(shape)):
        if tuple(result.shape[2:]) != size:
            result = F.interpolate(result, size, mode=how, antialias=True, align_corners=False)
            result = result.round_().clamp_(0, 255)
    return result.movedim(1, -1)


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become the input of one network.

    Attributes:
        mean, std: per channel, of pixels in [0, 1].
        size: height and width of the input; None takes pictures of any size as they are.
        how: bilinear or bicubic.
        stretch: both sides are scaled to ``size``; otherwise the shorter one, and the middle is cut out.
        margin: the picture is scaled to so many times ``size`` before the middle is cut out.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    how: str = "bicubic"
    stretch: bool = False
    margin: float = 1.0

    @classmethod
    def of(cls, settings: dict[str, Any], size: int | tuple[int, int] | None, how: str = "bilinear") -> Preprocessing:
        """From the settings of a processor, see `pipeline.encoding.checkpoints.processor_settings`.

        Args:
            size: side of the network's input, or height and width; its position embeddings decide, not the processor.
            how: the family's filter, where the settings name none.
        """
        named = settings.get("size") or {}
        crop = settings.get("crop_size")
        if isinstance(named, int):
            # First format: one number, for the shorter side where the rest is cut off and for both where nothing is.
            cut_off = crop is not None or settings.get("do_center_crop") or "crop_pct" in settings
            named = {"shortest_edge": named} if cut_off else {"height": named, "width": named}
        sides = (size, size) if isinstance(size, int) else size
        margin = 1.0
        if edge := named.get("shortest_edge"):
            cut = crop.get("height", edge) if isinstance(crop, dict) else crop or edge
            # ConvNeXt's and ResNet's processors name the part that is left instead of the crop.
            margin = 1 / settings["crop_pct"] if settings.get("crop_pct") and edge < 384 else edge / cut
        standardised = settings.get("do_normalize", True)
        return cls(
            tuple(settings.get("image_mean", IMAGENET_MEAN)) if standardised else (0.0, 0.0, 0.0),
            tuple(settings.get("image_std", IMAGENET_STD)) if standardised else (1.0, 1.0, 1.0),
            sides,
            RESAMPLING.get(settings.get("resample"), how),
            "height" in named,
            margin,
        )

    def shape_before_crop(self, height: int, width: int, margin: bool = False) -> tuple[int, int]:
        """Height and width to which a picture is scaled."""
        if self.size is None:
            return height, width
        if self.stretch:
            return self.size
        edge = int(self.size[0] * (self.margin if margin else 1) + 1e-6)
        shorter = min(height, width)
        return max(edge, int(edge * height / shorter)), max(edge, int(edge * width / shorter))

    def __call__(self, frames: torch.Tensor, margin: bool = False) -> torch.Tensor:
        """uint8 ``[..., H, W, 3]`` on any device → float32 ``[..., 3, height, width]``.

        Args:
            margin: keep the reference's margin around the crop. Clips have been cropped when they were decoded, and
                their feature maps must cover all of the picture, so the stages leave it out.
        """
        leading = frames.shape[:-3]
        flat = frames.flatten(0, -4) if leading else frames[None]  # [n, H, W, 3]
        shape = self.shape_before_crop(*flat.shape[1:3], margin)
        flat = resize(flat, shape, self.how)
        if self.size is not None and not self.stretch:
            top, left = (shape[0] - self.size[0]) // 2, (shape[1] - self.size[1]) // 2
            flat = flat[:, top : top + self.size[0], left : left + self.size[1]]
        result = normalise_pixels(flat, self.mean, self.std)
        return result.unflatten(0, leading) if leading else result[0]


def check_patch(frames_shape: tuple[int, ...], patch: int, what: str) -> None:
    """Pictures smaller than one patch hold nothing that a network could see.

    Raises:
        StageError: with what to change.
    """
    height, width = frames_shape[-3:-1]
    if min(height, width) < patch:
        raise StageError(
            f"the clips are {height} × {width} pixels, smaller than one patch ({patch}) of the {what}; set "
            f"data.decode.size to at least {patch}, or better, the input size of the network"
        )
