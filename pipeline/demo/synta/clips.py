"""From a clip's name to its frames and their truth.

Every factor of a clip (motion, looks, camera, scene, length) has its own random stream, as in `pipeline.demo.clips`. A
class that is another one played backward has that one's streams: what it shows are the same frames in reverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.demo.settings import Synta
from pipeline.demo.synta import motions
from pipeline.demo.synta.classes import COARSE, REVERSED, SHAPES, VIEWS, Clip
from pipeline.demo.synta.raycast import HALF, Body, Camera, Stage, plane_points, unit
from pipeline.demo.synta.scenes import paint, scene_of
from pipeline.demo.synta.shapes import KINDS, REST
from pipeline.store.atomic import StageError

_STREAMS = ("length", "motion", "looks", "camera", "scene")
_LOOKS = 5  # bodies and what one of them turns into
_TRIES = 50
_LIGHT = {"front": unit((-0.35, -0.85, 0.4)), "ground": unit((-0.45, -0.6, 0.75))}
# Digits that are kept of sines, cosines and powers: their last ones differ between processors.
_DIGITS = 9
# Of every body in every frame.
_TRUTH = {"tracks": (6,), "position": (3,), "scale": (), "value": (), "box": (4,), "visible": ()}


@dataclass
class Rendered:
    """A clip with its truth; F frames, N bodies.

    Attributes:
        frames: uint8 ``[F, H, W, 3]``.
        ids: uint8 ``[F, H, W]``: 0 for the background, else one more than the body's number.
        tracks: float32 ``[F, N, 6]``: x, y in pixels, radius in pixels, α, hue in [0, 1), whether it is there at all.
        position: float32 ``[F, N, 3]``; scale, value: float32 ``[F, N]``.
        box: float32 ``[F, N, 4]``: x0, y0, x1, y1 of its whole outline, zeros where it is out of the picture.
        visible: float32 ``[F, N]``: seen part of its outline.
        shape: uint8 ``[F, N]``: index into `shapes.KINDS`.
        about: parameters of the clip.
    """

    frames: np.ndarray
    ids: np.ndarray
    tracks: np.ndarray
    position: np.ndarray
    scale: np.ndarray
    value: np.ndarray
    box: np.ndarray
    visible: np.ndarray
    shape: np.ndarray
    about: dict


def _stream(seed: int, clip: Clip, name: str, attempt: int = 0) -> np.random.Generator:
    coarse, n = REVERSED.get((clip.coarse, clip.n), (clip.coarse, clip.n))
    key = [seed, COARSE.index(coarse), n, clip.id, VIEWS.index(clip.view)]
    spawn = (_STREAMS.index(name), attempt)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key, spawn_key=spawn)))


def colour_of(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """HSV in [0, 1] as RGB in 0–255."""
    sixth = 6.0 * (hue - math.floor(hue))
    red, green, blue = (255.0 * value * (1.0 - saturation * (1.0 - _share(sixth, at))) for at in (0.0, 2.0, 4.0))
    return round(red, 6), round(green, 6), round(blue, 6)


def _share(sixth: float, at: float) -> float:
    """Share of a primary at a sixth of the colour circle: 1 around it, 0 opposite."""
    away = abs(sixth - at)
    away = min(away, 6.0 - away)
    return min(max(2.0 - away, 0.0), 1.0)


def camera_of(settings: Synta, clip: Clip) -> Camera:
    """The clip's camera: azimuth 75–105° by 5°, in front of the wall or above the ground."""
    rng = _stream(settings.seed, clip, "camera")
    azimuth = math.radians(float(rng.choice([75, 80, 85, 90, 95, 100, 105])))
    part = float(rng.uniform())
    if clip.view == "front":
        away = settings.distance
        low, high = away / 6, away / 3  # the release: 5–10 from 30 away
        eye, at = (away * math.cos(azimuth), -away * math.sin(azimuth), low + (high - low) * part), (0.0, 0.0, 1.2)
    else:
        eye, at = (12 * math.cos(azimuth), -12 * math.sin(azimuth), 5 + 10 * part), (0.0, 0.0, 0.4)
    return Camera(tuple(round(x, _DIGITS) for x in eye), at, settings.size)


