"""Procedural backgrounds, held objects and passing occluders, drawn with OpenCV.

All colours are RGB. Within a kind, layout and colours are random; every kind of object draws its
colours from the same distribution, so that an object is known by its shape alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.demo.figure import Colour, hsv_colour, scale_colour

_FIXED_POINT_BITS = 4
_Point = tuple[float, float]


class _Canvas:
    """Draws on an image in coordinates where the image is 1 wide and 1 high, y downwards."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        scale = np.array([self.width, self.height]) * (1 << _FIXED_POINT_BITS)
        # OpenCV centres pixels on whole numbers; unit coordinates start at the pixels' edges.
        return np.round(np.asarray(points) * scale - (1 << _FIXED_POINT_BITS) / 2).astype(np.int32)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def polygon(self, points: list[_Point] | np.ndarray, colour: Colour) -> None:
        cv2.fillPoly(self.image, [self._fixed(points)], colour, cv2.LINE_AA, shift=_FIXED_POINT_BITS)

    def line(self, start: _Point, end: _Point, width: float, colour: Colour) -> None:
        """A straight bar; `width` in units of the image's width."""
        along = np.subtract(end, start) * [self.width, self.height]
        across = np.array([-along[1], along[0]]) / max(1e-9, float(np.hypot(*along)))
        half = across * width * self.width / 2 / [self.width, self.height]
        self.polygon([start + half, end + half, end - half, start - half], colour)

    def ellipse(
        self,
        centre: _Point,
        radius_x: float,
        radius_y: float,
        colour: Colour,
        start: float = 0.0,
        end: float = 360.0,
    ) -> None:
        """A filled ellipse, or its sector between two angles in degrees (clockwise from +x)."""
        angle = np.radians(np.linspace(start, end, 25))
        points = np.stack([np.cos(angle) * radius_x, np.sin(angle) * radius_y], -1) + centre
        self.polygon(points, colour)

    def arc(
        self,
        centre: _Point,
        radius: float,
        width: float,
        colour: Colour,
        start: float = 0.0,
        end: float = 360.0,
    ) -> None:
        """A ring segment of the given mean radius and width."""
        angle = np.radians(np.linspace(start, end, 33))
        circle = np.stack([np.cos(angle), np.sin(angle)], -1)
        outer, inner = circle * (radius + width / 2), circle[::-1] * (radius - width / 2)
        self.polygon(np.concatenate([outer, inner]) + centre, colour)

    def gradient(self, y0: float, y1: float, top: Colour, bottom: Colour) -> None:
        """A full-width vertical gradient between two heights."""
        first, last = round(y0 * self.height), min(self.height, round(y1 * self.height))
        weight = np.linspace(0, 1, max(1, last - first))[:, None]
        rows = np.array(top) * (1 - weight) + np.array(bottom) * weight  # [rows, 3]
        self.image[first:last] = np.round(rows)[:, None].astype(np.uint8)


# --- scenes ---------------------------------------------------------------------------------


def _sky(canvas: _Canvas, rng: np.random.Generator, horizon: float) -> None:
    hue = rng.uniform(0.53, 0.62)
    top = hsv_colour(rng, (hue, hue + 0.02), (0.4, 0.7), (0.75, 0.98))
    bottom = hsv_colour(rng, (hue - 0.02, hue), (0.08, 0.3), (0.88, 1.0))
    canvas.gradient(0, horizon, top, bottom)
    for _ in range(int(rng.integers(0, 4))):
        x, y, r = rng.uniform(0, 1), rng.uniform(0.05, 0.26), rng.uniform(0.03, 0.06)
        for dx in (-1.1, 0.0, 1.2):
            canvas.ellipse((x + dx * r, y + 0.2 * r * abs(dx)), 1.2 * r, 0.6 * r, (244, 246, 250))


def _gym(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.54, 0.64)
    wall = hsv_colour(rng, (0.05, 0.65), (0.03, 0.22), (0.72, 0.92))
    canvas.rectangle(0, 0, 1, horizon, wall)
    canvas.rectangle(0, horizon - 0.16, 1, horizon, scale_colour(wall, rng.uniform(0.6, 0.8)))
    wood = hsv_colour(rng, (0.07, 0.1), (0.45, 0.65), (0.55, 0.75))
    first, width = rng.uniform(-0.05, 0.06), rng.uniform(0.2, 0.27)
    for bay in range(4):  # wall bars
        x0 = first + bay * width * 1.12
        if bay == 3 and rng.uniform() < 0.5:
            break
        canvas.rectangle(x0, 0.1, x0 + width, horizon, scale_colour(wall, 0.72))
        for y in np.arange(0.13, horizon - 0.02, 0.045):
            canvas.rectangle(x0, y, x0 + width, y + 0.018, wood)
        for x in (x0, x0 + width - 0.018):
            canvas.rectangle(x, 0.08, x + 0.022, horizon, scale_colour(wood, 0.75))
    floor = hsv_colour(rng, (0.075, 0.105), (0.5, 0.68), (0.68, 0.86))
    canvas.gradient(horizon, 1, scale_colour(floor, 0.88), scale_colour(floor, 1.08))
    vanishing = (rng.uniform(0.3, 0.7), horizon - 0.3)
    for x in np.linspace(-1.2, 2.2, 26):
        start = np.array(vanishing) + (np.array([x, 1.0]) - vanishing) * 0.3 / (1.3 - horizon)
        canvas.line((start[0], horizon), (x, 1.0), 0.006, scale_colour(floor, 0.8))
    stripe = hsv_colour(rng)
    y = rng.uniform(horizon + 0.06, 0.84)
    canvas.rectangle(0, y, 1, y + 0.016, stripe)
    x = rng.uniform(0.0, 1.0)
    canvas.line((x, y), (x + (x - vanishing[0]) * 0.7, 1.02), 0.02, stripe)
    canvas.rectangle(0, horizon - 0.012, 1, horizon + 0.006, scale_colour(wood, 0.6))


