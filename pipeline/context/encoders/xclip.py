"""X-CLIP (Ni et al. 2022): CLIP whose frames exchange messages.

Its classifier also lets every text look at the video before the two are compared. An embedding that is stored per
text cannot, so that last step is left out, as in the model's own `get_video_features` and `get_text_features`.
"""

from __future__ import annotations

import torch

from pipeline.context.encoders.base import DualEncoder
from pipeline.encoding.checkpoints import processor_settings
from pipeline.encoding.loading import load_model, load_tokenizer
from pipeline.encoding.pixels import Preprocessing
from pipeline.jobs.runtime import Runtime


class XCLIP(DualEncoder):
    """As many frames as the network was trained with; a picture is a clip that stands still."""

    def __init__(self, name: str, revision: str, sha256: str, runtime: Runtime):
        from transformers import XCLIPModel

        model = load_model(XCLIPModel, name, revision, sha256, runtime)
        vision, text = model.config.vision_config, model.config.text_config
        preprocessing = Preprocessing.of(processor_settings(name, revision), vision.image_size)
        super().__init__(model, preprocessing, load_tokenizer(name, revision), runtime)
        self.width, self.patch = model.config.projection_dim, vision.patch_size
        self.n_frames, self.context_length = vision.num_frames, text.max_position_embeddings

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model.get_video_features(pixel_values=pixels).pooler_output

    def project(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.embed(pixels[:, None].expand(-1, self.n_frames, -1, -1, -1))

    def embed_tokens(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model.text_projection(self.model.text_model(input_ids=ids, attention_mask=mask).pooler_output)
