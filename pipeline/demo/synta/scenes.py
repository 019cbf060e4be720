"""Twenty procedural scenes, painted on the plane behind the bodies, and plain grey ones.

They have the names of the release's pictures, which a diffusion model drew and nobody may ship: each is a palette,
noise in four octaves and some structure that its name suggests. Per pixel they use + − × ÷ and floor alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_LATTICE = 64
Colour = tuple[int, int, int]
Structure = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def smooth(x: np.ndarray) -> np.ndarray:
    """3 x² − 2 x³ for x in [0, 1]."""
    return x * x * (3.0 - 2.0 * x)


def _wave(x: np.ndarray) -> np.ndarray:
    """A smooth wave of period 1 between 0 and 1."""
    return smooth(np.abs(2.0 * (x - np.floor(x)) - 1.0))


def _cell(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return u - np.floor(u), v - np.floor(v)


def _noise(u: np.ndarray, v: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Value noise in [−1, 1], of period `_LATTICE`."""
    i, j = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    a, b = smooth(u - i), smooth(v - j)
    i0, i1, j0, j1 = i % _LATTICE, (i + 1) % _LATTICE, j % _LATTICE, (j + 1) % _LATTICE
    low = (1.0 - b) * lattice[i0, j0] + b * lattice[i0, j1]
    high = (1.0 - b) * lattice[i1, j0] + b * lattice[i1, j1]
    return (1.0 - a) * low + a * high


