"""Heatmaps over frames, as PNG and GIF, with names, times and their scale."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.methods.dance.explain.regions import View

# Side of a written frame: small clips are enlarged so that one can see something.
SIDE = 336
MILLISECONDS = 160
TITLE, CAPTION, BAR = 30, 22, 92
INK = (31, 41, 51)
COLOURS = "inferno"


@dataclass(frozen=True)
class Scale:
    """The heat of one concept, the same for every video: in standard deviations of its map within a place.

    Attributes:
        seen: below it nothing glows; full: from there on heat grows no more. See
            `pipeline.methods.dance.bottleneck.levels.heat_scale`.
    """

    seen: float
    full: float

    def heat(self, values: np.ndarray) -> np.ndarray:
        """Values of a map as heat in [0, 1]."""
        return np.clip((values - self.seen) / (self.full - self.seen), 0, 1)


def overlay(frame: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a heatmap over a frame.

    Args:
        frame: uint8 ``[H, W, 3]``; heat: ``[H, W]`` in [0, 1].

    Returns:
        uint8 ``[H, W, 3]``.
    """
    from matplotlib import colormaps

    colours = colormaps[COLOURS](heat)[..., :3] * 255
    # What is cold stays as it is, so that one recognises the picture.
    opacity = 0.75 * heat[..., None]
    return ((1 - opacity) * frame + opacity * colours).round().astype(np.uint8)


def middles(n_slices: int, n_frames: int) -> np.ndarray:
    """The frame in the middle of each slice of a map, int64 ``[n_slices]``."""
    return (2 * np.arange(n_slices) + 1) * n_frames // (2 * n_slices)


def glow(concept_map: np.ndarray, view: View, scale: Scale) -> np.ndarray:
    """Heat of a map ``[S, rows, columns]`` in every pixel of the view's square, ``[S, side, side]`` in [0, 1].

    A slice of which no place is seen has none, though the smooth way between two places may rise above both.
    """
    heat = scale.heat(view.heatmap(concept_map))
    return heat * (concept_map.max((-2, -1)) > scale.seen)[:, None, None]


def draw(frames: np.ndarray, concept_map: np.ndarray, view: View, scale: Scale) -> np.ndarray:
    """A concept over the frames of a clip, one picture per slice of its map.

    Args:
        frames: uint8 ``[T, size, size, 3]``, the middle square; concept_map: ``[S, rows, columns]``.

    Returns:
        uint8 ``[S, SIDE, SIDE, 3]``.
    """
    heat = glow(concept_map, View(SIDE, SIDE, view.rows, view.columns), scale)
    enlarged = [
        np.asarray(Image.fromarray(frames[middle]).resize((SIDE, SIDE), Image.BICUBIC))
        for middle in middles(len(heat), len(frames))
    ]
    return np.stack([overlay(frame, values) for frame, values in zip(enlarged, heat, strict=True)])


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    # It has the letters of most scripts of Europe, and comes with what is installed.
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def panel(pictures: np.ndarray, title: str, captions: Sequence[str] = (), scale: Scale | None = None) -> np.ndarray:
    """Pictures side by side under a title, with a caption each and the colour bar of their heat.

    Args:
        pictures: uint8 ``[n, H, W, 3]``; captions: ``n``, or none.

    Returns:
        uint8 ``[H', W', 3]``.
    """
    n, height, width = pictures.shape[:3]
    bottom = CAPTION if captions else 0
    canvas = Image.new("RGB", (n * width + (BAR if scale else 0), TITLE + height + bottom), "white")
    pen = ImageDraw.Draw(canvas)
    size = 17
    while size > 9 and pen.textlength(title, font(size)) > canvas.width - 12:
        size -= 1
    pen.text((6, 5), title, INK, font(size))
    for place, picture in enumerate(pictures):
        canvas.paste(Image.fromarray(picture), (place * width, TITLE))
    for place, caption in enumerate(captions):
        pen.text((place * width + 6, TITLE + height + 3), caption, INK, font(13))
    if scale:
        left, top = n * width + 8, TITLE + 24
        steps = np.linspace(1, 0, height - 48)[:, None].repeat(18, 1)
        bar = overlay(np.full((*steps.shape, 3), 255, np.uint8), steps)
        canvas.paste(Image.fromarray(bar), (left, top))
        pen.rectangle((left, top, left + 17, top + len(bar) - 1), outline=INK)
        for y, words in ((top - 5, f"{scale.full:+.1f}"), (top + len(bar) - 14, f"{scale.seen:+.1f}")):
            pen.text((left + 24, y), words, INK, font(12))
        pen.text((left + 24, top + 10), "full", INK, font(11))
        pen.text((left + 24, top + len(bar)), "seen", INK, font(11))
    return np.asarray(canvas)


def write_strip(path: Path, picture: np.ndarray) -> None:
    """A picture ``[H, W, 3]`` as PNG."""
    Image.fromarray(picture).save(path, format="PNG")


def write_animation(path: Path, pictures: Sequence[np.ndarray], milliseconds: int = MILLISECONDS) -> None:
    """One picture after the other as a GIF that repeats."""
    # One palette for all, without dithering: what stands still is stored once.
    palette = Image.fromarray(np.concatenate(pictures[:: max(1, len(pictures) // 4)])).quantize(192)
    first, *rest = (
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures
    )
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)
