"""A 3D articulated person: body shapes, periodic motions, viewpoint, projection and drawing.

Body coordinates are x = the person's own left, y = up, z = the direction the person faces, in
units of the body height, with the ground at y = 0. An unturned person faces the camera, so the
person's left is on the right-hand side of the picture. Image coordinates are pixels.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

FPS = 25

# Joints that the drawing needs beside the 17 COCO keypoints; paired joints are (left, right).
NECK, HEAD = 17, 18
HANDS, TOES = (19, 20), (21, 22)
SHOULDERS, ELBOWS, WRISTS = (5, 6), (7, 8), (9, 10)
HIPS, KNEES, ANKLES = (11, 12), (13, 14), (15, 16)
N_JOINTS = 23

Colour = tuple[int, int, int]

_ACTOR_STREAM = 7001
_ANKLE_HEIGHT = 0.045
_CAMERA_DISTANCE = 6.0
_SIDE_SIGN = np.array([1.0, -1.0])  # left, right


def hsv_colour(
    rng: np.random.Generator,
    hue: tuple[float, float] = (0.0, 1.0),
    saturation: tuple[float, float] = (0.4, 0.95),
    value: tuple[float, float] = (0.35, 0.95),
) -> Colour:
    """Draws an RGB colour uniformly from a box in HSV space (each range within [0, 1])."""
    h, s, v = rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value)
    red, green, blue = colorsys.hsv_to_rgb(h % 1.0, s, v)
    return (round(red * 255), round(green * 255), round(blue * 255))


def scale_colour(colour: Colour, factor: float) -> Colour:
    """Multiplies an RGB colour by `factor`, clipped to [0, 255]."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return (red, green, blue)


@dataclass(frozen=True)
class Outfit:
    """Colours and cut of one set of clothes."""

    top: Colour
    bottom: Colour
    shoes: Colour
    long_sleeves: bool
    long_trousers: bool


@dataclass(frozen=True)
class Body:
    """One actor's body shape, in units of the body height, and looks.

    Radii are half widths of the limbs at (start, end). `stature` scales the height in the picture.
    """

    stature: float
    shoulder_half_width: float
    hip_half_width: float
    torso: float
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    head_radius: float
    torso_radius: float
    limb_width: float
    skin: Colour
    hair: Colour
    long_hair: bool
    outfits: tuple[Outfit, ...]


def actor_body(actor: int) -> Body:
    """Returns the body shape and the palette of clothes that belong to an actor id (>= 0)."""
    rng = np.random.default_rng(np.random.SeedSequence([_ACTOR_STREAM, actor]))
    width = rng.uniform(0.85, 1.25)
    leg = rng.uniform(0.95, 1.05)
    skin_tone = rng.uniform()
    light, dark = np.array([246, 208, 178.0]), np.array([98, 62, 42.0])
    red, green, blue = (round(c) for c in light + (dark - light) * skin_tone)
    hair_colours = [(30, 24, 22), (74, 46, 28), (120, 78, 40), (206, 168, 96), (150, 60, 30)]
    hair = hair_colours[int(rng.integers(len(hair_colours)))]
    outfits = []
    for _ in range(3):
        top = hsv_colour(rng, saturation=(0.05, 0.4), value=(0.25, 0.95))
        bottom = hsv_colour(rng, saturation=(0.05, 0.35), value=(0.15, 0.75))
        shoes = hsv_colour(rng, saturation=(0.0, 0.5), value=(0.08, 0.95))
        outfits.append(Outfit(top, bottom, shoes, rng.uniform() < 0.45, rng.uniform() < 0.6))
    return Body(
        stature=rng.uniform(0.94, 1.06),
        shoulder_half_width=0.112 * rng.uniform(0.9, 1.15),
        hip_half_width=0.062 * rng.uniform(0.9, 1.2),
        torso=0.285 * rng.uniform(0.95, 1.05),
        upper_arm=0.168 * rng.uniform(0.93, 1.07),
        forearm=0.148 * rng.uniform(0.93, 1.07),
        thigh=0.242 * leg,
        shin=0.238 * leg,
        head_radius=0.068 * rng.uniform(0.95, 1.12),
        torso_radius=0.05 * width,
        limb_width=width,
        skin=(red, green, blue),
        hair=hair,
        long_hair=rng.uniform() < 0.4,
        outfits=tuple(outfits),
    )


