"""Image networks, frame by frame: ViT and CLIP (Radford et al. 2021), ResNet and ConvNeXt."""

from __future__ import annotations

import torch

from pipeline.backbone.encoders.base import CONVOLUTIONAL, IMAGE, Backbone
from pipeline.store.atomic import StageError


class ImageTransformer(Backbone):
    """The mean over frames of what each picture's CLS token became; CLIP normalises that token, so ours is too."""

    kind = IMAGE

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        config = self.model.config
        side = config.image_size // config.patch_size
        hidden = self.model(pixels.flatten(0, 1)).last_hidden_state
        first = hidden.shape[1] - side * side  # CLS, and registers or a distillation token where there are any
        maps = hidden[:, first:].unflatten(1, (side, side))
        if self.cls_token:
            if not first:
                raise StageError("this backbone has no CLS token; set backbone.maps.cls_token to false")
            maps = torch.cat([maps, hidden[:, :1, None].expand_as(maps)], -1)
        return maps.unflatten(0, (-1, pixels.shape[1]))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        output = self.model(pixels.flatten(0, 1))
        pooled = output.pooler_output if self.model.config.model_type == "clip_vision_model" else None
        rows = output.last_hidden_state[:, 0] if pooled is None else pooled  # [b * T, D]
        return rows.unflatten(0, (-1, pixels.shape[1])).mean(1)


class Convolutional(Backbone):
    """Maps of the last stage; their mean is the feature."""

    kind = CONVOLUTIONAL
    patch = 32  # five halvings: a smaller picture ends as less than one place

    @property
    def width(self) -> int:
        return self.model.config.hidden_sizes[-1]

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = self.model(pixels.flatten(0, 1)).last_hidden_state
        return hidden.movedim(1, -1).unflatten(0, (-1, pixels.shape[1]))  # [b, T, h, w, D]
