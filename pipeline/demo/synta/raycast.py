"""A small ray caster: some bodies in front of one static plane, a camera and a light that do not move.

Each body is cast in the square that it can cover, 2 × 2 rays a pixel; layers are joined by a z-buffer, the farthest
first, so that a transparent body shows what is behind it. Shadows fall on the plane alone. What has not moved since the
last frame is not cast again. See `pipeline.demo.synta.shapes` for why pictures do not depend on the processor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.demo.synta.shapes import BOUND, Vector, hit

HALF = 0.36  # tangent of half the angle of view
SOLID = 0.25  # share of a pixel from which on it belongs to a body
_SHADOW, _AMBIENT, _GLOSS = 0.45, 0.35, 60.0
_WALL, _FAR = 20.0, 200.0


def unit(vector: Any) -> tuple[float, float, float]:
    x, y, z = (float(part) for part in vector)
    length = (x * x + y * y + z * z) ** 0.5
    return x / length, y / length, z / length


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: Vector, b: Vector) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


class Camera:
    """A pinhole at `eye` that looks at `at`; z is up. Pixels are counted from the upper left corner."""

    def __init__(self, eye: Vector, at: Vector, size: int):
        self.eye, self.size = tuple(map(float, eye)), size
        forward = unit([at[k] - eye[k] for k in range(3)])
        right = unit(_cross(forward, (0.0, 0.0, 1.0)))
        self.axes = right, _cross(right, forward), forward

    def project(self, point: Vector) -> tuple[float, float, float]:
        """x, y in pixels and depth of a point; only a positive depth is in front of the camera."""
        away = [point[k] - self.eye[k] for k in range(3)]
        x, y, depth = (_dot(away, axis) for axis in self.axes)
        half = self.size / 2
        safe = depth if abs(depth) > 1e-9 else 1e-9
        return half + x / safe / HALF * half, half - y / safe / HALF * half, depth

    def radius(self, scale: float, depth: float) -> float:
        """Pixels that a length covers at a depth."""
        return scale / depth / HALF * self.size / 2

    def directions(self, xs: np.ndarray, ys: np.ndarray) -> Vector:
        """World directions ``[len(ys), len(xs)]`` of the rays through pixels; t along them is the depth."""
        half = self.size / 2
        a, b = ((xs - half) / half * HALF)[None, :], ((half - ys) / half * HALF)[:, None]
        right, up, forward = self.axes
        x, y, z = (a * right[k] + (b * up[k] + forward[k]) for k in range(3))
        return x, y, z


@dataclass(frozen=True)
class Body:
    """One thing in one frame; position, turn about z (cosine and sine), size and colour ``[3]`` of 0–255."""

    kind: str
    position: tuple[float, float, float]
    scale: float
    turn: tuple[float, float]
    colour: tuple[float, float, float]
    alpha: float
    id: int

    @property
    def place(self) -> tuple:
        """All that decides where it is seen."""
        return self.kind, self.position, self.scale, self.turn


def _into(turn: tuple[float, float], v: Vector, scale: float) -> Vector:
    """World to body."""
    c, s = turn
    return (c * v[0] + s * v[1]) / scale, (c * v[1] - s * v[0]) / scale, v[2] / scale


@dataclass
class _Layer:
    """What the rays of one body found: rows, columns of the frame, and arrays of that part; area of all of it."""

    rows: slice
    columns: slice
    cover: np.ndarray
    matte: np.ndarray
    gloss: np.ndarray
    depth: np.ndarray
    area: int
    box: tuple[float, float, float, float]


def _over_four(values: np.ndarray) -> np.ndarray:
    """Sum of each 2 × 2 rays, in one fixed order."""
    return (values[0::2, 0::2] + values[0::2, 1::2]) + (values[1::2, 0::2] + values[1::2, 1::2])


@dataclass
class Stage:
    """A plane with its picture, seen by a camera under one light.

    Attributes:
        picture: float ``[H, W, 3]``, the plane as the camera sees it.
        points: of the plane, three arrays ``[H, W]``.
        light: unit vector towards the light.
    """

    camera: Camera
    picture: np.ndarray
    points: Vector
    light: tuple[float, float, float]
    _layers: dict[tuple, _Layer | None] = field(default_factory=dict)
    _shades: dict[tuple, tuple | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.picture = self.picture.astype(np.float32)
        self._along = _dot(self.points, self.light)
        self._squares = _dot(self.points, self.points)

    def _shade(self, body: Body) -> tuple | None:
        """Rows, columns and mask of the plane's pixels in a body's shadow."""
        c, reach = body.position, BOUND * body.scale
        along = self._along - _dot(c, self.light)  # of the plane's points from the body, towards the light
        apart = self._squares - 2.0 * _dot(self.points, c) + _dot(c, c) - along * along
        inside = (apart < reach * reach) & (along < 0)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not len(rows):
            return None
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        o = _into(body.turn, tuple(self.points[k][part] - c[k] for k in range(3)), body.scale)
        t, _ = hit(body.kind, o, _into(body.turn, self.light, body.scale))
        return *part, np.isfinite(np.broadcast_to(t, inside[part].shape)) & inside[part]

    def _cast(self, body: Body) -> _Layer | None:
        """Rays of the square that a body can cover, also of the part of it outside of the frame."""
        camera, size = self.camera, self.camera.size
        x, y, depth = camera.project(body.position)
        if depth < 0.5:
            return None
        reach = camera.radius(BOUND * body.scale, depth) + 1
        left, right, top, bottom = int(x - reach), int(x + reach) + 2, int(y - reach), int(y + reach) + 2
        if right <= 0 or bottom <= 0 or left >= size or top >= size or right - left > 4 * size:
            return None
        xs = (np.arange((right - left) * 2) + 0.5) / 2 + left
        ys = (np.arange((bottom - top) * 2) + 0.5) / 2 + top
        world = camera.directions(xs, ys)
        d = _into(body.turn, world, body.scale)
        o = _into(body.turn, tuple(camera.eye[k] - body.position[k] for k in range(3)), body.scale)
        t, n = hit(body.kind, o, d)
        found = np.isfinite(t)
        if not found.any():
            return None
        light = _into(body.turn, self.light, 1.0)
        n = tuple(np.broadcast_to(part, t.shape) for part in n)
        length = np.sqrt(_dot(n, n))
        lit = np.maximum(_dot(n, light), 0.0) / np.where(length > 0, length, 1.0)
        # Blinn's half vector, between the light and the eye.
        far = np.sqrt(_dot(d, d))
        h = tuple(light[k] - d[k] / far for k in range(3))
        shine = np.maximum(_dot(n, h), 0.0) / np.where(length > 0, length, 1.0) / np.sqrt(_dot(h, h) + 1e-12)
        for _ in range(4):
            shine = shine * shine
        number = _over_four(found.astype(np.float64))
        share = np.where(number > 0, number, 1.0)
        matte = _over_four(np.where(found, _AMBIENT + (1 - _AMBIENT) * lit, 0.0)) / share
        gloss = _over_four(np.where(found, _GLOSS * shine, 0.0)) / share
        nearest = np.minimum(np.minimum(t[0::2, 0::2], t[0::2, 1::2]), np.minimum(t[1::2, 0::2], t[1::2, 1::2]))
        solid = number / 4 > SOLID
        rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
        box = (
            (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
            if len(rows)
            else (0, 0, 0, 0)
        )
        part = (
            slice(max(0, -top), min(bottom, size) - top),
            slice(max(0, -left), min(right, size) - left),
        )
        return _Layer(
            slice(max(0, top), min(bottom, size)),
            slice(max(0, left), min(right, size)),
            *(values[part] for values in (number / 4, matte, gloss, nearest)),
            area=int(solid.sum()),
            box=tuple(map(float, box)),
        )

    def _kept(self, found: dict, body: Body, make: Any) -> Any:
        """What was found for a body's place; clips have few places at which something stays."""
        if body.place not in found:
            if len(found) > 64:
                found.clear()
            found[body.place] = make(body)
        return found[body.place]

    def frame(self, bodies: list[Body]) -> tuple[np.ndarray, np.ndarray, dict[int, tuple[float, tuple]]]:
        """One picture.

        Returns:
            frame uint8 ``[H, W, 3]``; ids uint8 ``[H, W]``, 0 for the plane and one more than a body's id; and by id
            the part of a body's outline that is seen, with its box x0, y0, x1, y1 in pixels.
        """
        size = self.camera.size
        shown = [body for body in bodies if body.alpha > 0 and body.scale > 0]
        image = self.picture.copy()
        self._darken(image, shown)
        ids = np.zeros((size, size), np.uint8)
        depth = np.full((size, size), np.inf)
        layers = [(body, layer) for body in shown if (layer := self._kept(self._layers, body, self._cast)) is not None]
        order = sorted(layers, key=lambda item: -self.camera.project(item[0].position)[2])
        for body, layer in order:
            part = layer.rows, layer.columns
            seen = (layer.depth < depth[part]) & (layer.cover > 0)
            weight = np.where(seen, layer.cover * body.alpha, 0.0)
            for channel in range(3):
                colour = np.minimum(body.colour[channel] * layer.matte + layer.gloss, 255.0)
                old = image[*part, channel]
                image[*part, channel] = old * (1.0 - weight) + colour * weight
            if body.alpha > 0.5:
                solid = seen & (layer.cover > 0.5)
                depth[part] = np.where(solid, layer.depth, depth[part])
            ids[part] = np.where(weight > SOLID, body.id + 1, ids[part])
        counts = np.bincount(ids.ravel(), minlength=256)
        truth = {}
        for body, layer in order:
            truth[body.id] = (min(1.0, float(counts[body.id + 1]) / max(1, layer.area)), layer.box)
        return (np.clip(image, 0.0, 255.0) + np.float32(0.5)).astype(np.uint8), ids, truth

    def _darken(self, image: np.ndarray, bodies: list[Body]) -> None:
        """Shadows, softened over 3 × 3 pixels."""
        size = self.camera.size
        found = [(body, part) for body in bodies if (part := self._kept(self._shades, body, self._shade)) is not None]
        if not found:
            return
        top = max(0, min(rows.start for _, (rows, _, _) in found) - 1)
        bottom = min(size, max(rows.stop for _, (rows, _, _) in found) + 1)
        left = max(0, min(columns.start for _, (_, columns, _) in found) - 1)
        right = min(size, max(columns.stop for _, (_, columns, _) in found) + 1)
        shade = np.zeros((bottom - top + 2, right - left + 2))
        for body, (rows, columns, mask) in found:
            part = (
                slice(rows.start - top + 1, rows.stop - top + 1),
                slice(columns.start - left + 1, columns.stop - left + 1),
            )
            shade[part] = np.maximum(shade[part], mask * (_SHADOW * body.alpha))
        shade[0], shade[-1] = shade[1], shade[-2]
        shade[:, 0], shade[:, -1] = shade[:, 1], shade[:, -2]
        soft = (shade[:-2] + 2.0 * shade[1:-1] + shade[2:]) / 4.0
        soft = (soft[:, :-2] + 2.0 * soft[:, 1:-1] + soft[:, 2:]) / 4.0
        image[top:bottom, left:right] *= (1.0 - soft)[..., None].astype(np.float32)


def plane_points(camera: Camera, view: str) -> Vector:
    """Points of the plane behind all bodies that the pixels show: a wall in front of the camera, or the ground."""
    middle = np.arange(camera.size) + 0.5
    d = camera.directions(middle, middle)
    axis, place = (1, _WALL) if view == "front" else (2, 0.0)
    slope = np.where(np.abs(d[axis]) < 1e-6, -1e-6, d[axis])
    t = (place - camera.eye[axis]) / slope
    t = np.minimum(np.where(t > 0, t, _FAR), _FAR)
    return tuple(camera.eye[k] + t * d[k] for k in range(3))
