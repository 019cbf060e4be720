"""Where the places of a prompt grid lie, and how maps on different grids become each other.

A grid is named by the positions of its centres along one axis, as fractions of the side of the picture: 0 is the left
or upper border. Feature maps, prompt grids and pictures then differ in their positions only, and one matrix per axis
takes a map from one to another.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

# The radius of the paper is in pixels of a picture of this side (SALF-CBM, section 4.1).
REFERENCE_SIZE = 224

Placement = Literal["stride", "inset", "cells"]


def positions(count: int, placement: Placement, radius: int = 0) -> np.ndarray:
    """Centres of a prompt grid along one axis, as fractions of the side.

    ``stride`` is the text of SALF-CBM, section 3.2: i · ⌊224 / (count − 1)⌋, from border to border, so that outer
    circles are cut by the border. ``inset`` keeps all circles inside: evenly spaced from the radius to the side minus
    the radius. ``cells`` are the middles of equal parts, where a vision transformer with as many patches looks.
    (Algorithm 1 loops from r to H̃ − r, which mixes pixels with grid places: it gives 5 places for a grid of 7.)

    Args:
        count: places along the axis.
        radius: of the circles, in pixels of a picture of 224; for ``inset``.

    Returns:
        float64 ``[count]`` in [0, 1], increasing.

    Raises:
        ValueError: the count is not positive, or circles of this radius do not fit into the picture.
    """
    if count < 1:
        raise ValueError(f"a grid needs at least one position, got {count}")
    if placement == "cells" or count == 1:
        return (np.arange(count) + 0.5) / count
    if placement == "stride":
        return np.minimum(np.arange(count) * (REFERENCE_SIZE // (count - 1)), REFERENCE_SIZE - 1) / REFERENCE_SIZE
    if not 0 <= radius < REFERENCE_SIZE / 2:
        raise ValueError(f"a circle of radius {radius} does not fit into {REFERENCE_SIZE} pixels; use a smaller one")
    return np.linspace(radius, REFERENCE_SIZE - radius, count) / REFERENCE_SIZE


def cell_positions(count: int) -> np.ndarray:
    """Middles of the pixels or tokens along one axis, as fractions of the side: float64 ``[count]``."""
    return (np.arange(count) + 0.5) / count


def interpolation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Linear interpolation along one axis, constant beyond the outermost positions.

    Args:
        source: increasing positions of the known values, ``[s]``; target: wanted positions, ``[t]``.

    Returns:
        float64 ``[t, s]``; each row sums to 1.
    """
    return np.stack([np.interp(target, source, unit) for unit in np.eye(len(source))], axis=1)


def smooth_interpolation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Quadratic splines along one axis, constant beyond the outermost positions; linear for fewer than three places.

    Linear interpolation has its maximum at a place; a thing between two places is then always seen beside itself.

    Args:
        source: increasing positions of the known values, ``[s]``; target: wanted positions, ``[t]``.

    Returns:
        float64 ``[t, s]``; each row sums to 1.
    """
    from scipy.interpolate import make_interp_spline

    if len(source) < 3:
        return interpolation(source, target)
    return make_interp_spline(source, np.eye(len(source)), k=2)(np.clip(target, source[0], source[-1]))


def resample(maps: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear interpolation of maps ``[..., h, w]`` by the matrices ``[H, h]`` and ``[W, w]``: ``[..., H, W]``."""
    return rows @ maps @ columns.T
