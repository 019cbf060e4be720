"""From a clip's seed to its frames, key points and masks.

Every factor of a clip (motion, object, scene, actor, viewpoint, colours, ...) has its own random
stream, spawned from the clip's seed, so that no factor tells anything about another one, and
fixing one factor leaves the others as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.demo.figure import (
    ELBOWS,
    FPS,
    HANDS,
    MOTIONS,
    WRISTS,
    MotionStyle,
    PaintingStep,
    PersonDrawing,
    Skeleton,
    View,
    actor_body,
    perform,
)
from pipeline.demo.scenery import (
    OBJECT_KINDS,
    OBJECTS,
    SCENES,
    Sprite,
    draw_object,
    draw_occluder,
    draw_scene,
    paint_sprite,
)

DEMO_SEEDS = range(1_000_000)
TRAINING_SEEDS = range(10_000_000, 2_000_000_000)
POOL_ACTORS = range(12)
UNSEEN_ACTORS = range(100, 1000)
TRAINING_ACTORS = range(1000, 9000)

_STREAMS = (
    "motion",
    "object",
    "scene",
    "actor",
    "length",
    "style",
    "view",
    "place",
    "outfit",
    "object_look",
    "object_place",
    "layout",
    "camera",
    "light",
    "noise",
    "occluder",
)
_PERSON, _OBJECT, _OCCLUDER = 1, 2, 3
_MARGIN = 0.06  # of the frame, drawn beyond each edge for the camera's shake
_HELD_FRACTION = 0.7
_OCCLUDED_FRACTION = 0.25


@dataclass(frozen=True)
class ClipSpec:
    """What a clip shows. All else (viewpoint, colours, layout, ...) follows from `seed`.

    Attributes:
        apart: the object is in nobody's hand, and stands at that border of the frame that is farther from the person.
    """

    seed: int
    motion: str
    object: str
    scene: str
    actor: int
    n_frames: int
    apart: bool = False


@dataclass
class RenderedClip:
    """Frames of a clip with their ground truth; F is the number of rendered frames.

    Attributes:
        frames: uint8 RGB `[F, H, W, 3]`.
        keypoints: float32 `[F, 17, 2]`, (x, y) in pixels, COCO order, left = the person's own.
        visible: bool `[F, 17]`, False where the object or an occluder hides the key point or it
            is outside the frame (the body itself never counts as hiding).
        person_mask, object_mask: bool `[F, H, W]`, visible pixels.
    """

    spec: ClipSpec
    frames: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray
    person_mask: np.ndarray
    object_mask: np.ndarray


def _stream(seed: int, name: str) -> np.random.Generator:
    """One of the streams of a seed; the workflow plans hundreds of clips while it is parsed, and draws from few."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_STREAMS.index(name),))))


def _streams(seed: int) -> dict[str, np.random.Generator]:
    return {name: _stream(seed, name) for name in _STREAMS}


def sample_spec(
    seed: int,
    *,
    motion: str | None = None,
    object: str | None = None,
    scene: str | None = None,
    actor: int | None = None,
    n_frames: int | None = None,
) -> ClipSpec:
    """Draws what a clip shows; what is given stays as given and does not change the other draws.

    Undrawn factors are uniform over the vocabulary, the actor over those for encoder training,
    the length over 38 to 75 frames (1.5 to 3 s).
    """

    def drawn(name: str, low: int, high: int) -> int:
        return int(_stream(seed, name).integers(low, high))

    return ClipSpec(
        seed=seed,
        motion=MOTIONS[drawn("motion", 0, len(MOTIONS))] if motion is None else motion,
        object=OBJECTS[drawn("object", 0, len(OBJECTS))] if object is None else object,
        scene=SCENES[drawn("scene", 0, len(SCENES))] if scene is None else scene,
        actor=drawn("actor", TRAINING_ACTORS.start, TRAINING_ACTORS.stop) if actor is None else actor,
        n_frames=drawn("length", 38, 76) if n_frames is None else n_frames,
    )


def _smooth_path(rng: np.random.Generator, n_frames: int, amplitude: float) -> np.ndarray:
    """A smooth random path [n_frames, 2] about zero, within about `amplitude`."""
    seconds = np.arange(n_frames) / FPS
    path = np.zeros((n_frames, 2))
    for axis in (0, 1):
        for _ in range(3):
            frequency, phase = rng.uniform(0.2, 2.2), rng.uniform(0, 2 * np.pi)
            path[:, axis] += np.sin(2 * np.pi * frequency * seconds + phase) / 3
    return amplitude * path


