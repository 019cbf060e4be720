"""VideoPrism (Zhao et al. 2024), the video-text models (``lvt``)."""

from __future__ import annotations

import torch

from pipeline.context.encoders.base import DualEncoder
from pipeline.encoding.checkpoints import processor_settings
from pipeline.encoding.loading import load_model, load_tokenizer
from pipeline.encoding.pixels import Preprocessing
from pipeline.jobs.runtime import Runtime

# What the published processor does, for files without one: pixels in [0, 1], both sides scaled.
SETTINGS = {"do_normalize": False, "size": {"height": 288, "width": 288}, "resample": 3}


class VideoPrism(DualEncoder):
    """As many frames as the network was trained with; a picture is a clip that stands still."""

    def __init__(self, name: str, revision: str, sha256: str, runtime: Runtime):
        from transformers import VideoPrismClipModel

        model = load_model(VideoPrismClipModel, name, revision, sha256, runtime)
        vision, text = model.config.vision_config, model.config.text_config
        size = vision.image_size if isinstance(vision.image_size, int) else tuple(vision.image_size)
        preprocessing = Preprocessing.of(processor_settings(name, revision, SETTINGS), size, "bicubic")
        super().__init__(model, preprocessing, load_tokenizer(name, revision), runtime)
        self.width, self.patch = vision.hidden_size, vision.tubelet_size[-1]
        self.n_frames, self.context_length = vision.num_frames, text.max_position_embeddings

    def tokens(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded to full length: the token that sums a text up stands behind the padding."""
        result = self.tokenizer(
            texts, padding="max_length", truncation=True, return_tensors="pt", max_length=self.context_length
        ).to(self.device)
        return result["input_ids"], result["attention_mask"]

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model.get_video_features(pixel_values_videos=pixels).pooler_output.flatten(1)

    def project(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.embed(pixels[:, None].expand(-1, self.n_frames, -1, -1, -1))

    def embed_tokens(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
