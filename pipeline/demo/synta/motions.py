"""The hundred fine classes of Syn-TA as formulas: where every body of a clip is, how large and how visible, over time.

Time τ runs from 0 to 1. ``u`` is eased time: it rests for a share a before and after. Lengths are radii of a body of
scale 1. A class that is another one played backward is not here (`classes.REVERSED`): its frames are taken in reverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

MIDDLE, FLOOR = 1.5, -3.0  # heights of the front view: where bodies float, and where they stand
_DRAWS = 400


def ease(x: float) -> float:
    """3 x² − 2 x³ between 0 and 1, and constant outside."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def one_by_one(u: float, n: int) -> np.ndarray:
    """How far each of n bodies is at a common u, one after the other ``[n]``."""
    return np.clip(n * u - np.arange(n), 0, 1)


def there_and_back(x: float) -> float:
    """0 → 1 by .35, a pause, and 0 again at 1."""
    return min(ease(x / 0.35), ease((1 - x) / 0.35))


def triangle(x: float) -> float:
    """A triangle wave of period 1 between −1 and 1, −1 at 0."""
    return 1 - 4 * abs(x - math.floor(x) - 0.5)


@dataclass
class State:
    """All bodies of a clip at one time; N of them.

    Attributes:
        position: ``[N, 3]``, in the front view of the centres; on the ground of the point below them.
        scale, alpha: ``[N]``.
        hue: turns that are added to a body's own colour ``[N]``; value: what its brightness is multiplied with.
        colour: whose colours they have ``[N]``, a float between two bodies for a mixture.
        shape: which of the clip's bodies they look like; second, mix: and what each of them turns into, how far.
    """

    position: np.ndarray
    scale: np.ndarray
    alpha: np.ndarray
    hue: np.ndarray
    value: np.ndarray
    colour: np.ndarray
    shape: np.ndarray
    second: np.ndarray
    mix: np.ndarray


Motion = Callable[[float], State]


@dataclass(frozen=True)
class Space:
    """What a view leaves for motion.

    Attributes:
        view: front: bodies float before a wall; ground: they stand on the ground and look is downward.
        reach: half of the width that is seen where the bodies are.
        towards, across: horizontal unit vectors towards the camera and to its right; sight: from the middle to the eye.
    """

    view: str
    reach: float
    towards: tuple[float, float, float]
    across: tuple[float, float, float]
    sight: tuple[float, float, float]

    @property
    def unit(self) -> float:
        """Everything but sizes of bodies is scaled with it."""
        return min(max(self.reach / 6.84, 0.8), 1.4)

    def lay(self, points: np.ndarray) -> np.ndarray:
        """Points ``[N, 2]``, right and away or up, as positions ``[N, 3]``: upright in front, flat on the ground."""
        x, y = points[:, 0] * self.unit, points[:, 1] * self.unit
        still = np.zeros(len(points))
        return np.stack([x, still, MIDDLE + y] if self.view == "front" else [x, y, still], 1)

    def stand(self, points: np.ndarray) -> np.ndarray:
        """Points ``[N, 2]``, right and above the floor, as positions ``[N, 3]``; less high on the ground."""
        x, z, still = points[:, 0] * self.unit, points[:, 1] * self.unit, np.zeros(len(points))
        if self.view == "front":
            return np.stack([x, still, z + FLOOR], 1)
        return np.stack([x, still - 1.5, 0.55 * z], 1)