def _beach(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon, shore = rng.uniform(0.36, 0.46), rng.uniform(0.58, 0.68)
    _sky(canvas, rng, horizon)
    if rng.uniform() < 0.6:
        canvas.ellipse((rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.2)), 0.05, 0.05, (255, 244, 190))
    sea = hsv_colour(rng, (0.48, 0.58), (0.6, 0.9), (0.5, 0.75))
    canvas.gradient(horizon, shore, scale_colour(sea, 0.85), scale_colour(sea, 1.3))
    for _ in range(14):
        x, y = rng.uniform(0, 1), rng.uniform(horizon + 0.02, shore - 0.02)
        length = 0.03 + 0.25 * (y - horizon)
        canvas.line((x, y), (x + length, y), 0.007, scale_colour(sea, 1.55))
    if rng.uniform() < 0.5:
        x, side = rng.uniform(0.08, 0.92), rng.choice([-1, 1])
        canvas.polygon(
            [(x, horizon - 0.1), (x, horizon - 0.01), (x + side * 0.055, horizon - 0.01)],
            (250, 250, 250),
        )
        canvas.rectangle(x - 0.04, horizon - 0.008, x + 0.05, horizon + 0.012, (120, 60, 40))
    sand = hsv_colour(rng, (0.1, 0.13), (0.3, 0.48), (0.84, 0.97))
    xs = np.linspace(-0.02, 1.02, 14)
    wave = shore + 0.014 * np.sin(xs * rng.uniform(8, 16) + rng.uniform(0, 6))
    edge = np.stack([xs, wave], -1)
    corners = np.array([[1.02, 1.02], [-0.02, 1.02]])
    for lift, colour in ((0.03, (248, 252, 252)), (0.0, scale_colour(sand, 0.8)), (-0.03, sand)):
        canvas.polygon(np.concatenate([edge - [0, lift], corners]), colour)
    for _ in range(40):
        x, y = rng.uniform(0, 1), rng.uniform(shore + 0.06, 1)
        shade = scale_colour(sand, rng.uniform(0.82, 0.94))
        canvas.ellipse((x, y), rng.uniform(0.006, 0.02), 0.005, shade)
    if rng.uniform() < 0.55:
        side = int(rng.integers(2))
        base = 0.06 if side == 0 else 0.94
        lean = 0.08 if side == 0 else -0.08
        crown = (base + lean, rng.uniform(0.16, 0.26))
        canvas.line((base, shore + 0.09), crown, 0.026, (120, 84, 52))
        green = hsv_colour(rng, (0.26, 0.36), (0.55, 0.8), (0.35, 0.55))
        for angle in np.radians([-160, -120, -60, -20, 20, 160]):
            tip = (crown[0] + 0.17 * np.cos(angle), crown[1] + 0.1 * np.sin(angle) + 0.05)
            middle = (crown[0] + 0.09 * np.cos(angle), crown[1] + 0.1 * np.sin(angle) - 0.02)
            canvas.polygon([crown, middle, tip, (middle[0], middle[1] + 0.04)], green)