@dataclass(frozen=True)
class MotionStyle:
    """How one performance of a motion differs from another.

    `rate` is a position in [0, 1] within the motion's range of cycles per second, `amplitude` a
    factor near 1, `phase` in cycles, `side` the leading side (0 left, 1 right), `variant` a
    number in [0, 1] that picks the manner (for instance where the arms are during a squat).
    """

    rate: float
    amplitude: float
    phase: float
    side: int
    variant: float


class _Pose:
    """Joint angles in degrees over time, relative to the vertical.

    Limb arrays are `[n_frames, 2 sides, (abduction, flexion)]`: abduction swings a limb outwards,
    flexion forwards; 0 hangs down and 180 points up.
    """

    def __init__(self, n_frames: int) -> None:
        def limb(abduction: float, flexion: float) -> np.ndarray:
            return np.tile(np.array([abduction, flexion], dtype=float), (n_frames, 2, 1))

        self.upper_arm = limb(13, 4)
        self.forearm = limb(7, 14)
        self.thigh = limb(5, 1)
        self.shin = limb(3, -1)
        self.lean = np.zeros(n_frames)
        self.twist = np.zeros(n_frames)
        self.jump = np.zeros(n_frames)
        self.anchor_feet = False


def _ease(cycle: np.ndarray) -> np.ndarray:
    """0 at whole cycles, 1 at half cycles, smooth between."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * cycle)


def _between(start: float, end: float, weight: np.ndarray) -> np.ndarray:
    return start + (end - start) * weight


def _both(values: np.ndarray) -> np.ndarray:
    return values[:, None]  # [n_frames, 1], broadcast over the two sides


def _lift(pose: _Pose, cycle: np.ndarray, style: MotionStyle) -> None:
    raised = _ease(cycle) * min(1.0, style.amplitude)
    pose.upper_arm[..., 0] = _both(_between(30, 158, raised))
    pose.upper_arm[..., 1] = _both(_between(14, 4, raised))
    pose.forearm[..., 0] = _both(_between(166, 178, raised))
    pose.forearm[..., 1] = _both(_between(-14, -4, raised))
    pose.thigh[..., 1] = _both(_between(9, 1, raised))
    pose.shin[..., 1] = _both(_between(-9, -1, raised))
    pose.thigh[..., 0] = 9


def _squat(pose: _Pose, cycle: np.ndarray, style: MotionStyle) -> None:
    depth = _ease(cycle) * style.amplitude
    pose.thigh[..., 0] = _both(_between(9, 20, depth))
    pose.thigh[..., 1] = _both(_between(2, 88, depth))
    pose.shin[..., 0] = _both(_between(6, -4, depth))
    pose.shin[..., 1] = _both(_between(-2, -30, depth))
    pose.lean[:] = _between(2, 36, depth)
    pose.anchor_feet = True
    if style.variant < 0.5:  # arms swing forwards as a counterweight
        pose.upper_arm[..., 1] = _both(_between(10, 82, depth))
        pose.forearm[..., 1] = _both(_between(20, 88, depth))
        pose.forearm[..., 0] = 0
    else:  # hands stay before the chest
        pose.upper_arm[..., 0], pose.upper_arm[..., 1] = 18, 38
        pose.forearm[..., 0], pose.forearm[..., 1] = -22, 112


def _wave(pose: _Pose, cycle: np.ndarray, style: MotionStyle) -> None:
    swing = np.sin(2 * np.pi * cycle)
    arm = style.side
    pose.upper_arm[:, arm, 0] = 112 + 22 * style.variant + 7 * swing
    pose.upper_arm[:, arm, 1] = 8
    pose.forearm[:, arm, 0] = 170 - 38 * style.amplitude * swing
    pose.forearm[:, arm, 1] = 0


def _kick(pose: _Pose, cycle: np.ndarray, style: MotionStyle) -> None:
    swing = _ease(cycle) ** 1.5
    leg, stand = style.side, 1 - style.side
    pose.thigh[:, leg, 0] = _between(6, 14, swing)
    pose.thigh[:, leg, 1] = _between(-24, 92 * style.amplitude, swing)
    pose.shin[:, leg, 0] = _between(4, 12, swing)
    pose.shin[:, leg, 1] = _between(-80, 84 * style.amplitude, swing)
    pose.thigh[:, stand, 1], pose.shin[:, stand, 1] = 7, -7
    pose.lean[:] = _between(6, -14, swing)
    pose.upper_arm[:, leg, 0] = pose.upper_arm[:, stand, 0] = 30
    pose.upper_arm[:, leg, 1] = _between(30, -35, swing)
    pose.forearm[:, leg, 1] = _between(60, -15, swing)
    pose.upper_arm[:, stand, 1] = _between(-25, 45, swing)
    pose.forearm[:, stand, 1] = _between(0, 85, swing)


def _jumping_jack(pose: _Pose, cycle: np.ndarray, style: MotionStyle) -> None:
    spread = _ease(cycle)
    pose.upper_arm[..., 0] = _both(_between(14, 160, spread))
    pose.upper_arm[..., 1] = 3
    pose.forearm[..., 0] = _both(_between(10, 172, spread))
    pose.forearm[..., 1] = 3
    pose.thigh[..., 0] = _both(_between(3, 27 * style.amplitude, spread))
    pose.shin[..., 0] = _both(_between(3, 27 * style.amplitude, spread))
    pose.jump[:] = 0.055 * style.amplitude * np.sin(2 * np.pi * cycle) ** 2


def _march(pose: _Pose, cycle: np.ndarray, style: MotionStyle) -> None:
    for side in (0, 1):
        step = np.clip(np.sin(2 * np.pi * (cycle + 0.5 * side)), 0, None)
        other = np.sin(2 * np.pi * (cycle + 0.5 * side))
        pose.thigh[:, side, 1] = _between(2, 80 * style.amplitude, step)
        pose.shin[:, side, 1] = _between(-2, -22, step)
        pose.upper_arm[:, side, 1] = -38 * style.amplitude * other
        pose.forearm[:, side, 1] = 48 - 42 * style.amplitude * other


def _bow(pose: _Pose, cycle: np.ndarray, style: MotionStyle) -> None:
    depth = _ease(cycle)
    pose.lean[:] = _between(0, 78 * style.amplitude, depth)
    pose.thigh[..., 1] = _both(_between(0, 9, depth))
    pose.shin[..., 1] = _both(_between(0, 6, depth))
    pose.upper_arm[..., 1] = _both(_between(0, 12, depth))
    pose.forearm[..., 1] = _both(_between(8, 16, depth))
    pose.anchor_feet = True


def _punch(pose: _Pose, cycle: np.ndarray, style: MotionStyle) -> None:
    pose.thigh[:, style.side, 1], pose.shin[:, style.side, 1] = 22, 8
    pose.thigh[:, 1 - style.side, 1], pose.shin[:, 1 - style.side, 1] = -4, -26
    for side in (0, 1):
        thrust = np.clip(np.sin(2 * np.pi * (cycle + 0.5 * side)), 0, None) ** 1.3
        reach = np.clip(style.amplitude, 0, 1.05) * thrust
        pose.upper_arm[:, side, 0] = _between(16, 4, thrust)
        pose.upper_arm[:, side, 1] = _between(22, 88, reach)
        pose.forearm[:, side, 0] = _between(-14, -5, thrust)
        pose.forearm[:, side, 1] = _between(142, 90, reach)
        pose.twist -= _SIDE_SIGN[side] * 26 * thrust
    pose.lean[:] = 6


_MOTIONS: dict[str, tuple[Callable[[_Pose, np.ndarray, MotionStyle], None], float, float]] = {
    # name: (joint angles over time, slowest and fastest rate in cycles per second)
    "lift": (_lift, 0.6, 1.05),
    "squat": (_squat, 0.55, 0.95),
    "wave": (_wave, 1.2, 2.0),
    "kick": (_kick, 0.7, 1.15),
    "jumping jack": (_jumping_jack, 0.8, 1.3),
    "march": (_march, 0.8, 1.3),
    "bow": (_bow, 0.5, 0.8),
    "punch": (_punch, 0.8, 1.4),
}
MOTIONS: tuple[str, ...] = tuple(_MOTIONS)


@dataclass(frozen=True)
class Skeleton:
    """Joints over time `[n_frames, 23, 3]` and the head's axes `[n_frames, 3]`."""

    joints: np.ndarray
    head_up: np.ndarray
    head_forward: np.ndarray