def _bricks(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    a, b = _cell(u * 0.5 + 0.5 * (np.floor(v) % 2), v)
    return np.where((a < 0.06) | (b < 0.12), 0.05, 0.6 + 0.3 * n)


def _stripes(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    return 0.75 * _wave(0.45 * u + 0.15 * n) + 0.25 * n


def _rain(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    return 0.55 * n + np.where(_wave(1.7 * u + 0.35 * v) > 0.85, 0.45, 0.05)


def _dunes(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    return 0.3 + 0.6 * _wave(0.22 * v + 0.6 * n)


def _clouds(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    return smooth(np.clip(2.0 * n - 0.5, 0.0, 1.0))


def _waves(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    return 0.7 * _wave(0.9 * v + 0.9 * n) + 0.3 * n


def _stars(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    a, b = _cell(1.3 * u + 2.0 * n, 1.3 * v - 2.0 * n)
    return np.where((a - 0.5) * (a - 0.5) + (b - 0.5) * (b - 0.5) < 0.03, 1.0, 0.35 * n)


def _trunks(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.where(_wave(0.35 * u + 0.25 * n) > 0.7, 0.1, 0.35 + 0.6 * n)


def _tiles(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    return 0.25 * n + 0.65 * ((np.floor(0.6 * u) + np.floor(0.6 * v)) % 2)


def _windows(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    a, b = _cell(0.4 * u, 0.3 * v)
    return np.where((a > 0.2) & (a < 0.8) & (b > 0.2) & (b < 0.85), 0.6 + 0.4 * n, 0.2 * n)


def _flames(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.clip(0.9 - _wave(0.08 * v) + 0.9 * (n - 0.4), 0.0, 1.0)


def _bubbles(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    a, b = _cell(0.17 * u + 0.5 * n, 0.17 * v + 0.5 * n)
    far = (a - 0.5) * (a - 0.5) + (b - 0.5) * (b - 0.5)
    return np.where((far < 0.04) & (far > 0.025), 0.9, 0.6 * n)


def _shelves(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    _, b = _cell(u, 0.4 * v)
    return np.where(b < 0.12, 0.0, 0.2 + 0.5 * (np.floor(2.2 * u) * 0.37 % 1.0) + 0.3 * n)


def _lanes(u: np.ndarray, v: np.ndarray, n: np.ndarray) -> np.ndarray:
    a, _ = _cell(0.25 * u, v)
    return np.where(a < 0.12, 0.05, 0.5 + 0.3 * n + 0.15 * (np.floor(1.5 * u) % 2))


class Scene(NamedTuple):
    """Darkest, middle and lightest colour; noise cells per unit of length; and what the noise is turned into."""

    name: str
    palette: tuple[Colour, Colour, Colour]
    cells: float
    structure: Structure


SCENES: tuple[Scene, ...] = (
    Scene("castle", ((20, 24, 44), (84, 78, 92), (158, 150, 150)), 0.30, _bricks),
    Scene("city_sunset", ((38, 22, 60), (206, 92, 70), (252, 200, 120)), 0.22, _windows),
    Scene("rainy_farm", ((38, 62, 34), (96, 118, 72), (170, 182, 176)), 0.35, _rain),
    Scene("desert", ((140, 88, 46), (208, 156, 92), (246, 216, 160)), 0.18, _dunes),
    Scene("sky_clouds", ((56, 120, 204), (140, 186, 232), (250, 250, 252)), 0.16, _clouds),
    Scene("ocean", ((10, 52, 92), (34, 112, 150), (176, 220, 224)), 0.24, _waves),
    Scene("galaxy", ((8, 6, 24), (74, 40, 110), (244, 232, 214)), 0.20, _stars),
    Scene("forest", ((18, 36, 20), (58, 98, 44), (160, 178, 92)), 0.40, _trunks),
    Scene("storm", ((16, 18, 30), (62, 68, 90), (178, 184, 206)), 0.22, _clouds),
    Scene("inside_white_house", ((120, 92, 60), (214, 200, 170), (250, 246, 234)), 0.26, _tiles),
    Scene("office", ((58, 66, 78), (150, 164, 178), (232, 238, 242)), 0.24, _windows),
    Scene("kitchen", ((92, 56, 40), (196, 160, 128), (240, 232, 220)), 0.30, _tiles),
    Scene("fire", ((24, 8, 6), (214, 72, 16), (254, 226, 96)), 0.34, _flames),
    Scene("underwater", ((4, 44, 76), (16, 120, 140), (150, 230, 214)), 0.28, _bubbles),
    Scene("hotel", ((70, 28, 34), (170, 116, 84), (242, 214, 168)), 0.26, _stripes),
    Scene("library", ((44, 24, 14), (130, 78, 44), (220, 190, 140)), 0.40, _shelves),
    Scene("bowling", ((56, 32, 22), (190, 138, 82), (244, 214, 164)), 0.24, _lanes),
    Scene("gym", ((30, 32, 38), (112, 84, 66), (206, 210, 214)), 0.30, _stripes),
    Scene("hospital", ((120, 156, 160), (196, 220, 218), (248, 252, 250)), 0.20, _tiles),
    Scene("warehouse", ((48, 50, 54), (126, 104, 76), (196, 190, 176)), 0.32, _bricks),
)


def scene_of(scene_set: int, identity: int) -> int:
    """Index of the scene of an identity: ten for each set."""
    return (scene_set - 1) * 10 + identity % 10


def paint(index: int, u: np.ndarray, v: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """A scene on the plane: float ``[H, W, 3]`` of 0–255.

    Args:
        u, v: coordinates of the plane that the pixels show.
        shift: of the scene on the plane; differs from clip to clip.
    """
    scene = SCENES[index]
    lattice = np.random.Generator(np.random.PCG64(1000 + index)).uniform(-1, 1, (4, _LATTICE, _LATTICE))
    u, v = u + shift[0], v + shift[1]
    noise, size, cells = np.zeros_like(u), 1.0, scene.cells
    for octave in lattice:
        noise = noise + size * _noise(u * cells, v * cells, octave)
        size, cells = size / 2, cells * 2
    shade = 2.0 * np.clip(scene.structure(u, v, np.clip(0.5 + 0.6 * noise, 0.0, 1.0)), 0.0, 1.0)
    low, part = np.minimum(shade.astype(np.int64), 1), None
    part = (shade - low)[..., None]
    palette = np.array(scene.palette, np.float64)
    return palette[low] * (1.0 - part) + palette[low + 1] * part
