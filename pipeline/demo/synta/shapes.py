"""Where rays meet the eight bodies of Syn-TA, in closed form but for the torus.

A body lies about the origin of its own space and inside the ball of radius `BOUND`. A ray is ``o + t d``; each of its
six components is a number or an array, so that rays of one eye and rays of one light cost what they must and no more.
Only + − × ÷ √ and comparisons are used, which IEEE 754 rounds alike on every processor: pictures have the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

BOUND = 1.35
FAR = np.inf
Vector = tuple[Any, Any, Any]
# Distance t of every ray, inf where it misses; and the outward normal, not of unit length.
Hit = tuple[np.ndarray, Vector]

_ROOT3_HALF = 0.8660254037844386
# Half-spaces n·x <= h.
_PLANES: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "cube": tuple(
        (sign * (axis == 0), sign * (axis == 1), sign * (axis == 2), 0.75) for axis in range(3) for sign in (1.0, -1.0)
    ),
    # A square of side 1.5 at z = −0.8 and the apex (0, 0, 1).
    "pyramid": (*((2.4 * x, 2.4 * y, 1.0, 1.0) for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))), (0.0, 0.0, -1.0, 0.8)),
    # A tent: an equilateral triangle, one corner up, between y = ±0.8.
    "prism": (
        *((_ROOT3_HALF, 0.0, 0.5, 0.5), (-_ROOT3_HALF, 0.0, 0.5, 0.5), (0.0, 0.0, -1.0, 0.5)),
        *((0.0, 1.0, 0.0, 0.8), (0.0, -1.0, 0.0, 0.8)),
    ),
}
_TORUS = 0.68, 0.3
_TORUS_STEPS = 28
# How far below its centre a body touches the ground.
REST = {
    "cube": 0.75,
    "pyramid": 0.8,
    "prism": 0.5,
    "cone": 0.8,
    "sphere": 1.0,
    "cylinder": 0.8,
    "torus": 0.98,
    "capsule": 1.05,
}


def _halfspaces(kind: str, o: Vector, d: Vector) -> Hit:
    """The last plane that a ray enters through, if it leaves through none before."""
    enter, leave = np.float64(-FAR), np.float64(FAR)
    normal: list[Any] = [0.0, 0.0, 0.0]
    missed: Any = False
    for *n, offset in _PLANES[kind]:
        slope = n[0] * d[0] + n[1] * d[1] + n[2] * d[2]
        height = offset - (n[0] * o[0] + n[1] * o[1] + n[2] * o[2])
        t = height / np.where(slope == 0, 1.0, slope)
        inward, outward = slope < 0, slope > 0
        later = inward & (t > enter)
        enter = np.where(later, t, enter)
        normal = [np.where(later, part, old) for part, old in zip(n, normal, strict=True)]
        leave = np.where(outward & (t < leave), t, leave)
        missed = missed | ((slope == 0) & (height < 0))
    return np.where((enter < leave) & (enter > 0) & ~missed, enter, FAR), (normal[0], normal[1], normal[2])


def _roots(a: Any, b: Any, c: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both solutions of a t² + 2 b t + c = 0, inf where there is none."""
    inside = b * b - a * c
    there = (inside >= 0) & (a != 0)
    root = np.sqrt(np.where(there, inside, 0.0))
    safe = np.where(a == 0, 1.0, a)
    return np.where(there, (-b - root) / safe, FAR), np.where(there, (-b + root) / safe, FAR)


def _at(o: Vector, d: Vector, t: np.ndarray) -> Vector:
    """Points of rays that hit; of the others some point."""
    near = np.where(np.isfinite(t), t, 0.0)
    return o[0] + near * d[0], o[1] + near * d[1], o[2] + near * d[2]


def _sphere(o: Vector, d: Vector, radius: float = 1.0, z: float = 0.0) -> Hit:
    oz = o[2] - z
    t, _ = _roots(
        d[0] * d[0] + d[1] * d[1] + d[2] * d[2],
        o[0] * d[0] + o[1] * d[1] + oz * d[2],
        o[0] * o[0] + o[1] * o[1] + oz * oz - radius * radius,
    )
    t = np.where(t > 0, t, FAR)
    x, y, height = _at(o, d, t)
    return t, (x, y, height - z)