def _directions(angles: np.ndarray) -> np.ndarray:
    """Unit vectors [n_frames, 2, 3] of limbs from angles [n_frames, 2, 2] in degrees."""
    abduction, flexion = np.moveaxis(np.radians(angles), -1, 0)  # each [n_frames, 2]
    return np.stack(
        [
            _SIDE_SIGN * np.sin(abduction),
            -np.cos(abduction) * np.cos(flexion),
            np.cos(abduction) * np.sin(flexion),
        ],
        axis=-1,
    )


def _turn(vectors: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Turns vectors [n_frames, k, 3] about the vertical, +x towards +z for negative angles."""
    cos, sin = np.cos(np.radians(degrees))[:, None], np.sin(np.radians(degrees))[:, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.stack([x * cos + z * sin, y, z * cos - x * sin], axis=-1)


def perform(body: Body, motion: str, style: MotionStyle, n_frames: int) -> Skeleton:
    """Moves a body through a motion for `n_frames` at 25 frames per second.

    Raises:
        ValueError: if `motion` is not one of `MOTIONS`.
    """
    if motion not in _MOTIONS:
        raise ValueError(f"unknown motion {motion!r}; known motions are {', '.join(MOTIONS)}")
    angles, slowest, fastest = _MOTIONS[motion]
    cycles_per_second = slowest + (fastest - slowest) * style.rate
    cycle = style.phase + cycles_per_second * np.arange(n_frames) / FPS
    pose = _Pose(n_frames)
    angles(pose, cycle, style)

    joints = np.zeros((n_frames, N_JOINTS, 3))
    lean = np.radians(pose.lean)
    zeros = np.zeros(n_frames)
    spine = np.stack([zeros, np.cos(lean), np.sin(lean)], axis=-1)  # [n_frames, 3]
    spine = _turn(spine[:, None], pose.twist)[:, 0]
    across = _turn(np.tile([1.0, 0.0, 0.0], (n_frames, 1, 1)), pose.twist)[:, 0]
    half = _SIDE_SIGN[None, :, None]

    hips = half * body.hip_half_width * np.array([1.0, 0.0, 0.0])  # [1, 2, 3]
    joints[:, HIPS] = hips
    joints[:, KNEES] = joints[:, HIPS] + body.thigh * _directions(pose.thigh)
    shin = _directions(pose.shin)
    joints[:, ANKLES] = joints[:, KNEES] + body.shin * shin
    # The foot is at a right angle to the shin, in the plane of flexion, but never points down.
    toe = np.stack([0.25 * _SIDE_SIGN + 0 * shin[..., 0], shin[..., 2], -shin[..., 1]], axis=-1)
    joints[:, TOES] = joints[:, ANKLES] + 0.085 * toe / np.linalg.norm(toe, axis=-1, keepdims=True)
    joints[:, TOES, 1] -= 0.025

    joints[:, NECK] = body.torso * spine
    joints[:, SHOULDERS] = (
        joints[:, NECK, None] - 0.02 * spine[:, None] + half * body.shoulder_half_width * across[:, None]
    )
    upper = _turn(_directions(pose.upper_arm), pose.twist * 0.3)
    fore = _turn(_directions(pose.forearm), pose.twist * 0.3)
    joints[:, ELBOWS] = joints[:, SHOULDERS] + body.upper_arm * upper
    joints[:, WRISTS] = joints[:, ELBOWS] + body.forearm * fore
    joints[:, HANDS] = joints[:, WRISTS] + 0.035 * fore

    nod = np.radians(0.85 * pose.lean)
    head_up = np.stack([zeros, np.cos(nod), np.sin(nod)], axis=-1)
    head_forward = np.stack([zeros, -np.sin(nod), np.cos(nod)], axis=-1)
    radius = body.head_radius
    joints[:, HEAD] = joints[:, NECK] + 1.45 * radius * head_up
    for index, (left, up, forward) in enumerate(
        [
            (0, -0.12, 0.98),
            (0.36, 0.2, 0.86),
            (-0.36, 0.2, 0.86),
            (0.93, 0.02, 0),
            (-0.93, 0.02, 0),
        ]
    ):
        joints[:, index] = joints[:, HEAD] + radius * (
            up * head_up + forward * head_forward + left * np.array([1.0, 0.0, 0.0])
        )

    ground = _ANKLE_HEIGHT - joints[:, ANKLES, 1].min(axis=1) + pose.jump
    joints[..., 1] += ground[:, None]
    if pose.anchor_feet:
        joints[..., 2] -= joints[:, ANKLES, 2].mean(axis=1)[:, None]
    return Skeleton(joints, head_up, head_forward)


@dataclass(frozen=True)
class View:
    """Viewpoint and place of the person in the picture.

    `yaw` (the person's turn to the picture's right) and `pitch` (the camera looking down) are in
    degrees; `height` is the pixel length of one body height; `foot` the pixel (x, y) of the
    ground under the person, `[n_frames, 2]`.
    """

    yaw: float
    pitch: float
    height: float
    foot: np.ndarray


def _rotate_into_camera(vectors: np.ndarray, view: View) -> np.ndarray:
    yaw, pitch = np.radians(view.yaw), np.radians(view.pitch)
    x, y, z = np.moveaxis(vectors, -1, 0)
    x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
    y, z = y * np.cos(pitch) - z * np.sin(pitch), z * np.cos(pitch) + y * np.sin(pitch)
    return np.stack([x, y, z], axis=-1)


def project(joints: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Projects body coordinates `[n_frames, k, 3]` into the picture.

    Returns pixels `[n_frames, k, 2]` as (x, y) and nearness to the camera `[n_frames, k]` in body
    heights (larger is nearer).
    """
    turned = _rotate_into_camera(joints, view)
    scale = view.height * _CAMERA_DISTANCE / (_CAMERA_DISTANCE - turned[..., 2:])
    pixels = turned[..., :2] * scale * np.array([1.0, -1.0]) + view.foot[:, None]
    return pixels, turned[..., 2]


_FIXED_POINT_BITS = 4
_HALF_TURN = np.linspace(np.pi / 2, 3 * np.pi / 2, 7)
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 10)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 10)[:-1])], -1)


