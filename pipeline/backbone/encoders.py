"""Backbones of three families behind one call: video transformers, image transformers and convolutional networks.

All give a feature per clip and feature maps ``[n, S, h, w, D]``: S slices of a clip (one per tubelet of a video
transformer, one per frame of an image network), each a map of h × w places.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pipeline import stage
from pipeline.checkpoints import load_model, locate, normalise_pixels, processor_settings, resize
from pipeline.stage import StageError

VIDEO, IMAGE, CONVOLUTIONAL = "video_transformer", "image_transformer", "convolutional"
# `model_type` of a checkpoint's config.json → family.
KINDS = {
    "videomae": VIDEO,
    "vit": IMAGE,
    "clip_vision_model": IMAGE,
    "resnet": CONVOLUTIONAL,
    "convnext": CONVOLUTIONAL,
}


class Backbone:
    """One network with its preprocessing.

    Attributes:
        kind: its family, one of the values of `KINDS`.
    """

    def __init__(self, model: torch.nn.Module, mean: list[float], std: list[float], cls_token: bool = False):
        self.model, self.mean, self.std = model, mean, std
        self.cls_token = cls_token
        self.kind = KINDS[model.config.model_type]

    @property
    def device(self) -> torch.device:
        return self.model.device

    def pixels(self, frames: np.ndarray) -> torch.Tensor:
        """uint8 ``[b, T, H, W, 3]`` → standardised ``[b, T, 3, size, size]``.

        Raises:
            StageError: a video transformer wants another number of frames.
        """
        if self.kind == VIDEO and frames.shape[1] != self.model.config.num_frames:
            raise StageError(
                f"the backbone wants {self.model.config.num_frames} frames, the clips have {frames.shape[1]}; "
                f"set data.decode.n_frames"
            )
        batch = normalise_pixels(torch.from_numpy(frames).to(self.device), self.mean, self.std)
        if self.kind == CONVOLUTIONAL:  # takes pictures of any size
            return batch
        return resize(batch.flatten(0, 1), self.model.config.image_size).unflatten(0, batch.shape[:2])

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        """Feature maps ``[b, S, h, w, D]`` of ``[b, T, 3, size, size]``; differentiable.

        With ``cls_token`` the CLS token of an image transformer stands behind the channels of every place (SALF-CBM
        B.1), so D doubles.
        """
        config = self.model.config
        if self.kind == VIDEO:
            side = config.image_size // config.patch_size
            hidden = self.model(pixels).last_hidden_state  # [b, S * h * w, D]
            return hidden.unflatten(1, (config.num_frames // config.tubelet_size, side, side))
        n_frames = pixels.shape[1]
        hidden = self.model(pixels.flatten(0, 1)).last_hidden_state
        if self.kind == CONVOLUTIONAL:
            maps = hidden.movedim(1, -1)  # [b * T, h, w, D]
        else:
            side = config.image_size // config.patch_size
            first = hidden.shape[1] - side * side  # CLS, and registers or a distillation token where there are any
            maps = hidden[:, first:].unflatten(1, (side, side))
            if self.cls_token:
                if not first:
                    raise StageError("this backbone has no CLS token; set backbone.maps.cls_token to false")
                maps = torch.cat([maps, hidden[:, :1, None].expand_as(maps)], -1)
        return maps.unflatten(0, (-1, n_frames))

    @property
    def width(self) -> int:
        """Channels D of the maps."""
        config = self.model.config
        width = config.hidden_sizes[-1] if self.kind == CONVOLUTIONAL else config.hidden_size
        return width * (1 + self.cls_token)


def load_backbone(name: str, revision: str = "main", cls_token: bool = False) -> Backbone:
    """A backbone from a hub id or a folder.

    Raises:
        StageError: it cannot be loaded, or its architecture is none of those that are known here.
    """
    import transformers

    classes: dict[str, tuple[type, dict[str, Any]]] = {
        "videomae": (transformers.VideoMAEModel, {}),
        "vit": (transformers.ViTModel, {"add_pooling_layer": False}),
        "clip": (transformers.CLIPVisionModel, {}),
        "clip_vision_model": (transformers.CLIPVisionModel, {}),
        "resnet": (transformers.ResNetModel, {}),
        "convnext": (transformers.ConvNextModel, {}),
    }
    try:
        kind = transformers.AutoConfig.from_pretrained(locate(name), revision=revision).model_type
    except (OSError, ValueError) as error:
        raise StageError(f"`{name}` has no readable config.json ({str(error).splitlines()[0]})") from None
    if kind not in classes:
        raise StageError(f"`{name}` is a {kind}; backbones known here are {', '.join(classes)}")
    cls, options = classes[kind]
    processor = processor_settings(name, revision)
    return Backbone(
        load_model(cls, name, revision, **options), processor["image_mean"], processor["image_std"], cls_token
    )


def encode(backbone: Backbone, frames: np.ndarray, batch_size: int, what: str = "features") -> np.ndarray:
    """Mean over slices and places of the feature maps, or the maps themselves.

    Args:
        frames: uint8 ``[n, T, H, W, 3]``.
        what: features, float32 ``[n, D]``; or maps, float32 ``[n, S, h, w, D]``.
    """
    parts = []
    for start in stage.progress(range(0, len(frames), batch_size), what, unit="batch"):
        with torch.inference_mode():
            maps = backbone.maps(backbone.pixels(frames[start : start + batch_size]))
        parts.append((maps if what == "maps" else maps.mean((1, 2, 3))).float().cpu().numpy())
    if not parts:
        return np.zeros((0, backbone.width) if what == "features" else (0, 0, 0, 0, backbone.width), np.float32)
    return np.concatenate(parts)