def _street(canvas: _Canvas, rng: np.random.Generator) -> None:
    kerb = rng.uniform(0.6, 0.66)
    _sky(canvas, rng, kerb)
    x = rng.uniform(-0.15, 0.0)
    while x < 1:
        width, roof = rng.uniform(0.2, 0.34), rng.uniform(0.0, 0.2)
        wall = hsv_colour(rng, (0.0, 1.0), (0.08, 0.5), (0.4, 0.78))
        canvas.rectangle(x, roof, x + width, kerb, wall)
        canvas.rectangle(x, roof, x + width, roof + 0.016, scale_colour(wall, 0.7))
        lit = (250, 226, 150) if rng.uniform() < 0.4 else (70, 90, 115)
        columns, step = int(rng.integers(3, 5)), rng.uniform(0.085, 0.11)
        pitch = width / columns
        for row, y in enumerate(np.arange(roof + 0.045, kerb - 0.06, step)):
            for column in range(columns):
                left = x + (column + 0.22) * pitch
                pane = scale_colour(lit, 0.75) if (row * 7 + column * 3) % 4 == 0 else lit
                bottom = y + step * 0.58
                canvas.rectangle(left, y, left + 0.56 * pitch, bottom, pane)
        x += width
    walk = hsv_colour(rng, (0.05, 0.15), (0.0, 0.1), (0.62, 0.78))
    canvas.rectangle(0, kerb, 1, kerb + 0.07, walk)
    for x in np.arange(rng.uniform(0, 0.1), 1, 0.12):
        canvas.line((x, kerb), (x - 0.02, kerb + 0.07), 0.006, scale_colour(walk, 0.78))
    canvas.rectangle(0, kerb + 0.065, 1, kerb + 0.085, scale_colour(walk, 1.2))
    asphalt = hsv_colour(rng, (0.55, 0.7), (0.0, 0.12), (0.26, 0.38))
    canvas.gradient(kerb + 0.085, 1, scale_colour(asphalt, 0.9), scale_colour(asphalt, 1.1))
    y, paint = rng.uniform(0.82, 0.9), (238, 236, 224)
    for x in np.arange(rng.uniform(-0.2, 0), 1, 0.26):
        corners = [(x + 0.01, y), (x + 0.15, y), (x + 0.14, y + 0.026), (x, y + 0.026)]
        canvas.polygon(corners, paint)
    if rng.uniform() < 0.6:  # a parked car
        x, body = rng.uniform(-0.1, 0.8), hsv_colour(rng)
        y = kerb + 0.06
        roof_line = [(x + 0.06, y - 0.06), (x + 0.1, y - 0.12), (x + 0.22, y - 0.12)]
        canvas.polygon([*roof_line, (x + 0.27, y - 0.06)], (60, 80, 100))
        canvas.rectangle(x, y - 0.065, x + 0.33, y + 0.005, body)
        for wheel in (0.07, 0.26):
            canvas.ellipse((x + wheel, y + 0.005), 0.03, 0.03, (25, 25, 28))
            canvas.ellipse((x + wheel, y + 0.005), 0.013, 0.013, (170, 170, 175))
    if rng.uniform() < 0.7:
        x, side = rng.uniform(0.04, 0.96), rng.choice([-1, 1])
        canvas.line((x, kerb + 0.05), (x, 0.14), 0.016, (50, 54, 58))
        canvas.line((x, 0.145), (x + side * 0.09, 0.145), 0.014, (50, 54, 58))
        canvas.ellipse((x + side * 0.09, 0.155), 0.03, 0.014, (252, 240, 190))


def _park(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.5, 0.6)
    _sky(canvas, rng, horizon)
    green = hsv_colour(rng, (0.23, 0.34), (0.5, 0.75), (0.3, 0.5))
    xs = np.linspace(-0.02, 1.02, 12)
    hedge = np.stack([xs, horizon - 0.07 - 0.04 * rng.uniform(0, 1, 12)], -1)
    base = [[1.02, horizon + 0.02], [-0.02, horizon + 0.02]]
    canvas.polygon(np.concatenate([hedge, base]), scale_colour(green, 0.8))
    grass = hsv_colour(rng, (0.23, 0.32), (0.5, 0.78), (0.5, 0.74))
    canvas.gradient(horizon, 1, scale_colour(grass, 0.85), scale_colour(grass, 1.12))
    near, far = rng.uniform(0.1, 0.9), rng.uniform(0.2, 0.8)
    path = hsv_colour(rng, (0.08, 0.12), (0.15, 0.35), (0.7, 0.85))
    corners = [(far - 0.03, horizon), (far + 0.03, horizon), (near + 0.2, 1.02), (near - 0.2, 1.02)]
    canvas.polygon(corners, path)
    for x in (rng.uniform(-0.02, 0.22), rng.uniform(0.3, 0.65), rng.uniform(0.75, 1.02)):
        ground, crown = horizon + rng.uniform(0.01, 0.08), rng.uniform(0.13, 0.28)
        canvas.line((x, ground), (x, crown), 0.035, (96, 68, 44))
        leaf = hsv_colour(rng, (0.22, 0.36), (0.5, 0.8), (0.32, 0.62))
        size = rng.uniform(0.09, 0.13)
        for _ in range(7):
            dx, dy = rng.uniform(-0.8, 0.8) * size, rng.uniform(-0.7, 0.7) * size
            shade = scale_colour(leaf, rng.uniform(0.8, 1.2))
            canvas.ellipse((x + dx, crown + dy), 0.75 * size, 0.65 * size, shade)
    for _ in range(34):
        x, y = rng.uniform(0, 1), rng.uniform(horizon + 0.04, 1)
        canvas.line((x, y), (x + 0.006, y - 0.025), 0.006, scale_colour(grass, 0.72))
    flower = hsv_colour(rng, (0.8, 1.18), (0.5, 0.9), (0.85, 1.0))
    for _ in range(12):
        canvas.ellipse((rng.uniform(0, 1), rng.uniform(horizon + 0.05, 1)), 0.009, 0.009, flower)