def _fixed(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates as OpenCV's fixed-point integers."""
    return np.round(points * (1 << _FIXED_POINT_BITS)).astype(np.int32)


def _capsules(start: np.ndarray, end: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Outlines [n_frames, k, 14, 2] of tapered limbs from points [n_frames, k, 2], radii [k, 2]."""
    along = end - start
    angle = np.arctan2(along[..., 1], along[..., 0])[..., None]  # [n_frames, k, 1]
    near, far = angle + _HALF_TURN, angle + _HALF_TURN + np.pi
    cap_start = np.stack([np.cos(near), np.sin(near)], -1) * radii[:, 0, None, None]
    cap_end = np.stack([np.cos(far), np.sin(far)], -1) * radii[:, 1, None, None]
    return np.concatenate([start[..., None, :] + cap_start, end[..., None, :] + cap_end], axis=-2)


PaintingStep = tuple[float, Callable[[np.ndarray, np.ndarray], None]]


class PersonDrawing:
    """A performed skeleton, projected and ready to be painted frame by frame.

    Attributes:
        keypoints: `[n_frames, 17, 2]` pixels (x, y), COCO order.
        points: `[n_frames, 23, 2]` pixels of all joints; `nearness` `[n_frames, 23]` likewise.
    """

    def __init__(self, body: Body, outfit: Outfit, skeleton: Skeleton, view: View) -> None:
        self.points, self.nearness = project(skeleton.joints, view)
        self.keypoints = self.points[:, :17].astype(np.float32)
        self._body, self._outfit = body, outfit
        self._unit = view.height
        self._head_up = _rotate_into_camera(skeleton.head_up, view) * [1, -1, 1]
        self._head_forward = _rotate_into_camera(skeleton.head_forward, view) * [1, -1, 1]
        self._turned = view.yaw

        width = body.limb_width
        skin, top, bottom = body.skin, outfit.top, outfit.bottom
        fore = top if outfit.long_sleeves else skin
        calf = bottom if outfit.long_trousers else skin
        thick = 1.18 if outfit.long_trousers else 1.0
        limbs = []
        for side in (0, 1):
            limbs += [
                (ANKLES[side], TOES[side], 0.026, 0.02, outfit.shoes),
                (KNEES[side], ANKLES[side], 0.037 * width, 0.023 * width * thick, calf),
                (HIPS[side], KNEES[side], 0.053 * width, 0.039 * width, bottom),
                (SHOULDERS[side], ELBOWS[side], 0.036 * width, 0.028 * width, top),
                (ELBOWS[side], WRISTS[side], 0.027 * width, 0.02 * width, fore),
                (WRISTS[side], HANDS[side], 0.022, 0.024, skin),
            ]
        starts, ends, start_radii, end_radii, colours = zip(*limbs, strict=True)
        starts, ends = list(starts), list(ends)
        radii = np.stack([start_radii, end_radii], -1) * view.height
        self._outlines = _fixed(_capsules(self.points[:, starts], self.points[:, ends], radii))
        self._limb_nearness = (self.nearness[:, starts] + self.nearness[:, ends]) / 2
        # A hand closes around what it holds, and a shirt hangs over the tops of the thighs.
        order = {HANDS: 0.06, KNEES: -0.04}
        self._order = self._limb_nearness + [
            next((shift for joints, shift in order.items() if end in joints), 0.0) for end in ends
        ]
        middle = self.nearness[:, HIPS].mean(axis=1)
        self._shade = 1 + np.clip(self._limb_nearness - middle[:, None], -0.16, 0.1)
        self._colours = colours

    def layers(self, frame: int) -> list[PaintingStep]:
        """Painting steps of one frame as (nearness, paint(image, labels)), unsorted.

        `paint` draws onto the RGB image `[H, W, 3]` and writes 1 into the label image `[H, W]`.
        """
        steps = []
        for index in range(len(self._colours)):
            steps.append((self._order[frame, index], self._limb_painter(frame, index)))
        hips, neck = self.nearness[frame, HIPS].mean(), self.nearness[frame, NECK]
        torso = 0.75 * hips + 0.25 * neck
        steps.append((torso, lambda *canvas: self._paint_torso(frame, *canvas)))
        head = self.nearness[frame, HEAD] + 0.01
        steps.append((head, lambda *canvas: self._paint_head(frame, *canvas)))
        return steps

    def _limb_painter(self, frame: int, index: int) -> Callable[[np.ndarray, np.ndarray], None]:
        outline = self._outlines[frame, index]
        colour = scale_colour(self._colours[index], self._shade[frame, index])

        def paint(image: np.ndarray, labels: np.ndarray) -> None:
            _fill(image, labels, outline, colour)

        return paint

    def _paint_torso(self, frame: int, image: np.ndarray, labels: np.ndarray) -> None:
        points, unit, body = self.points[frame], self._unit, self._body
        hips, shoulders = points[list(HIPS)], points[list(SHOULDERS)]
        chest, waist = body.torso_radius * unit, 0.055 * unit * body.limb_width
        neck = np.stack([points[NECK], points[HEAD]])
        neck_outline = _capsules(neck[None, :1], neck[None, 1:], np.full((1, 2), 0.03 * unit))
        pelvis = (hips[:, None] + _CIRCLE * waist).reshape(-1, 2)
        _fill(image, labels, _hull(pelvis), self._outfit.bottom)
        # The shirt ends above the hip joints.
        raised = hips + 0.16 * (shoulders.mean(axis=0) - hips.mean(axis=0))
        inner = shoulders + 0.22 * (shoulders.mean(axis=0) - shoulders)
        shirt = np.concatenate(
            [
                (raised[:, None] + _CIRCLE * waist * 0.98).reshape(-1, 2),
                (inner[:, None] + _CIRCLE * chest * 0.86).reshape(-1, 2),
            ]
        )
        _fill(image, labels, _fixed(neck_outline[0, 0]), scale_colour(body.skin, 0.9))
        _fill(image, labels, _hull(shirt), self._outfit.top)

    def _paint_head(self, frame: int, image: np.ndarray, labels: np.ndarray) -> None:
        body, radius = self._body, self._body.head_radius * self._unit
        centre = self.points[frame, HEAD]
        up, forward = self._head_up[frame, :2], self._head_forward[frame, :2]
        tilt = np.degrees(np.arctan2(up[1], up[0])) + 90
        if body.long_hair:
            back = centre - 0.3 * radius * forward
            tail = back - 1.35 * radius * up - 0.25 * radius * forward
            mane = _capsules(back[None, None], tail[None, None], radius * np.array([[0.92, 0.72]]))
            _fill(image, labels, _fixed(mane[0, 0]), scale_colour(body.hair, 0.85))
        _ellipse(image, labels, centre + 0.06 * radius * up, radius, 1.14 * radius, tilt, body.hair)
        face = centre + 0.42 * radius * forward - 0.22 * radius * up
        foreshorten = 0.9 - 0.14 * abs(np.sin(np.radians(self._turned)))
        _ellipse(image, labels, face, foreshorten * radius, 0.94 * radius, tilt, body.skin)
        for ear in (3, 4):
            if self.nearness[frame, ear] > self.nearness[frame, HEAD] - 0.01:
                _ellipse(
                    image,
                    labels,
                    self.points[frame, ear],
                    0.17 * radius,
                    0.26 * radius,
                    tilt,
                    scale_colour(body.skin, 0.88),
                )
        dark = scale_colour(body.skin, 0.72)
        _ellipse(image, labels, self.points[frame, 0], 0.12 * radius, 0.18 * radius, tilt, dark)
        for eye in (1, 2):
            if self.nearness[frame, eye] > self.nearness[frame, HEAD]:
                point = self.points[frame, eye]
                _ellipse(image, labels, point, 0.1 * radius, 0.12 * radius, tilt, (25, 20, 25))
        mouth = self.points[frame, 0] - 0.38 * radius * up - 0.08 * radius * forward
        _ellipse(image, labels, mouth, 0.24 * radius, 0.08 * radius, tilt, (130, 50, 50))


def _hull(points: np.ndarray) -> np.ndarray:
    return cv2.convexHull(_fixed(points))


def _fill(image: np.ndarray, labels: np.ndarray, outline: np.ndarray, colour: Colour) -> None:
    cv2.fillConvexPoly(image, outline, colour, cv2.LINE_AA, _FIXED_POINT_BITS)
    cv2.fillConvexPoly(labels, outline, 1, cv2.LINE_8, _FIXED_POINT_BITS)


def _ellipse(
    image: np.ndarray,
    labels: np.ndarray,
    centre: np.ndarray,
    radius_x: float,
    radius_y: float,
    tilt: float,
    colour: Colour,
) -> None:
    """A filled ellipse with half axes in pixels, turned clockwise by `tilt` degrees."""
    cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    circle = _ELLIPSE * [radius_x, radius_y]
    outline = circle @ np.array([[cos, sin], [-sin, cos]]) + centre
    _fill(image, labels, _fixed(outline), colour)


_ELLIPSE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 17)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 17)[:-1])], -1)