class _HeldObject:
    """Where the object is in each frame: in a hand, in both hands, or beside the person."""

    def __init__(self, spec: ClipSpec, person: PersonDrawing, view: View, size: int, streams: dict) -> None:
        kind = OBJECT_KINDS[spec.object]
        look, place = streams["object_look"], streams["object_place"]
        pixels = size * look.uniform(*kind.extent)
        self.sprite = draw_object(spec.object, pixels, look)
        held = place.uniform() < _HELD_FRACTION
        hand_side = int(place.integers(2))
        tilt, offset = place.uniform(-18, 18), place.uniform(0.24, 0.38)
        in_front, beside = place.uniform() < 0.5, place.choice([-1.0, 1.0])
        depth_offset = place.uniform(-0.03, 0.05)
        n_frames = spec.n_frames
        self.stretch = 1.0
        self.anchor = kind.grip
        if spec.apart or not (held and kind.holdable):
            x = view.foot[0, 0] + beside * offset * size
            # To the other side rather than out of the frame.
            if not pixels / 2 < x < size - pixels / 2:
                x = view.foot[0, 0] - beside * offset * size
            x = np.clip(x, pixels / 2, size - pixels / 2)
            if spec.apart:
                x = pixels / 2 if view.foot[0, 0] > size / 2 else size - pixels / 2
            self.positions = view.foot + np.array([x - view.foot[0, 0], depth_offset * size])
            self.positions[:, 1] = np.minimum(self.positions[:, 1], 0.99 * size)
            self.degrees = np.full(n_frames, 0.15 * tilt)
            self.anchor = (0.5, kind.base)
            self.nearness = np.full(n_frames, 1.0 if in_front else -1.0)
            return
        both = kind.two_handed and spec.motion in ("lift", "squat")
        hands, wrists = person.points[:, HANDS], person.points[:, WRISTS]
        elbows = person.points[:, ELBOWS]
        if both:
            self.positions = hands.mean(axis=1)
            across = hands[:, 0] - hands[:, 1]  # [n_frames, 2]
            level = np.degrees(np.arctan2(across[:, 1], across[:, 0]))
            self.degrees = np.where(np.hypot(*across.T) > 0.1 * size, level, 0.0)
            self.nearness = person.nearness[:, HANDS].mean(axis=1)
            self.anchor = (0.5, 0.5)
        else:
            self.positions = hands[:, hand_side]
            forearm = wrists[:, hand_side] - elbows[:, hand_side]
            # The angle from the sprite's upright axis to the forearm's direction.
            angle = np.degrees(np.arctan2(forearm[:, 0], -forearm[:, 1]))
            # What only leans with the arm must not turn upside down when the arm hangs.
            lean = angle if kind.follow == 1 else 90 * np.sin(np.radians(angle))
            self.degrees = kind.follow * lean + tilt
            self.nearness = person.nearness[:, HANDS[hand_side]]
        if spec.object == "barbell":
            self.stretch = max(0.65, float(np.cos(np.radians(view.yaw))))

    def layer(self, frame: int) -> PaintingStep:
        def paint(image: np.ndarray, labels: np.ndarray) -> None:
            paint_sprite(
                image,
                labels,
                _OBJECT,
                self.sprite,
                self.anchor,
                self.positions[frame],
                float(self.degrees[frame]),
                self.stretch,
            )

        return (float(self.nearness[frame]), paint)


def _passing_occluder(
    spec: ClipSpec, view: View, size: int, rng: np.random.Generator
) -> tuple[Sprite, np.ndarray] | None:
    """An occluder's sprite and its bottom-centre positions [n_frames, 2], or None."""
    present = rng.uniform() < _OCCLUDED_FRACTION
    direction, speed = rng.choice([-1.0, 1.0]), rng.uniform(0.35, 0.9)  # frame widths per second
    crossing = rng.uniform(0.15, 0.85) * spec.n_frames
    if not present:
        return None
    sprite = draw_occluder(size, rng)
    frames = np.arange(spec.n_frames)
    x = view.foot[:, 0] + direction * speed * size * (frames - crossing) / FPS
    return sprite, np.stack([x, np.full(spec.n_frames, 1.03 * size)], axis=-1)


def performed(spec: ClipSpec) -> Skeleton:
    """How the person of a clip moves in space, before any camera sees it."""
    rng = _stream(spec.seed, "style")
    style = MotionStyle(
        rate=rng.uniform(),
        amplitude=rng.uniform(0.82, 1.1),
        phase=rng.uniform(),
        side=int(rng.integers(2)),
        variant=rng.uniform(),
    )
    return perform(actor_body(spec.actor), spec.motion, style, spec.n_frames)