def _kitchen(canvas: _Canvas, rng: np.random.Generator) -> None:
    floor_line, counter = rng.uniform(0.68, 0.74), rng.uniform(0.42, 0.47)
    tile = hsv_colour(rng, (0.0, 1.0), (0.03, 0.25), (0.82, 0.96))
    canvas.rectangle(0, 0, 1, floor_line, tile)
    grout = scale_colour(tile, 0.8)
    for y in np.arange(0.2, counter, 0.055):
        canvas.rectangle(0, y, 1, y + 0.007, grout)
    for x in np.arange(rng.uniform(0, 0.05), 1, 0.07):
        canvas.rectangle(x, 0.2, x + 0.007, counter, grout)
    front = hsv_colour(rng, (0.0, 1.0), (0.15, 0.6), (0.5, 0.85))
    edge, steel = scale_colour(front, 0.65), (186, 190, 194)

    def cupboards(y0: float, y1: float, handle: float) -> None:
        canvas.rectangle(0, y0, 1, y1, front)
        for x in np.arange(start, 1.1, pitch):
            canvas.rectangle(x, y0, x + 0.012, y1, edge)
            canvas.rectangle(x + 0.03, handle, x + 0.075, handle + 0.014, steel)

    start, pitch = rng.uniform(-0.1, 0.0), rng.uniform(0.17, 0.22)
    cupboards(0.0, 0.2, 0.165)
    canvas.rectangle(0, 0.19, 1, 0.205, edge)
    cupboards(counter + 0.035, floor_line, counter + 0.075)
    canvas.rectangle(0, counter, 1, counter + 0.035, hsv_colour(rng, (0, 1), (0, 0.3), (0.25, 0.6)))
    canvas.rectangle(0, floor_line - 0.025, 1, floor_line, (50, 46, 44))
    places = rng.permutation([0.12, 0.5, 0.86])
    x = places[0] + rng.uniform(-0.04, 0.04)  # cooker with pot and hood
    canvas.rectangle(x - 0.11, counter, x + 0.11, floor_line - 0.02, (218, 220, 222))
    canvas.rectangle(x - 0.085, counter + 0.08, x + 0.085, floor_line - 0.06, (45, 45, 50))
    for knob in (-0.07, -0.025, 0.025, 0.07):
        canvas.ellipse((x + knob, counter + 0.04), 0.012, 0.012, (40, 40, 44))
    canvas.rectangle(x - 0.05, counter - 0.075, x + 0.05, counter, hsv_colour(rng))
    canvas.rectangle(x - 0.058, counter - 0.085, x + 0.058, counter - 0.07, (60, 60, 64))
    canvas.polygon([(x - 0.05, 0.08), (x + 0.05, 0.08), (x + 0.12, 0.24), (x - 0.12, 0.24)], (160, 164, 168))
    x = places[1] + rng.uniform(-0.02, 0.02)  # refrigerator
    canvas.rectangle(x - 0.12, 0.08, x + 0.12, floor_line - 0.01, (232, 234, 236))
    canvas.rectangle(x - 0.12, 0.29, x + 0.12, 0.302, (150, 152, 156))
    for y0, y1 in ((0.17, 0.27), (0.32, 0.46)):
        canvas.rectangle(x - 0.1, y0, x - 0.082, y1, (130, 132, 136))
    dark = hsv_colour(rng, (0.0, 1.0), (0.05, 0.4), (0.35, 0.6))
    light = hsv_colour(rng, (0.0, 0.2), (0.02, 0.12), (0.85, 0.96))
    canvas.rectangle(0, floor_line, 1, 1, light)
    rows = floor_line + (1.01 - floor_line) * np.array([0.0, 0.22, 0.54, 1.0])
    for row in range(3):
        y0, y1 = rows[row], rows[row + 1]
        for column in range(-5, 6):
            if (row + column) % 2 == 0:
                near, far = 0.15 + 0.1 * (y1 - floor_line), 0.15 + 0.1 * (y0 - floor_line)
                canvas.polygon(
                    [
                        (0.5 + column * far, y0),
                        (0.5 + (column + 1) * far, y0),
                        (0.5 + (column + 1) * near, y1),
                        (0.5 + column * near, y1),
                    ],
                    dark,
                )


def _snow(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.5, 0.6)
    sky = hsv_colour(rng, (0.56, 0.64), (0.12, 0.35), (0.66, 0.86))
    canvas.gradient(0, horizon, sky, scale_colour(sky, 1.15))
    x, rock = rng.uniform(-0.1, 0.15), hsv_colour(rng, (0.58, 0.66), (0.2, 0.4), (0.4, 0.55))
    while x < 1.15:
        half, peak = rng.uniform(0.2, 0.32), rng.uniform(0.1, 0.3)
        canvas.polygon([(x - half, horizon), (x, peak), (x + half, horizon)], rock)
        cap = 0.42
        drop = peak + cap * (horizon - peak)
        points = [(x, peak), (x + half * cap, drop), (x + 0.4 * half * cap, drop - 0.03)]
        points += [(x, drop + 0.02), (x - 0.5 * half * cap, drop - 0.03), (x - half * cap, drop)]
        canvas.polygon(points, (246, 249, 253))
        x += half * rng.uniform(0.8, 1.3)
    ground = (238, 243, 250)
    canvas.gradient(horizon, 1, scale_colour(ground, 0.93), ground)
    for _ in range(4):
        drift = (rng.uniform(0, 1), rng.uniform(horizon + 0.05, 1))
        canvas.ellipse(drift, rng.uniform(0.15, 0.35), 0.025, (222, 230, 242))
    for x in np.concatenate([rng.uniform(-0.02, 0.25, 2), rng.uniform(0.72, 1.02, 2)]):
        base, size = horizon + rng.uniform(0.02, 0.12), rng.uniform(0.2, 0.32)
        green = hsv_colour(rng, (0.36, 0.44), (0.4, 0.7), (0.22, 0.38))
        canvas.rectangle(x - 0.012, base - 0.02, x + 0.012, base + 0.03, (80, 58, 42))
        for tier in range(3):
            y, half = base - tier * size * 0.27, size * (0.32 - 0.075 * tier)
            tip = y - size * 0.46
            canvas.polygon([(x - half, y), (x, tip), (x + half, y)], green)
            rim = tip + 0.21 * size
            snow = [(x - 0.45 * half, rim), (x, tip), (x + 0.45 * half, rim)]
            canvas.polygon(snow, (244, 248, 252))
    for _ in range(int(rng.integers(40, 90))):
        flake = rng.uniform(0.003, 0.008)
        canvas.ellipse((rng.uniform(0, 1), rng.uniform(0, 1)), flake, flake, (255, 255, 255))


