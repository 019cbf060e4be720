"""LaViLa (Zhao et al. 2023): a TimeSformer with CLIP's text tower, trained on narrated first-person video.

A port of its dual encoder with OpenAI's text tower (TSF-B and TSF-L). Its weights are published as pickles;
`conceptreel convert` reads their tensors without executing anything and writes the folder that is loaded here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pipeline.context.encoders.base import DualEncoder
from pipeline.context.encoders.layers import QuickGELU, TextTower
from pipeline.context.encoders.vocabulary import clip_tokenizer
from pipeline.encoding.checkpoints import config_of, processor_settings
from pipeline.encoding.loading import load_tensors
from pipeline.encoding.pixels import Preprocessing
from pipeline.jobs.runtime import Runtime
from pipeline.store.atomic import StageError

# The numbers of LaViLa's own evaluation of these models, divided by 255. The first mean is not CLIP's 0.4815, but it is
# what the networks were trained with.
SETTINGS = {
    "image_mean": [108.3272985 / 255, 116.7460125 / 255, 104.09373615 / 255],
    "image_std": [68.5005327 / 255, 66.6321579 / 255, 70.32316305 / 255],
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "resample": 2,
}
EPSILON = 1e-6  # of the vision tower's LayerNorms


class DividedAttention(nn.Module):
    """Attention among the patches of one frame, or of one place; the CLS token sees all and is seen by all."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor, n_frames: int, over_time: bool) -> torch.Tensor:
        """``[b, 1 + T * n, D]`` → the same shape; patches run frame by frame."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [b, heads, L, d]
        first = F.scaled_dot_product_attention(query[:, :, :1], key, value)

        def grouped(part: torch.Tensor) -> torch.Tensor:
            """``[b, heads, T * n, d]`` → ``[b, heads, groups, members, d]``."""
            split = part.unflatten(2, (n_frames, -1))
            return split.transpose(2, 3) if over_time else split

        def with_first(part: torch.Tensor) -> torch.Tensor:
            members = grouped(part[:, :, 1:])
            shared = part[:, :, None, :1].expand(-1, -1, members.shape[2], -1, -1)
            return torch.cat([shared, members], 3)

        rest = F.scaled_dot_product_attention(grouped(query[:, :, 1:]), with_first(key), with_first(value))
        rest = (rest.transpose(2, 3) if over_time else rest).flatten(2, 3)
        return self.proj(torch.cat([first, rest], 2).transpose(1, 2).flatten(2))


class SpaceTimeBlock(nn.Module):
    """Time, then space; the residual of space skips time (Frozen in Time, Bain et al. 2021)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, EPSILON), DividedAttention(width, heads)
        self.norm2, self.norm3 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.timeattn = DividedAttention(width, heads)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.act = QuickGELU()

    def forward(self, x: torch.Tensor, n_frames: int) -> torch.Tensor:
        timed = x + self.timeattn(self.norm3(x), n_frames, over_time=True)
        x = x + self.attn(self.norm1(timed), n_frames, over_time=False)
        return x + self.mlp.fc2(self.act(self.mlp.fc1(self.norm2(x))))


class VisionTower(nn.Module):
    def __init__(self, config: dict[str, Any]):
        super().__init__()
        width, patch = config["hidden_size"], config["patch_size"]
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch, bias=False)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, (config["image_size"] // patch) ** 2 + 1, width))
        self.temporal_embed = nn.Parameter(torch.empty(1, config["num_frames"], width))
        self.ln_pre = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            SpaceTimeBlock(width, config["num_attention_heads"]) for _ in range(config["num_hidden_layers"])
        )
        self.norm = nn.LayerNorm(width, EPSILON)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """CLS tokens ``[b, D]`` of ``[b, T, 3, H, W]``; fewer frames than trained with take the first times."""
        n_frames = pixels.shape[1]
        patches = self.patch_embed.proj(pixels.flatten(0, 1)).flatten(2).transpose(1, 2)  # [b * T, n, D]
        patches = patches.unflatten(0, (-1, n_frames))
        where, when = self.pos_embed, self.temporal_embed[:, :n_frames, None]
        x = (patches + where[:, None, 1:] + when).flatten(1, 2)
        x = self.ln_pre(torch.cat([(self.cls_token + where[:, :1]).expand(len(x), -1, -1), x], 1))
        for block in self.blocks:
            x = block(x, n_frames)
        return self.norm(x)[:, 0]


class LaViLaModel(TextTower):
    """The text tower's weights stand at the top of the file, the vision tower's below ``visual``."""

    def __init__(self, vision_config: dict[str, Any], text_config: dict[str, Any], projection_dim: int):
        super().__init__(text_config, projection_dim)
        self.visual = VisionTower(vision_config)
        self.image_projection = nn.Parameter(torch.empty(vision_config["hidden_size"], projection_dim))
        self.logit_scale = nn.Parameter(torch.empty(()))


class LaViLa(DualEncoder):
    """As many frames as the network was trained with; a picture is a clip of one frame."""

    def __init__(self, name: str, revision: str, sha256: str, runtime: Runtime):
        config = config_of(name, revision)
        try:
            vision, text, width = config["vision_config"], config["text_config"], config["projection_dim"]
        except KeyError as error:
            raise StageError(f"config.json of `{name}` lacks {error}; `conceptreel convert` writes it") from None
        with torch.device("meta"):
            model = LaViLaModel(vision, text, width)
        model = load_tensors(model, name, revision, sha256, runtime)
        preprocessing = Preprocessing.of(processor_settings(name, revision, SETTINGS), vision["image_size"])
        super().__init__(model, preprocessing, clip_tokenizer(name, revision), runtime)
        self.width, self.patch = width, vision["patch_size"]
        self.n_frames, self.context_length = vision["num_frames"], text["max_position_embeddings"]

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model.visual(pixels) @ self.model.image_projection

    def project(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.embed(pixels[:, None])

    def embed_tokens(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model.encode_text(ids, mask)