def space_of(camera: Camera, view: str) -> motions.Space:
    away = tuple(camera.eye[k] - (0.0, 0.0, 1.2)[k] for k in range(3))
    towards = unit((away[0], away[1], 0.0))
    distance = math.sqrt(sum(x * x for x in away))
    return motions.Space(view, HALF * distance, towards, (-towards[1], towards[0], 0.0), unit(away))


@dataclass(frozen=True)
class _Looks:
    """Of the bodies of a clip: kinds, turns about z as cosine and sine, and colours as hue, saturation, value."""

    kinds: list[str]
    turns: list[tuple[float, float]]
    colours: np.ndarray


def looks_of(settings: Synta, clip: Clip) -> _Looks:
    rng = _stream(settings.seed, clip, "looks")
    which, first = rng.integers(0, 4, _LOOKS), float(rng.uniform())
    angles = rng.uniform(-0.5, 0.5, _LOOKS)
    tones = rng.uniform(0, 1, (_LOOKS, 3))
    shapes = SHAPES[clip.shape_set]
    kinds = [shapes[k] for k in which]
    if clip.coarse == "changing shape":
        named = motions.TARGETS.get(clip.n)
        others = [shape for shape in shapes if shape != kinds[0]]
        kinds[1] = others[int(which[1]) % len(others)]
        if named:
            kinds[0] = [shape for shape in shapes if shape != named][int(which[0]) % len(set(shapes) - {named})]
            kinds[1] = named
    if (clip.coarse, clip.n) == ("occlusion", 2) and kinds[0] == "torus":
        kinds[0] = "sphere"  # through a ring the small body would be seen
    hues = first + np.arange(_LOOKS) / 4 + 0.1 * (tones[:, 0] - 0.5)
    colours = np.stack([hues - np.floor(hues), 0.6 + 0.35 * tones[:, 1], 0.65 + 0.33 * tones[:, 2]], 1)
    turns = [(round(math.cos(x), _DIGITS), round(math.sin(x), _DIGITS)) for x in angles]
    return _Looks(kinds, turns, colours)


def _colour(looks: _Looks, state: motions.State, body: int) -> tuple[float, float, float]:
    """Hue, saturation and value of a body: its own, or on the way from one body's to another's."""
    low = int(state.colour[body])
    part = float(state.colour[body]) - low
    first, second = looks.colours[low], looks.colours[min(low + 1, _LOOKS - 1)]
    hue, saturation, value = first * (1 - part) + second * part
    return hue + float(state.hue[body]), saturation, value * float(state.value[body])


def _bodies(state: motions.State, looks: _Looks, view: str) -> list[list[Body]]:
    """Of every body what is drawn: one, two where it turns into another shape, none where it is not there."""
    found = []
    for body in range(len(state.scale)):
        scale, alpha, mix = (round(float(part[body]), _DIGITS) for part in (state.scale, state.alpha, state.mix))
        x, y, z = (round(float(part), _DIGITS) for part in state.position[body])
        drawn = []
        for which, share in ((state.shape[body], 1 - mix), (state.second[body], mix)):
            if alpha * share > 0:
                kind = looks.kinds[int(which)]
                height = z + REST[kind] * scale if view == "ground" else z
                colour = colour_of(*_colour(looks, state, body))
                turn = looks.turns[int(state.shape[body])]
                drawn.append(Body(kind, (x, y, round(height, _DIGITS)), scale, turn, colour, alpha * share, body))
        found.append(drawn)
    return found