def _stage(canvas: _Canvas, rng: np.random.Generator) -> None:
    floor_line = rng.uniform(0.64, 0.7)
    back = hsv_colour(rng, (0.55, 0.95), (0.3, 0.7), (0.1, 0.22))
    canvas.gradient(0, floor_line, back, scale_colour(back, 1.7))
    wood = hsv_colour(rng, (0.05, 0.09), (0.45, 0.65), (0.3, 0.45))
    canvas.rectangle(0, floor_line, 1, 1, wood)
    for y in np.linspace(floor_line, 1, 7):
        canvas.rectangle(0, y, 1, y + 0.008, scale_colour(wood, 0.65))
    light = hsv_colour(rng, (0.0, 1.0), (0.05, 0.35), (0.9, 1.0))
    beams = canvas.image.copy()
    cone = _Canvas(beams)
    for x in (rng.uniform(0.15, 0.4), rng.uniform(0.6, 0.85)):
        target, floor = rng.uniform(0.35, 0.65), rng.uniform(0.84, 0.9)
        lamp = [(x - 0.02, 0.08), (x + 0.02, 0.08)]
        cone.polygon([*lamp, (target + 0.2, floor), (target - 0.2, floor)], light)
        cone.ellipse((target, floor), 0.21, 0.06, light)
    cv2.addWeighted(beams, 0.34, canvas.image, 0.66, 0, canvas.image)
    cloth = hsv_colour(rng, (0.0, 1.0), (0.65, 0.95), (0.45, 0.75))
    width = rng.uniform(0.14, 0.2)
    folds = 5
    for fold in range(folds):
        shade = scale_colour(cloth, (0.7, 1.12)[fold % 2])
        x = fold * width / folds
        canvas.rectangle(x, 0, x + width / folds, floor_line + 0.06, shade)
        canvas.rectangle(1 - x - width / folds, 0, 1 - x, floor_line + 0.06, shade)
    for swag in np.arange(0.0625, 1, 0.125):
        canvas.ellipse((swag, 0.02), 0.07, 0.11, scale_colour(cloth, 0.9))
        canvas.ellipse((swag, 0.0), 0.05, 0.085, scale_colour(cloth, 1.2))
    for x in np.arange(0.06, 1, 0.125):  # footlights
        canvas.ellipse((x, 0.985), 0.028, 0.03, (255, 240, 180))


def _library(canvas: _Canvas, rng: np.random.Generator) -> None:
    floor_line = rng.uniform(0.68, 0.74)
    wood = hsv_colour(rng, (0.04, 0.1), (0.5, 0.75), (0.28, 0.5))
    canvas.rectangle(0, 0, 1, floor_line, scale_colour(wood, 0.5))
    shelves = int(rng.integers(4, 6))
    pitch = floor_line / shelves
    for shelf in range(shelves):
        bottom = (shelf + 1) * pitch - 0.02
        x = rng.uniform(0, 0.02)
        while x < 1:
            width = rng.uniform(0.016, 0.036)
            if rng.uniform() < 0.93:
                top = bottom - pitch * rng.uniform(0.6, 0.82)
                cover = hsv_colour(rng, (0.0, 1.0), (0.3, 0.85), (0.35, 0.85))
                canvas.rectangle(x, top, x + width, bottom, cover)
                if width > 0.024:
                    band = top + 0.03
                    canvas.rectangle(x, band, x + width, band + 0.01, (230, 210, 150))
            x += width + 0.004
        canvas.rectangle(0, bottom, 1, bottom + 0.024, wood)
    for x in np.arange(rng.uniform(0.0, 0.2), 1.1, rng.uniform(0.32, 0.4)):
        canvas.rectangle(x, 0, x + 0.034, floor_line, scale_colour(wood, 1.15))
    carpet = hsv_colour(rng, (0.0, 1.0), (0.3, 0.65), (0.3, 0.5))
    canvas.gradient(floor_line, 1, scale_colour(carpet, 0.85), scale_colour(carpet, 1.1))
    border = scale_colour(carpet, 1.5)
    canvas.rectangle(0, floor_line + 0.05, 1, floor_line + 0.065, border)
    canvas.rectangle(0, floor_line - 0.02, 1, floor_line + 0.01, scale_colour(wood, 0.7))


_SCENES: dict[str, Callable[[_Canvas, np.random.Generator], None]] = {
    "gym": _gym,
    "beach": _beach,
    "street": _street,
    "park": _park,
    "kitchen": _kitchen,
    "snow": _snow,
    "stage": _stage,
    "library": _library,
}
SCENES: tuple[str, ...] = tuple(_SCENES)