@dataclass
class Draw:
    """The random numbers of one clip's motion, and what formulas share."""

    rng: np.random.Generator
    space: Space
    a: float = field(init=False)
    s: float = field(init=False)
    side: float = field(init=False)

    def __post_init__(self) -> None:
        self.a, self.s = self.rng.uniform(0.02, 0.18), self.rng.uniform(0.8, 1.1)
        self.side = float(self.rng.choice([-1.0, 1.0]))

    def u(self, t: float) -> float:
        return ease((t - self.a) / (1 - 2 * self.a))

    def number(self, low: int = 2, high: int = 4) -> int:
        return int(self.rng.integers(low, high + 1))

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def places(self, n: int, spread: float = 3.2, apart: float = 2.4) -> np.ndarray:
        """Points ``[n, 2]`` with room between them; the corners of the field where chance gives none."""
        for _ in range(_DRAWS):
            points = np.stack([self.rng.uniform(-spread, spread, n), self.rng.uniform(-2.0, 2.0, n)], 1)
            gaps = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1)) * self.space.unit + 99 * np.eye(n)
            if gaps.min() > apart:
                return points
        return np.array([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])[:n] * [spread, 2.0]

    def exit(self) -> np.ndarray:
        """A way ``[2]`` out of the picture from wherever in it."""
        angle = self.between(-0.3, 0.3)
        far = (2.2 * self.space.reach + 3) / self.space.unit
        return far * np.array([self.side * math.cos(angle), 0.5 * math.sin(angle)])

    def state(self, position: np.ndarray, **other: np.ndarray | float) -> State:
        """Bodies at positions ``[N, 3]``; each looks like itself unless told otherwise."""
        n = len(position)
        values = {
            "scale": self.s,
            "alpha": 1.0,
            "hue": 0.0,
            "value": 1.0,
            "colour": np.arange(n),
            "shape": np.arange(n),
            "second": np.arange(n),
            "mix": 0.0,
        } | other
        arrays = {key: np.broadcast_to(np.asarray(item, float), n).copy() for key, item in values.items()}
        return State(position, **arrays)

    def lay(self, points: np.ndarray, **other: np.ndarray | float) -> State:
        return self.state(self.space.lay(points), **other)

    def stand(self, points: np.ndarray, **other: np.ndarray | float) -> State:
        return self.state(self.space.stand(points), **other)


def _appearing(d: Draw, n: int) -> Motion:
    count = {1: 1, 2: d.number(), 3: d.number(), 4: 4}[n]
    points = d.places(count)

    def at(t: float) -> State:
        u = d.u(t)
        alpha = {1: u, 2: u, 3: one_by_one(u, count), 4: np.array([1, 1, u, u])}[n]
        return d.lay(points, alpha=alpha)

    return at


def _approach(d: Draw, n: int, share: Callable[[float], np.ndarray], count: int) -> Motion:
    points, way = d.places(count), d.exit()
    return lambda t: d.lay(points + (1 - share(t))[:, None] * way)


def _arriving(d: Draw, n: int) -> Motion:
    count = {1: 1, 2: d.number(), 3: d.number(), 4: d.number(3, 4), 5: 2, 6: 2}[n]

    def share(t: float) -> np.ndarray:
        if n == 3:
            return one_by_one(d.u(t), count)
        moved = there_and_back(t) if n == 6 else d.u(t)
        return np.array([moved] + [1.0] * (count - 1)) if n > 3 else np.full(count, moved)

    return _approach(d, n, share, count)


def _departing(d: Draw, n: int) -> Motion:
    return _approach(d, n, lambda t: np.array([1 - there_and_back(t), 1.0]), 2)  # 6: away and back


_SIZES = {
    "expanding": {1: ([0.45], [1.0]), 2: ([0.4], [1.8]), 3: ([0.35, 0.7], [1.4, 1.4]), 4: ([0.4, 0.4], [1.0, 1.7])},
    "shrinking": {1: ([1.8], [1.0]), 2: ([1.8], [0.4]), 3: ([1.9, 1.4], [0.6, 0.6]), 4: ([1.9, 1.4], [0.95, 0.4])},
}


def _resizing(d: Draw, sizes: tuple[list[float], list[float]]) -> Motion:
    factor = d.between(0.9, 1.1)
    first, last = (factor * np.array(part) for part in sizes)
    points = d.places(len(first), spread=2.6, apart=4.0 if len(first) > 1 else 0.0)
    return lambda t: d.lay(points, scale=first ** (1 - d.u(t)) * last ** d.u(t))


def _rising(d: Draw, n: int) -> Motion:
    x, low, high = d.between(-2, 2), d.between(0.2, 1.0), d.between(6.0, 7.4)
    width, waves, run = d.between(1.2, 2.0), d.number(2, 3), d.between(3.4, 4.8)

    def at(t: float) -> State:
        u = d.u(t)
        beside = {
            1: x,
            2: 0.4 * x + width * (triangle(waves * u / 2) + 1) - width,
            3: d.side * run * (u - 0.5) * 1.4,
            4: d.side * run * (0.5 - math.cos(math.pi * u / 2)),
        }[n]
        return d.stand(np.array([[beside, low + (high - low) * u]]))

    return at


