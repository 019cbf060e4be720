"""CLIP (Radford et al. 2021): frames averaged into a video embedding, text into the same space."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pipeline.context.encoders.base import DualEncoder
from pipeline.encoding.checkpoints import processor_settings
from pipeline.encoding.loading import load_model, load_tokenizer
from pipeline.encoding.pixels import Preprocessing
from pipeline.jobs.runtime import Runtime


class CLIP(DualEncoder):
    """The mean of the normalised frame embeddings, of any number of frames."""

    def __init__(self, name: str, revision: str, sha256: str, runtime: Runtime):
        from transformers import CLIPModel

        model = load_model(CLIPModel, name, revision, sha256, runtime)
        vision, text = model.config.vision_config, model.config.text_config
        preprocessing = Preprocessing.of(processor_settings(name, revision), vision.image_size, "bicubic")
        super().__init__(model, preprocessing, load_tokenizer(name, revision), runtime)
        self.width, self.patch = model.config.projection_dim, vision.patch_size
        self.context_length = text.max_position_embeddings

    def project(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        rows = F.normalize(self.project(pixels.flatten(0, 1)).float(), dim=1)
        return rows.unflatten(0, (-1, pixels.shape[1])).mean(1)

    def embed_tokens(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model.text_projection(self.model.text_model(input_ids=ids, attention_mask=mask).pooler_output)