def draw_scene(scene: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws a background `[size, size, 3]` uint8 with random layout and colours.

    Raises:
        ValueError: if `scene` is not one of `SCENES`.
    """
    if scene not in _SCENES:
        raise ValueError(f"unknown scene {scene!r}; known scenes are {', '.join(SCENES)}")
    image = np.zeros((size, size, 3), np.uint8)
    _SCENES[scene](_Canvas(image), rng)
    if rng.uniform() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    blotches = cv2.resize(
        rng.normal(0, 1, (12, 12, 1)).astype(np.float32),
        (size, size),
        interpolation=cv2.INTER_CUBIC,
    )
    grain = rng.normal(0, 1, (size, size)).astype(np.float32)
    texture = rng.uniform(2, 7) * blotches + rng.uniform(1, 4) * grain
    return np.clip(image + texture[..., None], 0, 255).astype(np.uint8)


# --- objects --------------------------------------------------------------------------------


@dataclass(frozen=True)
class ObjectKind:
    """How a kind of object is drawn, coloured, sized and carried.

    `draw` paints the object onto a unit canvas, upright, within its inscribed circle. `hue` in [0, 1)
    is the middle of its family of colours: small encoders tell shapes of 20 pixels apart only after
    far more training than a demo should need, so colour helps, as it does on a playground. `extent` is
    the range of sprite widths as fractions of the frame; `grip` the held point and `base` the
    lowest point on the unit canvas; `two_handed` says that both hands carry it when they move
    together; `follow` is how much the object turns with the forearm (0 hangs upright, 1 prolongs
    the forearm); `holdable` is False for what only stands on the ground.
    """

    draw: Callable[[_Canvas, np.random.Generator, Colour, Colour], None]
    hue: float
    extent: tuple[float, float]
    grip: _Point
    base: float
    two_handed: bool = False
    follow: float = 0.0
    holdable: bool = True


def _ball(canvas: _Canvas, rng: np.random.Generator, main: Colour, second: Colour) -> None:
    canvas.ellipse((0.5, 0.5), 0.47, 0.47, scale_colour(main, 0.7))
    canvas.ellipse((0.48, 0.48), 0.44, 0.44, main)
    dark = scale_colour(second, 0.6)
    canvas.line((0.05, 0.5), (0.95, 0.5), 0.05, dark)
    canvas.line((0.5, 0.05), (0.5, 0.95), 0.05, dark)
    canvas.arc((0.0, 0.5), 0.34, 0.05, dark, -62, 62)
    canvas.arc((1.0, 0.5), 0.34, 0.05, dark, 118, 242)
    canvas.ellipse((0.36, 0.3), 0.08, 0.06, scale_colour(main, 1.7))


def _barbell(canvas: _Canvas, rng: np.random.Generator, main: Colour, second: Colour) -> None:
    canvas.rectangle(0.01, 0.472, 0.99, 0.528, (160, 164, 170))
    for mirror in (False, True):
        for x0, half, colour in (
            (0.06, 0.16, scale_colour(main, 0.8)),
            (0.13, 0.25, main),
            (0.21, 0.05, second),
        ):
            x1 = x0 + 0.065
            left, right = (1 - x1, 1 - x0) if mirror else (x0, x1)
            canvas.rectangle(left, 0.5 - half, right, 0.5 + half, colour)


def _umbrella(canvas: _Canvas, rng: np.random.Generator, main: Colour, second: Colour) -> None:
    canvas.rectangle(0.485, 0.1, 0.52, 0.86, (70, 60, 54))
    canvas.arc((0.455, 0.86), 0.05, 0.036, (70, 60, 54), 0, 180)
    canvas.rectangle(0.485, 0.02, 0.515, 0.14, (70, 60, 54))
    angle = np.radians(np.linspace(180, 360, 25))
    dome = np.stack([0.5 + 0.48 * np.cos(angle), 0.5 + 0.42 * np.sin(angle)], -1)
    scallops = []
    for gore in range(4):
        x = 0.98 - 0.24 * np.linspace(gore, gore + 1, 9)[:-1]
        sag = np.sin(np.linspace(0, np.pi, 9)[:-1]) * 0.06
        scallops.append(np.stack([x, 0.5 - sag], -1))
    canvas.polygon(np.concatenate([dome, *scallops]), main)
    for left, right in ((0.26, 0.5), (0.74, 0.98)):  # every other gore in the second colour
        gore = [(0.5, 0.08), (left, 0.5), ((left + right) / 2, 0.44), (right, 0.5)]
        side = np.sign((left + right) / 2 - 0.5)
        if right > 0.9:
            gore += [(0.96, 0.38), (0.84, 0.2)]
        elif side < 0:
            gore = [(0.5, 0.08), (0.33, 0.24), (left, 0.5), (0.38, 0.44), (right, 0.5)]
        canvas.polygon(gore, second)


def _box(canvas: _Canvas, rng: np.random.Generator, main: Colour, second: Colour) -> None:
    canvas.polygon([(0.08, 0.3), (0.3, 0.12), (0.94, 0.12), (0.72, 0.3)], scale_colour(main, 1.25))
    canvas.polygon([(0.72, 0.3), (0.94, 0.12), (0.94, 0.72), (0.72, 0.92)], scale_colour(main, 0.6))
    canvas.rectangle(0.08, 0.3, 0.72, 0.92, main)
    canvas.rectangle(0.34, 0.3, 0.46, 0.92, second)
    canvas.polygon([(0.34, 0.3), (0.56, 0.12), (0.68, 0.12), (0.46, 0.3)], scale_colour(second, 1.2))


def _hoop(canvas: _Canvas, rng: np.random.Generator, main: Colour, second: Colour) -> None:
    canvas.arc((0.5, 0.5), 0.43, 0.1, main)
    for start in range(0, 360, 60):
        canvas.arc((0.5, 0.5), 0.43, 0.1, second, start, start + 24)


def _racket(canvas: _Canvas, rng: np.random.Generator, main: Colour, second: Colour) -> None:
    # The head is a ring on a long handle; the strings leave the background visible.
    angle = np.radians(np.linspace(0, 360, 33))
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    outer, inner = ring * [0.24, 0.3] + [0.5, 0.32], ring[::-1] * [0.185, 0.245] + [0.5, 0.32]
    strings = (226, 226, 214)
    for x in (0.38, 0.46, 0.54, 0.62):
        canvas.line((x, 0.1), (x, 0.54), 0.022, strings)
    for y in (0.14, 0.23, 0.32, 0.41, 0.5):
        canvas.line((0.32, y), (0.68, y), 0.022, strings)
    canvas.polygon(np.concatenate([outer, inner]), main)
    canvas.line((0.4, 0.57), (0.5, 0.7), 0.05, main)
    canvas.line((0.6, 0.57), (0.5, 0.7), 0.05, main)
    canvas.rectangle(0.455, 0.68, 0.545, 0.98, second)


def _chair(canvas: _Canvas, rng: np.random.Generator, main: Colour, second: Colour) -> None:
    leg = scale_colour(main, 0.75)
    for x, y in ((0.34, 0.86), (0.8, 0.86)):
        canvas.rectangle(x, 0.5, x + 0.06, y, scale_colour(leg, 0.75))
    canvas.rectangle(0.2, 0.04, 0.28, 0.98, main)
    canvas.rectangle(0.7, 0.6, 0.78, 0.98, leg)
    canvas.rectangle(0.34, 0.02, 0.41, 0.52, main)
    for y in (0.05, 0.18, 0.31):
        canvas.polygon([(0.24, y + 0.03), (0.4, y), (0.4, y + 0.075), (0.24, y + 0.105)], main)
    canvas.polygon([(0.19, 0.62), (0.36, 0.5), (0.88, 0.5), (0.78, 0.62)], second)
    canvas.rectangle(0.19, 0.62, 0.78, 0.69, scale_colour(second, 0.7))


def _guitar(canvas: _Canvas, rng: np.random.Generator, main: Colour, second: Colour) -> None:
    dark = scale_colour(main, 0.65)
    for grow, colour in ((0.025, dark), (0.0, main)):
        canvas.ellipse((0.5, 0.78), 0.21 + grow, 0.185 + grow, colour)
        canvas.ellipse((0.5, 0.575), 0.155 + grow, 0.135 + grow, colour)
    canvas.rectangle(0.465, 0.14, 0.535, 0.62, second)
    headstock = [(0.455, 0.15), (0.43, 0.03), (0.57, 0.03), (0.545, 0.15)]
    canvas.polygon(headstock, scale_colour(second, 0.7))
    canvas.ellipse((0.5, 0.65), 0.072, 0.072, (28, 20, 16))
    canvas.rectangle(0.41, 0.8, 0.59, 0.835, (28, 20, 16))
    canvas.rectangle(0.492, 0.1, 0.508, 0.82, (235, 235, 225))


OBJECT_KINDS: dict[str, ObjectKind] = {
    "ball": ObjectKind(_ball, 0.075, (0.13, 0.21), (0.5, 0.9), 0.97, two_handed=True, follow=1.0),
    "barbell": ObjectKind(_barbell, 0.61, (0.27, 0.38), (0.5, 0.5), 0.75, two_handed=True),
    "umbrella": ObjectKind(_umbrella, 0.86, (0.22, 0.32), (0.5, 0.8), 0.92, follow=0.25),
    "box": ObjectKind(_box, 0.155, (0.15, 0.24), (0.5, 0.2), 0.92, two_handed=True),
    "hoop": ObjectKind(_hoop, 0.29, (0.18, 0.28), (0.5, 0.07), 0.98, two_handed=True),
    "racket": ObjectKind(_racket, 0.515, (0.22, 0.3), (0.5, 0.86), 0.98, follow=1.0),
    "chair": ObjectKind(_chair, 0.43, (0.2, 0.28), (0.5, 0.5), 0.98, holdable=False),
    "guitar": ObjectKind(_guitar, 0.74, (0.26, 0.34), (0.5, 0.22), 0.97, follow=0.15),
}
OBJECTS: tuple[str, ...] = tuple(OBJECT_KINDS)

_SPRITE_SIZE = 96


@dataclass(frozen=True)
class Sprite:
    """A picture with transparency: `rgba` `[h, w, 4]` float32, colours not premultiplied, 0-255."""

    rgba: np.ndarray


def draw_object(kind: str, pixels: float, rng: np.random.Generator) -> Sprite:
    """Draws an object as a sprite of about `pixels` width, in random colours of its kind's family.

    Raises:
        ValueError: if `kind` is not one of `OBJECTS`.
    """
    if kind not in OBJECT_KINDS:
        raise ValueError(f"unknown object {kind!r}; known objects are {', '.join(OBJECTS)}")
    hue = OBJECT_KINDS[kind].hue
    main = hsv_colour(rng, hue=(hue - 0.025, hue + 0.025), saturation=(0.8, 1.0), value=(0.75, 1.0))
    second = hsv_colour(rng, hue=(hue - 0.04, hue + 0.04), saturation=(0.45, 1.0), value=(0.5, 1.0))
    pictures = []
    # Opacity is what differs between the same drawing on black and on white.
    for ground in (0, 255):
        picture = np.full((_SPRITE_SIZE, _SPRITE_SIZE, 3), ground, np.uint8)
        OBJECT_KINDS[kind].draw(_Canvas(picture), rng, main, second)
        pictures.append(picture.astype(np.float32))
    alpha = 1 - (pictures[1] - pictures[0]).mean(axis=-1) / 255
    width = max(4, round(pixels))
    stacked = np.dstack([pictures[0], alpha * 255])  # colours premultiplied: drawn on black
    return Sprite(cv2.resize(stacked, (width, width), interpolation=cv2.INTER_AREA))


def paint_sprite(
    image: np.ndarray,
    labels: np.ndarray,
    label: int,
    sprite: Sprite,
    anchor: _Point,
    position: np.ndarray,
    degrees: float = 0.0,
    stretch: float = 1.0,
) -> None:
    """Paints a sprite so that its `anchor` (unit coordinates) lies at `position` (pixels).

    Args:
        image: RGB uint8 `[H, W, 3]`, painted in place.
        labels: uint8 `[H, W]`, set to `label` where the sprite is at least half opaque.
        degrees: clockwise turn about the anchor.
        stretch: scale of the sprite's own horizontal axis (foreshortening).
    """
    rgba = sprite.rgba
    height, width = rgba.shape[:2]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.array([[cos * stretch, -sin], [sin * stretch, cos]])
    offset = position - matrix @ (np.array(anchor) * [width, height] - 0.5)
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ matrix.T + offset
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    bounds = np.array([image.shape[1], image.shape[0]])
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, bounds)
    if x1 <= x0 or y1 <= y0:
        return
    affine = np.column_stack([matrix, offset - [x0, y0]])
    warped = cv2.warpAffine(rgba, affine, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    alpha = warped[..., 3:] / 255
    region = image[y0:y1, x0:x1]
    region[:] = np.clip(region * (1 - alpha) + warped[..., :3], 0, 255).astype(np.uint8)
    labels[y0:y1, x0:x1][warped[..., 3] >= 128] = label


# --- occluders ------------------------------------------------------------------------------


def draw_occluder(size: int, rng: np.random.Generator) -> Sprite:
    """Draws something that stands before the camera: a bar, a leafy plant or a low wall."""
    style = int(rng.integers(3))
    if style == 0:
        width, height = max(4, round(size * rng.uniform(0.07, 0.13))), round(size * 1.2)
    elif style == 1:
        width, height = round(size * rng.uniform(0.22, 0.34)), round(size * rng.uniform(0.4, 0.65))
    else:
        width, height = round(size * rng.uniform(0.2, 0.3)), round(size * rng.uniform(0.28, 0.45))
    picture = np.zeros((height, width, 3), np.uint8)
    mask = np.zeros((height, width, 3), np.uint8)
    leaf = hsv_colour(rng, (0.2, 0.4), (0.4, 0.8), (0.25, 0.6))
    solid = hsv_colour(rng, (0.0, 1.0), (0.1, 0.6), (0.2, 0.7))
    for canvas, shown in ((_Canvas(picture), True), (_Canvas(mask), False)):

        def paint(colour: Colour, shown: bool = shown) -> Colour:
            return colour if shown else (255, 255, 255)

        if style == 0:
            canvas.rectangle(0, 0, 1, 1, paint(solid))
            canvas.rectangle(0.1, 0, 0.35, 1, paint(scale_colour(solid, 1.35)))
        elif style == 1:
            shape = np.random.default_rng(int(solid[0]) + 256 * int(leaf[1]))
            for _ in range(26):
                tip = np.array([shape.uniform(0.05, 0.95), shape.uniform(0.02, 0.8)])
                root = np.array([0.5 + 0.3 * (tip[0] - 0.5), 1.0])
                bend = (tip + root) / 2 + [0.25 * (tip[0] - 0.5), -0.05]
                shade = scale_colour(leaf, shape.uniform(0.7, 1.3))
                side = np.array([0.07, 0.03])
                canvas.polygon([root, bend - side, tip, bend + side], paint(shade))
            canvas.rectangle(0.25, 0.82, 0.75, 1.0, paint(solid))
        else:
            canvas.rectangle(0, 0, 1, 1, paint(scale_colour(solid, 0.7)))
            for row in range(7):
                for x in np.arange(0.01 - 0.2 * (row % 2), 1, 0.4):
                    top = 0.01 + row / 7
                    canvas.rectangle(x, top, x + 0.36, top + 0.115, paint(solid))
    alpha = mask[..., :1].astype(np.float32)
    return Sprite(np.dstack([picture.astype(np.float32), alpha]))