def _states(settings: Synta, clip: Clip, space: motions.Space, n_frames: int, attempt: int) -> list[motions.State]:
    coarse, n = REVERSED.get((clip.coarse, clip.n), (clip.coarse, clip.n))
    found = motions.motion(coarse, n, _stream(settings.seed, clip, "motion", attempt), space)
    return [found(frame / (n_frames - 1)) for frame in range(n_frames)]


def _all_seen(camera: Camera, states: list[motions.State], drawn: list[list[list[Body]]]) -> bool:
    """Whether every body is in the picture in a tenth of the frames."""
    size = camera.size
    for body in range(len(states[0].scale)):
        seen = 0
        for frame in drawn:
            for item in frame[body][:1]:
                x, y, depth = camera.project(item.position)
                seen += depth > 0.5 and 0 <= x < size and 0 <= y < size and item.alpha > 0.25
        if seen < max(2, len(drawn) // 10):
            return False
    return True


def length_of(settings: Synta, clip: Clip) -> int:
    """Frames of a clip."""
    rng = _stream(settings.seed, clip, "length")
    return int(rng.integers(settings.frames[0], settings.frames[1] + 1))


def render(settings: Synta, clip: Clip) -> Rendered:
    """Render a clip. The same settings and clip give the same bytes everywhere.

    Raises:
        StageError: no draw of its motion keeps every body in the picture.
    """
    n_frames = length_of(settings, clip)
    camera = camera_of(settings, clip)
    space, looks = space_of(camera, clip.view), looks_of(settings, clip)
    for attempt in range(_TRIES):
        states = _states(settings, clip, space, n_frames, attempt)
        drawn = [_bodies(state, looks, clip.view) for state in states]
        if _all_seen(camera, states, drawn):
            break
    else:
        raise StageError(
            f"{clip.path}: after {_TRIES} draws some body never enters the picture; raise demo.synta.distance"
        )
    rng = _stream(settings.seed, clip, "scene")
    grey, shift = float(rng.uniform(60, 200)), tuple(rng.uniform(-5, 5, 2).tolist())
    points = plane_points(camera, clip.view)
    flat = points[0], points[2 if clip.view == "front" else 1]
    scene = scene_of(clip.scene_set, clip.id)
    plain = np.full((camera.size, camera.size, 3), grey)
    picture = plain if clip.background == "plain" else paint(scene, *flat, shift)
    stage = Stage(camera, picture, points, _LIGHT[clip.view])
    count = len(states[0].scale)
    frames, ids = [], []
    truth = {name: np.zeros((n_frames, count, *shape), np.float32) for name, shape in _TRUTH.items()}
    shape = np.zeros((n_frames, count), np.uint8)
    for number, (state, bodies) in enumerate(zip(states, drawn, strict=True)):
        frame, labels, seen = stage.frame([item for body in bodies for item in body])
        frames.append(frame)
        ids.append(labels)
        for body, items in enumerate(bodies):
            truth["position"][number, body], truth["scale"][number, body] = state.position[body], state.scale[body]
            hue, _, value = _colour(looks, state, body)
            truth["value"][number, body] = value
            if not items:
                continue
            x, y, depth = camera.project(items[0].position)
            alpha = sum(item.alpha for item in items)
            radius = camera.radius(items[0].scale, depth) if depth > 0.5 else 0.0
            truth["tracks"][number, body] = x, y, radius, alpha, hue - math.floor(hue), 1.0
            kind = max(items, key=lambda item: item.alpha).kind
            shape[number, body] = KINDS.index(kind)
            if body in seen:
                truth["visible"][number, body], truth["box"][number, body] = seen[body]
    backward = slice(None, None, -1 if (clip.coarse, clip.n) in REVERSED else 1)
    return Rendered(
        np.stack(frames)[backward],
        np.stack(ids)[backward],
        **{name: values[backward] for name, values in truth.items()},
        shape=shape[backward],
        about={"scene": scene, "shapes": looks.kinds[:count], "attempt": attempt, "eye": list(camera.eye)},
    )
