"""ViCLIP (Wang et al. 2024, InternVid): CLIP with attention over space and time at once; the dual encoder of DANCE.

A port: ``transformers`` has no such network. The names of the weights are those of the published files
(OpenGVLab/ViCLIP-B-16-hf, OpenGVLab/ViCLIP-L-14-hf), so these load as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pipeline.context.encoders.base import DualEncoder
from pipeline.context.encoders.layers import TextTower, Transformer
from pipeline.context.encoders.vocabulary import clip_tokenizer
from pipeline.encoding.checkpoints import config_of, processor_settings
from pipeline.encoding.loading import load_tensors
from pipeline.encoding.pixels import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pipeline.jobs.runtime import Runtime
from pipeline.store.atomic import StageError

# `size` of the published config.json → what it stands for.
SIZES: dict[str, dict[str, Any]] = {
    "b": {
        "vision_config": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "patch_size": 16},
        "text_config": {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8},
        "projection_dim": 512,
    },
    "l": {
        "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14},
        "text_config": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
        "projection_dim": 768,
    },
}
VISION = {"image_size": 224, "num_frames": 8}
TEXT = {"vocab_size": 49408, "max_position_embeddings": 32}
# The published processing: both sides scaled to the input, ImageNet's mean and deviation.
SETTINGS = {
    "image_mean": list(IMAGENET_MEAN),
    "image_std": list(IMAGENET_STD),
    "size": {"height": 224, "width": 224},
    "resample": 3,
}


def architecture(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Sizes of the network: by the letter of the published config.json, or written out.

    Raises:
        StageError: neither is there.
    """
    letter = str(config.get("size", "")).lower()
    if letter not in SIZES and not {"vision_config", "text_config", "projection_dim"} <= config.keys():
        raise StageError(f"config.json of `{name}` has size {config.get('size')!r}; ViCLIP has the sizes b and l")
    chosen = SIZES.get(letter, config)
    return {
        "vision_config": {**VISION, **chosen["vision_config"]},
        "text_config": {**TEXT, **chosen["text_config"]},
        "projection_dim": chosen["projection_dim"],
    }


class VisionTower(nn.Module):
    """Patches of all frames in one sequence; where and when are two position embeddings."""

    def __init__(self, config: dict[str, Any], output: int):
        super().__init__()
        width, patch = config["hidden_size"], config["patch_size"]
        self.conv1 = nn.Conv3d(3, width, (1, patch, patch), (1, patch, patch), bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((config["image_size"] // patch) ** 2 + 1, width))
        self.temporal_positional_embedding = nn.Parameter(torch.empty(1, config["num_frames"], width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, config["num_hidden_layers"], config["num_attention_heads"])
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, output))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings ``[b, output]`` of ``[b, T, 3, H, W]``; a single frame stands at the mean of all times."""
        patches = self.conv1(pixels.transpose(1, 2)).flatten(3).permute(0, 2, 3, 1)  # [b, T, n, D]
        where = self.positional_embedding
        when = self.temporal_positional_embedding[:, :, None]  # [1, T, 1, D]
        if pixels.shape[1] == 1:
            when = when.mean(1, keepdim=True)
        x = (patches + where[1:] + when).flatten(1, 2)  # [b, T * n, D]
        first = (self.class_embedding + where[0]).expand(len(x), 1, -1)
        x = self.transformer(self.ln_pre(torch.cat([first, x], 1)))
        return self.ln_post(x[:, 0]) @ self.proj


class ViCLIPModel(nn.Module):
    """Both towers, and the temperature of the contrastive loss, which embeddings do not need."""

    def __init__(self, vision_config: dict[str, Any], text_config: dict[str, Any], projection_dim: int):
        super().__init__()
        self.vision_encoder = VisionTower(vision_config, projection_dim)
        self.text_encoder = TextTower(text_config, projection_dim)
        self.temp = nn.Parameter(torch.empty(()))


class ViCLIP(DualEncoder):
    """As many frames as the network was trained with; a picture is one frame, as in its training on pictures."""

    def __init__(self, name: str, revision: str, sha256: str, runtime: Runtime):
        sizes = architecture(config_of(name, revision), name)
        with torch.device("meta"):
            model = ViCLIPModel(**sizes)
        model = load_tensors(model, name, revision, sha256, runtime)
        vision, text = sizes["vision_config"], sizes["text_config"]
        preprocessing = Preprocessing.of(processor_settings(name, revision, SETTINGS), vision["image_size"])
        super().__init__(model, preprocessing, clip_tokenizer(name, revision), runtime)
        self.width, self.patch = sizes["projection_dim"], vision["patch_size"]
        self.n_frames, self.context_length = vision["num_frames"], text["max_position_embeddings"]

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model.vision_encoder(pixels)

    def project(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.embed(pixels[:, None])

    def embed_tokens(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model.text_encoder.encode_text(ids, mask)
