"""Regions of a picture and concept maps: heatmaps, Explain Anything, local interventions (SALF-CBM 3.5 and 3.6).

A model sees the middle square of a picture; `View` takes pixels of the picture to places of the maps and back. Both
ways are products with one matrix per axis, so the sum over a region of any shape is exact, without an enlarged map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.encoding.grid import (
    REFERENCE_SIZE,
    cell_positions,
    interpolation,
    positions,
    resample,
    smooth_interpolation,
)

Interpolation = Callable[[np.ndarray, np.ndarray], np.ndarray]


class RegionError(ValueError):
    """A region that cannot be asked about; says what would be right."""


@dataclass(frozen=True)
class View:
    """The part of a picture that the model sees, and where the places of its maps are in it.

    Attributes:
        height, width: of the picture in pixels.
        rows, columns: positions of the places, as fractions of the side of the middle square.
    """

    height: int
    width: int
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, height: int, width: int, places: Mapping[str, Any]) -> View:
        """The view of a model whose maps have these ``grid``, ``placement`` and ``radius``."""
        axes = (positions(count, places["placement"], places["radius"]) for count in places["grid"])
        return cls(height, width, *axes)

    @property
    def square(self) -> tuple[int, int, int]:
        """Upper border, left border and side of the middle square, in pixels."""
        side = min(self.height, self.width)
        return (self.height - side) // 2, (self.width - side) // 2, side

    def _axes(self, interpolate: Interpolation = interpolation) -> tuple[np.ndarray, np.ndarray]:
        """Interpolation from the places to the pixels of the square: ``[side, rows]`` and ``[side, columns]``."""
        pixels = cell_positions(self.square[2])
        return interpolate(self.rows, pixels), interpolate(self.columns, pixels)

    def enlarged(self, concept_map: np.ndarray) -> np.ndarray:
        """A map ``[..., rows, columns]``, bilinear between its places: ``[..., side, side]`` (SALF-CBM 3.5)."""
        return resample(concept_map, *self._axes())

    def heatmap(self, concept_map: np.ndarray) -> np.ndarray:
        """The same to be looked at: smooth, so that it may be warmest between two places."""
        heat = resample(concept_map, *self._axes(smooth_interpolation))
        # Beside a peak a spline swings below what it goes through; nothing is colder than the coldest place.
        return np.maximum(heat, concept_map.min((-2, -1), keepdims=True))

    def weights(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How much a region takes from each place.

        Args:
            mask: bool ``[height, width]``.

        Returns:
            ``[rows, columns]``: the sum over the region of an enlarged map is the sum of the map times these; and the
            same of the whole square.

        Raises:
            RegionError: the mask has another size, or the model sees nothing of the region.
        """
        if mask.shape != (self.height, self.width):
            raise RegionError(
                f"the mask is {mask.shape[1]} × {mask.shape[0]} pixels, the picture {self.width} × {self.height}; "
                f"they must be equal"
            )
        top, left, side = self.square
        seen = mask[top : top + side, left : left + side]
        if not mask.any():
            raise RegionError("the region is empty; mark at least one pixel (anything but black in a mask file)")
        if not seen.any():
            raise RegionError(
                f"the region lies outside of what the model sees: x from {left} to {left + side}, "
                f"y from {top} to {top + side}"
            )
        rows, columns = self._axes()
        return rows.T @ seen @ columns, np.outer(rows.sum(0), columns.sum(0))


def box_mask(height: int, width: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """bool ``[height, width]`` of a box x0, y0, x1, y1 in pixels; x1 and y1 are the first pixels outside.

    Raises:
        RegionError: the box is empty or leaves the picture.
    """
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise RegionError(
            f"the box {x0:g} {y0:g} {x1:g} {y1:g} does not lie in the picture; give X0 Y0 X1 Y1 with "
            f"0 ≤ X0 < X1 ≤ {width} and 0 ≤ Y0 < Y1 ≤ {height}"
        )
    mask = np.zeros((height, width), bool)
    mask[int(np.floor(y0)) : int(np.ceil(y1)), int(np.floor(x0)) : int(np.ceil(x1))] = True
    return mask


def point_mask(height: int, width: int, point: tuple[float, float], radius: int) -> np.ndarray:
    """A point stands for what a prompt's circle around it would enclose: bool ``[height, width]``.

    Args:
        point: x, y in pixels; radius: of the prompts, in pixels of a picture of 224.

    Raises:
        RegionError: the point is outside of the picture.
    """
    x, y = point
    if not (0 <= x < width and 0 <= y < height):
        raise RegionError(
            f"the point {x:g} {y:g} does not lie in the picture; give X Y with 0 ≤ X < {width} and 0 ≤ Y < {height}"
        )
    rows, columns = np.ogrid[:height, :width]
    disc = radius * min(height, width) / REFERENCE_SIZE
    mask = (rows - y) ** 2 + (columns - x) ** 2 <= disc**2
    mask[int(y), int(x)] = True
    return mask


def read_mask(path: Path) -> np.ndarray:
    """A mask file, bool ``[height, width]``: every pixel that is not black and not transparent.

    Raises:
        RegionError: the file is no picture.
    """
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture.convert("RGBA"))
    except FileNotFoundError:
        raise RegionError(f"{path} does not exist; --mask names a picture") from None
    except Exception as error:  # PIL raises types of many decoders for broken bytes
        raise RegionError(f"{path} does not decode as a picture ({error})") from None
    return (values[..., :3] > 0).any(-1) & (values[..., 3] > 0)


def region_activations(maps: np.ndarray, view: View, mask: np.ndarray, reduce: str = "sum") -> np.ndarray:
    """Explain Anything: a(m | I) = Σ I ⊙ c[m] over the enlarged map (SALF-CBM 3.6), mean over the slices of a clip.

    Args:
        maps: concept maps ``[S, rows, columns, M]``; mask: bool ``[height, width]``.
        reduce: ``sum`` (paper) grows with the region; ``mean`` is per pixel, so that regions can be compared.

    Returns:
        float64 ``[M]``.
    """
    weights, _ = view.weights(mask)
    result = np.einsum("hw,shwm->m", weights, maps.astype(np.float64)) / len(maps)
    return result / weights.sum() if reduce == "mean" else result


def edited(maps: np.ndarray, view: View, mask: np.ndarray, concept: int, beta: float) -> np.ndarray:
    """Local intervention: c[m] ← c[m] + β · I (SALF-CBM 3.6), on the places; a copy, the given maps stay.

    A place that the region takes half of gets half of β.

    Args:
        maps: ``[S, rows, columns, M]``; mask: bool ``[height, width]``; concept: m.
        beta: in standard deviations of a map within a place, the unit of the maps.
    """
    weights, whole = view.weights(mask)
    result = maps.copy()
    result[..., concept] += (beta * weights / whole).astype(maps.dtype)
    return result