def _merging(d: Draw, n: int, *, grows: bool = True, in_turn: bool = False, two_colours: bool = False) -> Motion:
    """Bodies that become one are one kind; those that have gone into another one are not there any more."""
    centre, gap, angle = d.places(1, spread=1.2)[0] * 0.6, d.between(2.6, 3.4), d.between(-0.4, 0.4)
    e = np.array([math.cos(angle), math.sin(angle)])
    count = {1: 2, 2: 2, 3: d.number(3, 4), 4: 4}[n]
    start = d.between(0, 2 * math.pi)
    ring = [start + 2 * math.pi * k / count for k in range(count)]
    around = gap * 0.85 * np.array([[math.cos(x), math.sin(x)] for x in ring])
    four = np.array([[-3.2, -1.3], [-0.9, 1.3], [3.2, -1.3], [0.9, 1.3]])
    two = four[[0, 0, 2, 2]] / 2 + four[[1, 1, 3, 3]] / 2
    same = np.zeros(count) if not two_colours else np.arange(count)

    def at(t: float) -> State:
        u = d.u(t)
        done, alpha, scale = u >= 1, np.ones(count), np.full(count, d.s)
        growth = ease((u - 0.85) / 0.15) if grows else 0.0
        if n == 1:
            points, stays = centre + np.array([[-1.0], [1.0]]) * gap * e * (1 - u), [0]
        elif n == 2:
            points, stays = centre + d.side * np.array([[5.4 * u - 4.2], [2.2 * u - 1.0]]) * e, [1]
        elif n == 3 and in_turn:
            moved = np.concatenate([[1.0], one_by_one(u, count - 1)])
            points, stays = centre + (1 - moved)[:, None] * (around - around[0]), [0]
            alpha[1:] = moved[1:] < 1
        elif n == 3:
            points, stays = centre + (1 - u) * around, [0]
            scale[0] *= 1 + 0.75 * growth
        else:
            points, stays = four * (1 - u) + two * u, [0, 2]
            scale[stays] *= 1 + 0.5 * growth
        if done:
            alpha = np.isin(np.arange(count), stays).astype(float)
        return d.lay(points, scale=scale, alpha=alpha, colour=same, shape=0, second=0)

    return at


def _cloning(d: Draw, n: int) -> Motion:
    """As merging, backward: 3 in turn, 4 at once without a change of size, 5 into another colour."""
    made = {
        3: lambda: _merging(d, 3, in_turn=True),
        4: lambda: _merging(d, 3, grows=False),
        5: lambda: _merging(d, 1, two_colours=True),
    }[n]()
    return lambda t: made(1 - t)


@dataclass(frozen=True)
class _Bounces:
    """Heights of a body that bounces: parabolas from floor to floor, each start ρ times as fast as the last.

    Args:
        speed: of the first start; gravity; keep: ρ; step: by how much each floor is above the last.
    """

    speed: float
    gravity: float
    keep: float = 0.62
    step: float = 0.0

    def at(self, t: float) -> tuple[float, float]:
        """Height, and how many bounces have begun, whole ones and the part of this one."""
        speed, floor = self.speed, 0.0
        for number in range(40):
            inside = speed * speed - 2 * self.gravity * self.step
            if speed < 0.05 * self.speed or inside < 0:
                return floor, float(number)
            lasts = (speed + math.sqrt(inside)) / self.gravity
            if t < lasts:
                return floor + speed * t - self.gravity * t * t / 2, number + t / lasts
            t, floor, speed = t - lasts, floor + self.step, speed * self.keep
        return floor, 40.0


