"""Weights and inputs drawn from seeds, the same for the original code of a network and for its port."""

from __future__ import annotations

import zlib

import torch

VICLIP = {
    "image_size": 32, "patch_size": 16, "num_frames": 4, "width": 32, "heads": 2, "layers": 2, "output": 24,
    "context": 12, "vocabulary": 60, "text_width": 16, "text_heads": 2,
}  # fmt: skip
LAVILA = {**VICLIP, "context": 14}


def weights(shapes: dict[str, torch.Size], prefix: str = "") -> dict[str, torch.Tensor]:
    """Random weights by the names of the file; ``prefix`` is cut off what is returned.

    Large enough that every part of a network shows in its result.
    """
    result = {}
    for key, shape in shapes.items():
        generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
        scale = 0.5 if len(shape) < 2 else 1.5 / max(shape[-1], 4) ** 0.5
        value = scale * torch.randn(shape, generator=generator)
        is_gain = key.endswith("weight") and len(shape) == 1
        result[key.removeprefix(prefix)] = value + 1 if is_gain else value
    return result


def pixels(size: dict[str, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, size["num_frames"], 3, size["image_size"], size["image_size"], generator=generator)


def token_ids(size: dict[str, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts of several lengths; the largest id ends a text."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(1, size["vocabulary"] - 1, (4, size["context"]), generator=generator)
    mask = torch.ones_like(ids)
    for row, length in enumerate((3, 7, size["context"] - 1, size["context"])):
        ids[row, length - 1] = size["vocabulary"] - 1
        mask[row, length:] = 0
    return ids, mask


def merge_list() -> str:
    """A short list of merges in the form of CLIP's file."""
    pairs = [
        "t h",
        "th e</w>",
        "i n",
        "a n",
        "r u",
        "ru n",
        "d o",
        "do g</w>",
        "v i",
        "vi d",
        "x x",
        "xx xx",
        "o f</w>",
    ]
    return "\n".join(["#version: 0.2", *pairs, ""])