def render(spec: ClipSpec, size: int = 128, frame_indices: Sequence[int] | None = None) -> RenderedClip:
    """Renders a clip, or only the frames `frame_indices` of it, at `size` x `size` pixels.

    The same spec and size always give the same bytes, and a frame does not depend on which other
    frames are rendered.

    Raises:
        ValueError: if the spec names an unknown motion, object or scene.
        IndexError: if a frame index is outside [0, n_frames).
    """
    indices = list(range(spec.n_frames) if frame_indices is None else frame_indices)
    outside = [index for index in indices if not 0 <= index < spec.n_frames]
    if outside:
        raise IndexError(f"frame {outside[0]} is outside this clip of {spec.n_frames} frames")
    streams = _streams(spec.seed)

    body = actor_body(spec.actor)
    outfit = body.outfits[int(streams["outfit"].integers(len(body.outfits)))]
    camera, place = streams["camera"], streams["place"]
    shake = _smooth_path(camera, spec.n_frames, amplitude=size * camera.uniform(0, 0.02))
    height = size * place.uniform(0.58, 0.8) * body.stature
    foot = size * np.array([place.uniform(0.38, 0.62), place.uniform(0.88, 0.95)])
    view = View(
        yaw=streams["view"].uniform(-60, 60),
        pitch=streams["view"].uniform(-3, 12),
        height=height,
        foot=foot + shake,
    )
    person = PersonDrawing(body, outfit, performed(spec), view)
    held = _HeldObject(spec, person, view, size, streams)
    occluder = _passing_occluder(spec, view, size, streams["occluder"])

    margin = int(np.ceil(_MARGIN * size))
    scene = draw_scene(spec.scene, size + 2 * margin, streams["layout"])
    light = streams["light"]
    gain = light.uniform(0.8, 1.15) * light.uniform(0.95, 1.05, 3)
    bias = light.uniform(-14, 14)
    sigma = streams["noise"].uniform(0.5, 4.5)
    bank = _noise_bank(size)
    corners = streams["noise"].integers(0, bank.shape[0] - size + 1, (spec.n_frames, 2))

    n = len(indices)
    frames = np.empty((n, size, size, 3), np.uint8)
    all_labels = np.zeros((n, size, size), np.uint8)
    for row, frame in enumerate(indices):
        dx, dy = shake[frame]
        shift = np.array([[1.0, 0.0, dx - margin], [0.0, 1.0, dy - margin]])
        image = cv2.warpAffine(scene, shift, (size, size), borderMode=cv2.BORDER_REPLICATE)
        labels = all_labels[row]
        _shadow(image, view.foot[frame], height)
        steps = person.layers(frame)
        steps.append(held.layer(frame))
        for _, paint in sorted(steps, key=lambda step: step[0]):
            paint(image, labels)
        if occluder is not None:
            sprite, positions = occluder
            paint_sprite(image, labels, _OCCLUDER, sprite, (0.5, 1.0), positions[frame])
        y, x = corners[frame]
        exposed = image * gain.astype(np.float32) + np.float32(bias)
        exposed += np.float32(sigma) * bank[y : y + size, x : x + size]
        frames[row] = np.clip(exposed, 0, 255)
    keypoints = person.keypoints[indices]
    return RenderedClip(
        spec=spec,
        frames=frames,
        keypoints=keypoints,
        visible=_visible(keypoints, all_labels),
        person_mask=all_labels == _PERSON,
        object_mask=all_labels == _OBJECT,
    )


def _shadow(image: np.ndarray, foot: np.ndarray, height: float) -> None:
    """Darkens the ground under the person."""
    half_x, half_y = 0.2 * height, 0.045 * height
    size = image.shape[0]
    x0, x1 = max(0, int(foot[0] - half_x)), min(size, int(foot[0] + half_x) + 1)
    y0, y1 = max(0, int(foot[1] - half_y)), min(size, int(foot[1] + half_y) + 1)
    if x1 <= x0 or y1 <= y0:
        return
    ys, xs = np.ogrid[y0:y1, x0:x1]
    distance = ((xs - foot[0]) / half_x) ** 2 + ((ys - foot[1]) / half_y) ** 2
    darkness = (0.45 * np.clip(1 - distance, 0, 1))[..., None].astype(np.float32)
    image[y0:y1, x0:x1] = (image[y0:y1, x0:x1] * (1 - darkness)).astype(np.uint8)


_noise_banks: dict[int, np.ndarray] = {}


def _noise_bank(size: int) -> np.ndarray:
    """Unit sensor noise, larger than a frame: each frame shows a random part of it.

    Drawing fresh noise for every frame would cost as much as the rest of the picture.
    """
    if size not in _noise_banks:
        rng = np.random.default_rng(np.random.SeedSequence([7002, size]))
        _noise_banks[size] = rng.standard_normal((size + 64, size + 64, 3), dtype=np.float32)
    return _noise_banks[size]


def _visible(keypoints: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which key points [F, 17, 2] lie in the frame and not under the object or an occluder."""
    size = labels.shape[1]
    x, y = np.round(np.moveaxis(keypoints, -1, 0)).astype(int)  # each [F, 17]
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    rows = np.arange(len(labels))[:, None]
    under = labels[rows, np.clip(y, 0, size - 1), np.clip(x, 0, size - 1)]
    return inside & (under != _OBJECT) & (under != _OCCLUDER)
