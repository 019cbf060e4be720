"""The transformer blocks and the text tower of OpenAI's CLIP, with its names of the weights.

ViCLIP and LaViLa keep both, so their published files fit without renaming.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class QuickGELU(nn.Module):
    """x · σ(1.702 x), CLIP's approximation of GELU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention over ``[b, L, D]`` whose three projections are one matrix."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        projected = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # [b, L, 3 D]
        query, key, value = projected.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [b, heads, L, d]
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.c_fc, self.gelu, self.c_proj = nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and beside a residual."""

    def __init__(self, width: int, heads: int, causal: bool = False):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads, causal)
        self.ln_2, self.mlp = nn.LayerNorm(width), MLP(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, causal: bool = False):
        super().__init__()
        self.resblocks = nn.Sequential(*[Block(width, heads, causal) for _ in range(layers)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.resblocks(x)


class TextTower(nn.Module):
    """CLIP's text encoder: the last token of a text, which has seen all others, is its embedding.

    Args:
        config: ``text_config`` of the checkpoint's config.json; output: width of an embedding.
    """

    def __init__(self, config: dict[str, Any], output: int):
        super().__init__()
        width = config["hidden_size"]
        self.token_embedding = nn.Embedding(config["vocab_size"], width)
        self.positional_embedding = nn.Parameter(torch.empty(config["max_position_embeddings"], width))
        self.transformer = Transformer(width, config["num_hidden_layers"], config["num_attention_heads"], causal=True)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, output))

    def encode_text(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embeddings ``[b, output]`` of token ids ``[b, L]``; what the mask ``[b, L]`` leaves out stands behind."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]  # [b, L, D]
        x = self.ln_final(self.transformer(x))
        last = mask.sum(1) - 1
        return x[torch.arange(len(x), device=x.device), last] @ self.text_projection
