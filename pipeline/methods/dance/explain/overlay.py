"""Heatmaps over frames, as PNG and GIF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.methods.dance.explain.regions import View

# Side of a written frame: small clips are enlarged so that one can see something.
SIDE = 336
MILLISECONDS = 160


def shares(maps: np.ndarray) -> np.ndarray:
    """A map ``[S, ...]`` scaled to [0, 1] over the whole clip, so that its slices can be compared; 0 where constant."""
    low, high = maps.min(), maps.max()
    return (maps - low) / (high - low) if high > low else np.zeros_like(maps)


def overlay(frame: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a heatmap over a frame.

    Args:
        frame: uint8 ``[H, W, 3]``; heat: ``[H, W]`` in [0, 1].

    Returns:
        uint8 ``[H, W, 3]``.
    """
    from matplotlib import colormaps

    colours = colormaps["inferno"](heat)[..., :3] * 255
    # What is cold stays as it is, so that one recognises the picture.
    opacity = 0.75 * heat[..., None]
    return ((1 - opacity) * frame + opacity * colours).round().astype(np.uint8)


def draw(frames: np.ndarray, concept_map: np.ndarray, view: View) -> np.ndarray:
    """A concept over the frames of a clip, one picture per slice of its map.

    Args:
        frames: uint8 ``[T, size, size, 3]``, the middle square; concept_map: ``[S, rows, columns]``.

    Returns:
        uint8 ``[S, SIDE, SIDE, 3]``.
    """
    heat = shares(View(SIDE, SIDE, view.rows, view.columns).heatmap(concept_map))
    middles = ((2 * np.arange(len(heat)) + 1) * len(frames)) // (2 * len(heat))
    enlarged = [np.asarray(Image.fromarray(frames[middle]).resize((SIDE, SIDE), Image.BICUBIC)) for middle in middles]
    return np.stack([overlay(frame, values) for frame, values in zip(enlarged, heat, strict=True)])


def write_strip(path: Path, pictures: np.ndarray) -> None:
    """All slices side by side as one PNG."""
    Image.fromarray(np.concatenate(list(pictures), 1)).save(path, format="PNG")


def write_animation(path: Path, pictures: np.ndarray) -> None:
    """One slice after the other as a GIF that repeats."""
    first, *rest = (Image.fromarray(picture) for picture in pictures)
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=MILLISECONDS, loop=0)
