"""Motion concepts as pictures."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.motion.skeleton import Skeleton

Colour = tuple[int, int, int]
# Violet and yellow, which people with colour blindness can tell apart, and which are no colour of a type of concepts.
_LEFT: Colour = (106, 61, 154)
_RIGHT: Colour = (230, 171, 2)
_MIDDLE: Colour = (70, 74, 82)
_GHOST: Colour = (212, 216, 223)
_TRACK: Colour = (232, 234, 238)
_OVERSAMPLING = 4
_MARGIN = 0.09  # of the height, for the head and the width of the limbs


def draw_strip(
    poses: np.ndarray,
    skeleton: Skeleton | None,
    n_poses: int = 6,
    *,
    height: int = 192,
) -> np.ndarray:
    """Draw a motion concept as a strip of skeletons, time running to the right.

    Frames are evenly spaced, first and last included. The person's left side is violet, the right
    side yellow; the pose before is shown in grey, and the bar below each pose tells how far the
    clip has come.

    Args:
        poses: one pose clip `[L, J, 2]`, (x, y) in [0, 1] with y downwards, as `normalise` returns
            it. Joints with a NaN are left out.
        skeleton: the definition of the J joints; None for tracks of things `[L, N, 6]`, see `draw_paths`.
        n_poses: number of skeletons; a shorter clip shows each frame once.
        height: of the picture, pixels.

    Returns:
        RGB uint8 `[height, W, 3]`, W from the width of the poses.

    Raises:
        ValueError: the poses do not fit the skeleton, or `n_poses` or `height` is too small.
    """
    if skeleton is None:
        return draw_paths(poses, height=height)
    if poses.ndim != 3 or poses.shape[1:] != (len(skeleton.joints), 2) or len(poses) == 0:
        raise ValueError(
            f"poses must have shape [L, {len(skeleton.joints)}, 2] for the skeleton"
            f" {skeleton.name!r}, got {list(poses.shape)}"
        )
    if n_poses < 1 or height < 32:
        raise ValueError(f"n_poses must be at least 1 and height at least 32 pixels, got {n_poses} and {height}")
    frames = np.unique(np.linspace(0, len(poses) - 1, n_poses).round().astype(int))
    size = height * _OVERSAMPLING
    unit = size * (1 - 2 * _MARGIN - 0.04)  # pixels per 1.0 of pose; the bar takes 0.04
    x = poses[frames, :, 0]
    left, right = (np.nanmin(x), np.nanmax(x)) if np.isfinite(x).any() else (0.0, 1.0)
    # Narrow poses stand closer together, but their bars stay apart.
    panel = max(round((right - left) * unit + 1.6 * _MARGIN * size), round(0.4 * size))
    panel -= panel % _OVERSAMPLING
    canvas = np.full((size, panel * len(frames), 3), 255, dtype=np.uint8)
    for position, frame in enumerate(frames):
        centre = np.array([(position + 0.5) * panel - (left + right) / 2 * unit, _MARGIN * size])
        if position > 0:
            draw_pose(canvas, poses[frames[position - 1]] * unit + centre, skeleton, unit, _GHOST)
        draw_pose(canvas, poses[frame] * unit + centre, skeleton, unit)
        start = np.array([position * panel + 0.12 * panel, 0.97 * size])
        bar = np.array([0.76 * panel, 0])
        progress = frame / max(len(poses) - 1, 1)
        _line(canvas, start, start + bar, _TRACK, 0.012 * size)
        _line(canvas, start, start + bar * progress, _MIDDLE, 0.012 * size)
    return cv2.resize(canvas, (canvas.shape[1] // _OVERSAMPLING, height), interpolation=cv2.INTER_AREA)


def draw_paths(tracks: np.ndarray, *, height: int = 192) -> np.ndarray:
    """Draw a motion concept of things: their paths in the picture, each disc paler the earlier it is.

    Args:
        tracks: one window `[L, N, 6]`: x, y and radius in parts of the picture's side, opacity, hue in [0, 1), whether
            the thing is there.
        height: of the picture, pixels.

    Returns:
        RGB uint8 `[height, height, 3]`.
    """
    size = height * _OVERSAMPLING
    canvas = np.full((size, size, 3), 255, np.uint8)
    cv2.rectangle(canvas, (0, 0), (size - 1, size - 1), _TRACK, 4 * _OVERSAMPLING)
    ends = []
    for things in tracks.transpose(1, 0, 2):
        hue = float(np.median(things[things[:, 5] > 0, 4])) if (things[:, 5] > 0).any() else 0.0
        colour = cv2.cvtColor(np.uint8([[[round(hue * 180) % 180, 170, 190]]]), cv2.COLOR_HSV2RGB)[0, 0].astype(float)
        before = None
        for number, (x, y, radius, alpha, _, there) in enumerate(things):
            if there <= 0:
                before = None
                continue
            # Later is darker, and so is what is less transparent.
            strength = (0.2 + 0.8 * number / max(len(things) - 1, 1)) * (0.3 + 0.7 * min(float(alpha), 1.0))
            shade = tuple(int(255 - strength * (255 - part)) for part in colour)
            centre = np.array([x, y]) * size
            _disc(canvas, centre, shade, float(radius) * size)
            if before is not None and np.hypot(*(centre - before)) > 0.005 * size:
                ends.append((before, centre))
            before = centre
    for start, end in ends:
        cv2.arrowedLine(
            canvas, start.round().astype(int).tolist(), end.round().astype(int).tolist(), _MIDDLE, 6, cv2.LINE_AA
        )
    return cv2.resize(canvas, (height, height), interpolation=cv2.INTER_AREA)


def draw_pose(
    canvas: np.ndarray,
    points: np.ndarray,
    skeleton: Skeleton,
    unit: float,
    colour: Colour | None = None,
) -> None:
    """Draw one pose, points `[J, 2]` in pixels, in the colours of its sides or all in `colour`."""
    sides = np.full(len(points), "", dtype="U5")
    for left, right in skeleton.pairs:
        sides[left], sides[right] = "left", "right"
    colours = {"left": colour or _LEFT, "right": colour or _RIGHT, "": colour or _MIDDLE}
    thickness = 0.024 * unit
    # The right side first, so that crossed limbs always overlap in the same order.
    order = {"right": 0, "": 1, "left": 2}
    limbs = []
    for start, end in skeleton.edges:
        if start in skeleton.head or end in skeleton.head:
            continue  # the head is a disc and a neck
        side = sides[start] if sides[start] == sides[end] else ""
        limbs.append((order[side], start, end, colours[side]))
    for _, start, end, limb_colour in sorted(limbs):
        _line(canvas, points[start], points[end], limb_colour, thickness)

    neck = points[list(skeleton.shoulders)].mean(axis=0)
    hips = points[list(skeleton.hips)].mean(axis=0)
    face = points[list(skeleton.head)]
    face = face[np.isfinite(face).all(axis=1)]
    if len(face):
        head = face.mean(axis=0)
        torso = np.linalg.norm(neck - hips)
        radius = np.clip(0.2 * torso, 0.03 * unit, 0.075 * unit) if np.isfinite(torso) else 0.05 * unit
        _line(canvas, head, neck, colours[""], thickness)
        _disc(canvas, head, colours[""], radius)
    if colour is None:
        for joint in range(len(points)):
            if joint not in skeleton.head:
                _disc(canvas, points[joint], colours[sides[joint]], 0.8 * thickness)


def _line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, colour: Colour, thickness: float) -> None:
    if np.isfinite([start, end]).all():
        cv2.line(
            canvas,
            [round(float(value)) for value in start],
            [round(float(value)) for value in end],
            colour,
            max(1, round(thickness)),
            cv2.LINE_AA,
        )


def _disc(canvas: np.ndarray, centre: np.ndarray, colour: Colour, radius: float) -> None:
    if np.isfinite(centre).all():
        cv2.circle(
            canvas,
            [round(float(value)) for value in centre],
            max(1, round(radius)),
            colour,
            cv2.FILLED,
            cv2.LINE_AA,
        )