def _bouncing(d: Draw, n: int) -> Motion:
    count = {2: d.number(2, 3), 3: 3}.get(n, 1)
    heights = {2: d.between(3.2, 4.2) + np.linspace(-0.2, 0.2, count), 3: np.array([1.4, 3.0, 5.2])[:count]}
    height = heights.get(n, np.array([d.between(3.6, 5.0)]))
    first = 0.5 if n == 4 else d.between(0.26, 0.32)  # how long the first bounce lasts
    if n == 4:  # it begins at its farthest from the wall
        height = np.array([d.between(5.4, 6.2)])
    keep = {6: 1.0, 7: 1.0, 8: 1.0}.get(n, d.between(0.6, 0.68))
    step = {7: -1.3, 8: 1.3}.get(n, 0.0)
    made = [_Bounces(4 * h / first, 8 * h / first**2, keep, step) for h in height]
    if step:  # all stairs alike: each start has the speed that the last one landed with, or wants for the next
        made = [_Bounces(4 * 2.2 / 0.26, 8 * 2.2 / 0.26**2, 1.0, step)]
    xs = np.linspace(-3.0, 3.0, count) if count > 1 else np.array([d.between(-1.5, 1.5)])
    if n == 3:
        xs = xs[d.rng.permutation(count)]
    wall = d.side * d.between(3.2, 3.8)

    def at(t: float) -> State:
        found = [item.at(t + first / 2 if n == 4 else max(0.0, t - d.a / 2)) for item in made]
        z = np.array([item[0] for item in found])
        x = xs.copy()
        if n == 4:
            x, z = wall - d.side * z, np.full(1, 0.5 if d.space.view == "ground" else 3.5)
        elif n == 5:
            x = np.array([d.side * (8.0 * t - 4.0)])
        elif step:
            x = np.array([d.side * (1.5 * found[0][1] - 3.2)])
            z = z + (4.4 if n == 7 else 0.0)
        return d.stand(np.stack([x, z], 1))

    return at


def _shooting(d: Draw, n: int) -> Motion:
    left, right, low, high = -4.4, 4.4, 0.2, d.between(6.4, 7.4)
    side = {2: -1.0, 3: 1.0}.get(n, d.side)
    arc = d.between(3.4, 4.6)

    def flight(x: float, end: float, z: float, top: float, bulge: float, t: float) -> tuple[float, float]:
        t = min(max(t, 0.0), 1.0)
        return x + (end - x) * t, z + (top - z) * t + 4 * bulge * t * (1 - t)

    def at(t: float) -> State:
        t = (t - d.a) / (1 - 2 * d.a)
        start, end = (left, right) if side > 0 else (right, left)
        points = {
            1: lambda: [flight(start, end, low, high, 1.2, t)],
            2: lambda: [flight(start, end, low, low, arc, t)],
            3: lambda: [flight(start, end, low, low, arc, t)],
            4: lambda: [
                flight(start, end, low, high, 0.6, 1.2 * t),
                flight(start, end, low, high - 2.6, 0.6, 1.2 * t - 0.2),
            ],
            5: lambda: [flight(left, right, low, low, arc, t), flight(right, left, low, low, 0.55 * arc, t)],
        }[n]()
        return d.stand(np.array(points), scale=0.4)

    return at


def _changing_colour(d: Draw, n: int) -> Motion:
    points = d.places(2 if n == 2 else 1, spread=2.6)

    def at(t: float) -> State:
        u = d.u(t)
        if n == 1:
            return d.lay(points, hue=2 * t)
        if n == 2:
            return d.lay(points, colour=np.array([u, 1 - u]))
        if n == 3:
            return d.lay(points, value=1.0 - 0.8 * u)
        return d.lay(points, hue=0.45 * there_and_back(t))  # 5

    return at


TARGETS = {1: "pyramid", 2: "cube", 3: "sphere", 4: "cylinder"}


def _changing_shape(d: Draw, n: int) -> Motion:
    """Body 0 turns into what body 1 looks like; the clip gives body 1 the shape that the class names."""
    points = d.places(2 if n == 5 else 1, spread=2.6)
    other = np.array([1.0, 0.0]) if n == 5 else 1.0

    def at(t: float) -> State:
        mix = there_and_back(t) if n == 6 else d.u(t)
        return d.lay(points, second=other, mix=mix, colour=np.arange(len(points)))

    return at