def _tube(o: Vector, d: Vector, radius: float, half: float) -> Hit:
    """A cylinder's side, without its ends."""
    t, _ = _roots(d[0] * d[0] + d[1] * d[1], o[0] * d[0] + o[1] * d[1], o[0] * o[0] + o[1] * o[1] - radius * radius)
    x, y, z = _at(o, d, t)
    t = np.where((t > 0) & (z <= half) & (z >= -half), t, FAR)
    return t, (x, y, np.zeros_like(t))


def _nearer(first: Hit, second: Hit) -> Hit:
    closer = second[0] < first[0]
    normal = [np.where(closer, new, old) for new, old in zip(second[1], first[1], strict=True)]
    return np.where(closer, second[0], first[0]), (normal[0], normal[1], normal[2])


def _disc(o: Vector, d: Vector, radius: float, z: float, up: float) -> Hit:
    t = (z - o[2]) / np.where(d[2] == 0, 1.0, d[2])
    x, y, _ = _at(o, d, t)
    t = np.where((t > 0) & (x * x + y * y <= radius * radius) & (d[2] != 0), t, FAR)
    return t, (0.0, 0.0, up)


def _cylinder(o: Vector, d: Vector) -> Hit:
    side = _tube(o, d, 0.75, 0.8)
    return _nearer(_nearer(side, _disc(o, d, 0.75, 0.8, 1.0)), _disc(o, d, 0.75, -0.8, -1.0))


def _capsule(o: Vector, d: Vector) -> Hit:
    return _nearer(_nearer(_tube(o, d, 0.55, 0.5), _sphere(o, d, 0.55, 0.5)), _sphere(o, d, 0.55, -0.5))


def _cone(o: Vector, d: Vector) -> Hit:
    """Apex (0, 0, 1), base of radius 0.9 at z = −0.8."""
    k = 0.25  # (radius / height)²
    oz = o[2] - 1.0
    roots = _roots(
        d[0] * d[0] + d[1] * d[1] - k * d[2] * d[2],
        o[0] * d[0] + o[1] * d[1] - k * oz * d[2],
        o[0] * o[0] + o[1] * o[1] - k * oz * oz,
    )
    t = FAR
    for root in roots:
        height = o[2] + np.where(np.isfinite(root), root, 0.0) * d[2]
        t = np.where((root > 0) & (height <= 1.0) & (height >= -0.8) & (root < t), root, t)
    x, y, z = _at(o, d, t)
    return _nearer((t, (x, y, k * (1.0 - z))), _disc(o, d, 0.9, -0.8, -1.0))


def _torus(o: Vector, d: Vector) -> Hit:
    """Sphere tracing of the rays that meet the ball around it; it stands upright, its axis along y."""
    around, along = _TORUS
    ball, _ = _sphere(o, d, around + along)
    shape = ball.shape
    near = np.isfinite(ball)
    o, d = (tuple(np.broadcast_to(part, shape)[near] for part in vector) for vector in (o, d))
    length = np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    u = d[0] / length, d[1] / length, d[2] / length
    s = ball[near] * length
    x = y = z = ring = gap = s
    for _ in range(_TORUS_STEPS):
        x, y, z = o[0] + s * u[0], o[1] + s * u[1], o[2] + s * u[2]
        ring = np.sqrt(x * x + z * z)
        from_ring = ring - around
        gap = np.sqrt(from_ring * from_ring + y * y) - along
        s = s + gap
    t = np.full(shape, FAR)
    t[near] = np.where(gap < 4e-3, s / length, FAR)
    inward = 1.0 - around / np.where(ring > 1e-9, ring, 1e-9)
    normal = []
    for part in (x * inward, y, z * inward):
        full = np.zeros(shape)
        full[near] = part
        normal.append(full)
    return t, (normal[0], normal[1], normal[2])


_CURVED: dict[str, Callable[[Vector, Vector], Hit]] = {
    "sphere": _sphere,
    "cylinder": _cylinder,
    "cone": _cone,
    "capsule": _capsule,
    "torus": _torus,
}
KINDS = (*_PLANES, *_CURVED)


def hit(kind: str, o: Vector, d: Vector) -> Hit:
    """First meeting of rays with a body: distances t > 0, inf where there is none, and normals.

    Raises:
        KeyError: there is no such body.
    """
    return _halfspaces(kind, o, d) if kind in _PLANES else _CURVED[kind](o, d)