def _following(d: Draw, n: int) -> Motion:
    count = 3 if n == 3 else 2
    angle, delay = d.between(-0.35, 0.35), (2.1 * d.s + d.between(0.2, 0.4)) / (9.0 * d.space.unit)
    e, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    turn = float(d.rng.choice([-1.0, 1.0]))
    phase = d.between(0, 1)

    def line(t: float) -> np.ndarray:
        return d.side * e * (9.0 * t - 4.0)

    def loop(t: float) -> np.ndarray:
        x = 2 * math.pi * (t + phase)
        return np.array([3.2 * math.sin(x), 1.7 * math.sin(2 * x)])

    def at(t: float) -> State:
        path, behind = (loop, 0.14) if n == 4 else (line, delay)
        points = np.array([path(0.9 * t + 0.1 - k * behind) for k in range(count)])
        if n == 2:
            away = max(0.0, t - 0.5)
            points[1] += turn * across * 7.0 * away - d.side * e * 3.0 * away
        if n == 5:
            apart = 1 - ease((t - 0.05) / 0.4)
            points[1] += turn * across * 3.4 * apart + d.side * e * 2.2 * apart
        return d.lay(points)

    return at


def _moving(d: Draw, n: int) -> Motion:
    """6, from right to left, is 5 backward."""
    points = d.places(2, spread=3.4, apart=4.2)
    if n == 5:
        points = np.array([[-3.6, points[0, 1] / 2], [3.6, points[0, 1] / 2]])
    begin = d.between(0.1, 0.6)

    def at(t: float) -> State:
        u = {2: ease((t - begin) / 0.2), 3: ease(t / 0.5) if t < 0.5 else ease((1 - t) / 0.5)}.get(n, d.u(t))
        if n != 4:
            return d.lay(points[:1] * (1 - u) + points[1:] * u)
        line = points[1] - points[0]
        aside = np.array([-line[1], line[0]]) / math.hypot(*line) * 1.5 * math.sin(math.pi * u)
        return d.lay(np.array([points[0] + u * line + aside, points[1] - u * line - aside]))

    return at


def _not_colliding(d: Draw, n: int) -> Motion:
    far, gap, angle = d.between(3.4, 4.0), 1.3 * d.s / d.space.unit + d.between(0.3, 0.6), d.between(-0.35, 0.35)
    e = np.array([math.cos(angle), math.sin(angle)])
    count = d.number(3, 4)
    start = d.between(0, 2 * math.pi)

    def ring(radius: float) -> np.ndarray:
        angles = [start + 2 * math.pi * k / count for k in range(count)]
        return radius * np.array([[math.cos(x), 0.75 * math.sin(x)] for x in angles])

    still = np.array([[2.4, 1.7], [2.8, -1.6], [4.3, 0.2]])[: count - 1] * [d.side, 1]

    def at(t: float) -> State:
        u = d.u(t)
        if n == 1:
            return d.lay(np.array([[-1.0], [1.0]]) * (far - (far - gap) * u) * e)
        if n == 2:
            return d.lay(d.side * e * np.array([[1.4 - 2 * gap - (1 - u) * far], [1.4]]))
        if n == 3:
            room = gap * (1.25 if count == 3 else 1.55) / 0.75
            return d.lay(ring(max(room, 2.2) + (1 - u) * 2.0))
        if n == 4:
            angles = start + 2 * math.pi * 0.8 * u, start + math.pi - 2 * math.pi * 0.8 * u
            radii = 1.0, 1.0 + 2 * gap
            return d.lay(
                np.array([[r * math.cos(x), 0.8 * r * math.sin(x)] for r, x in zip(radii, angles, strict=True)])
            )
        mover = np.array([[d.side * (-4.6 + (4.6 + 2.4 - 2.0 * gap) * u), 0.0]])  # 5
        return d.lay(np.concatenate([mover, still]))

    return at


def _occlusion(d: Draw, n: int) -> Motion:
    """Along the line of sight, so that what is in front hides what is behind, from wherever the camera looks."""
    sight, across = np.array(d.space.sight), np.array(d.space.across)
    middle = np.array([0.0, 0.0, MIDDLE if d.space.view == "front" else 0.0])
    small, big = d.between(0.5, 0.6), d.between(1.5, 1.7)

    def turned(angle: float, centre: np.ndarray, apart: float, aside: float) -> np.ndarray:
        """Two that are opposite on a circle, seen from its edge."""
        away = apart * math.cos(angle) * sight + aside * math.sin(angle) * across
        offset = 0.45 * across
        return np.stack([centre + away + offset, centre - away - offset])

    def at(t: float) -> State:
        u = d.u(t)
        if n in (1, 2):
            sizes = np.array([small, big] if n == 1 else [big, small])
            come = (1 - u) * d.side * 5.0 * d.space.unit * across
            behind = middle - 1.2 * sight
            near = behind + 3.2 * sight + come + (0.8 * d.side * across if n == 1 else 0)
            return d.state(np.stack([near, behind]), scale=sizes)
        if n == 3:
            return d.state(turned(math.pi * u, middle, 1.4, d.side * 2.6), scale=np.array([0.9, 1.1]))
        pairs = [turned(math.pi * u, middle + x * across, 1.4, x) for x in (-2.3, 2.3)]
        return d.state(np.concatenate([pairs[0], pairs[1]]), scale=0.85)

    return at


def _orbiting(d: Draw, n: int) -> Motion:
    radius, turns, start = d.between(2.6, 3.2), d.between(1.2, 1.8), d.between(0, 2 * math.pi)
    size = np.array([0.6, 1.0]) if n != 4 else np.array([0.8, 0.8])
    aside = d.between(-0.6, 0.6)

    def around(angle: float) -> np.ndarray:
        """Seen from above where it is horizontal; upright it faces the camera."""
        x, y = radius * math.cos(angle), radius * math.sin(angle)
        if n in (5, 6):
            return np.array([x, 0.0, y])
        return np.array([x, y, 0.0])

    raised = MIDDLE if d.space.view == "front" else (radius * d.space.unit if n in (5, 6) else 0.0)
    centre = np.array([aside, 0.0, raised])

    def at(t: float) -> State:
        turn = 1.0 if n in (2, 6) else -1.0
        angle = start + turn * 2 * math.pi * turns * (min(t, 1 - t) if n == 3 else t)
        if n != 4:
            return d.state(np.stack([centre + d.space.unit * around(angle), centre]), scale=size)
        half = start - 2 * math.pi * turns * min(t, 0.5)
        first = centre + d.space.unit * 0.8 * around(half)
        if t < 0.5:
            return d.state(np.stack([first, centre]), scale=size)
        back = half + math.pi - 2 * math.pi * turns * (t - 0.5)
        return d.state(np.stack([first, first + d.space.unit * 0.8 * around(back)]), scale=size)

    return at


def _teleporting(d: Draw, n: int) -> Motion:
    corners = np.array([[-3.4, 2.1], [3.4, 2.1], [3.4, -2.1], [-3.4, -2.1]])
    first, when = int(d.rng.integers(4)), d.between(0.42, 0.58)
    order = [(first + k) % 4 for k in range(4)]
    other = order[int(d.rng.integers(1, 4))]
    step = int(d.rng.integers(1, 4))

    def at(t: float) -> State:
        jumped = t >= when
        if n == 1:
            return d.lay(corners[[other if jumped else first]])
        if n == 2:
            return d.lay(np.stack([corners[other if jumped else first], np.zeros(2)]))
        if n == 3:
            return d.lay(corners[[order[2], first] if jumped else [first, order[2]]])
        if n == 4:
            return d.lay(corners[[(k + step * jumped) % 4 for k in range(4)]])
        inward = np.array([-2.3 if corners[first, 0] > 0 else 2.3, 0.0])
        return d.lay(np.stack([corners[other if jumped else first], corners[first] + inward]))  # 5

    return at


_MADE: dict[str, Callable[[Draw, int], Motion]] = {
    "appearing": _appearing,
    "arriving": _arriving,
    "bouncing": _bouncing,
    "changing color": _changing_colour,
    "changing shape": _changing_shape,
    "cloning": _cloning,
    "departing": _departing,
    "expanding": lambda d, n: _resizing(d, _SIZES["expanding"][n]),
    "following": _following,
    "merging": lambda d, n: _merging(d, n),
    "moving in a path": _moving,
    "not colliding": _not_colliding,
    "occlusion": _occlusion,
    "orbiting": _orbiting,
    "rising": _rising,
    "shooting projectile": _shooting,
    "shrinking": lambda d, n: _resizing(d, _SIZES["shrinking"][n]),
    "teleporting": _teleporting,
}


def motion(coarse: str, n: int, rng: np.random.Generator, space: Space) -> Motion:
    """The motion of a fine class that is coded itself: τ in [0, 1] → where everything is."""
    return _MADE[coarse](Draw(rng, space), n)
