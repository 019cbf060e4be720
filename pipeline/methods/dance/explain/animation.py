"""A decision as a moving picture: the person, the motion that was recognised, and what speaks for and against."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, Contribution
from pipeline.methods.dance.explain.overlay import INK, font
from pipeline.methods.dance.explain.palette import TYPE_COLOURS
from pipeline.methods.dance.explain.seen import medoid_of
from pipeline.motion.drawing import draw_pose
from pipeline.motion.skeleton import skeleton

SIDE, MARGIN, HEADER, FOOTER, REASONS, FIGURE = 240, 12, 40, 48, 380, 52
PALE, LINE = (98, 108, 120), (214, 219, 225)
# A medoid's pose fills this part of its panel's height.
FILLED = 0.82
# Of the pictures: poses of a video are thinned to it.
PER_SECOND = 12.5


@dataclass(frozen=True)
class Person:
    """What is drawn of the video.

    Attributes:
        times: of the pictures in seconds, ``[T]``.
        frames: uint8 ``[T, size, size, 3]``; None draws skeletons alone, so that no one can be recognised.
        points: joints in [0, 1] of the panel ``[T, J, 2]``, NaN where nobody was found; None where poses are unknown.
    """

    times: np.ndarray
    frames: np.ndarray | None
    points: np.ndarray | None


def fitted(keypoints: np.ndarray) -> np.ndarray:
    """Poses of a video ``[T, J, 2]`` in pixels, in [0, 1] of a square that holds all of them."""
    corners = keypoints[np.isfinite(keypoints).all(-1)]
    if not len(corners):
        return np.full_like(keypoints, np.nan, float)
    low, high = corners.min(0), corners.max(0)
    return (keypoints - (low + high) / 2) / max((high - low).max(), 1e-6) * FILLED + 0.5


def thinned(times: np.ndarray, per_second: float = PER_SECOND) -> np.ndarray:
    """Places of the pictures that are kept: at most so many per second, the first one always."""
    if len(times) < 2:
        return np.arange(len(times))
    slots = np.floor((times - times[0]) * per_second + 1e-6)
    return np.flatnonzero(np.diff(slots, prepend=-1) > 0)


def matched(model: ConceptModel, reasons: Sequence[Contribution]) -> Contribution | None:
    """The motion that speaks most for the decision among those that the video shows and that can be drawn."""
    for reason in reasons:
        shown = reason.contribution > 0 and reason.present is not False
        if shown and medoid_of(model, reason.index) is not None:
            return reason
    return None


def _wrapped(pen: ImageDraw.ImageDraw, text: str, width: int, size: int, most: int) -> list[str]:
    """Lines of a text that are no wider than ``width`` pixels; the last of ``most`` lines ends in an ellipsis."""
    letters = max(8, int(width / max(pen.textlength("n", font(size)), 1)))
    return textwrap.wrap(text, letters, max_lines=most, placeholder=" …")


def _bars(pen: ImageDraw.ImageDraw, reasons: Sequence[Contribution], left: int) -> None:
    """Reasons as bars to the right of an axis for, and to its left against."""
    largest = max((abs(reason.contribution) for reason in reasons), default=1.0) or 1.0
    width = REASONS - MARGIN
    against = any(reason.contribution < 0 for reason in reasons)
    axis = left + (width // 4 if against else 0)
    room = left + width - axis - FIGURE
    top, step = HEADER, min(72, (SIDE + FOOTER) // max(len(reasons), 1))
    for number, reason in enumerate(reasons):
        y = top + number * step
        length = reason.contribution / largest * (room if reason.contribution > 0 else axis - left)
        bar = sorted((axis, axis + round(length)))
        pen.rectangle((bar[0], y, bar[1], y + 13), fill=TYPE_COLOURS[reason.type])
        pen.text((max(bar[1], axis) + 6, y - 1), f"{reason.contribution:+.2f}", INK, font(13))
        doubt = "; doubtful" if reason.doubt else ""
        for row, words in enumerate(_wrapped(pen, f"{reason.said} ({reason.type}{doubt})", width, 12, 2)):
            pen.text((left, y + 17 + 15 * row), words, INK, font(12))
        pen.line((axis, y - 2, axis, y + 15), fill=INK)


def drawn(
    model: ConceptModel,
    title: str,
    reasons: Sequence[Contribution],
    person: Person,
) -> list[np.ndarray]:
    """The pictures of the animation, one per time.

    Args:
        title: the decision in words; reasons: strongest first, as many as are drawn.

    Returns:
        uint8 ``[H, W, 3]`` each.
    """
    joints = skeleton(model.about["skeleton"]) if model.about.get("skeleton") else None
    match = None if joints is None else matched(model, reasons)
    panels = 1 + (match is not None)
    width = MARGIN + panels * (SIDE + MARGIN) + REASONS
    still = Image.new("RGB", (width, HEADER + SIDE + FOOTER + MARGIN), "white")
    pen = ImageDraw.Draw(still)
    size = 18
    while size > 11 and pen.textlength(title, font(size)) > width - 2 * MARGIN:
        size -= 1
    pen.text((MARGIN, 9), title, INK, font(size))
    _bars(pen, reasons, MARGIN + panels * (SIDE + MARGIN))
    if match is not None:
        for row, words in enumerate(_wrapped(pen, f"recognised: {match.said}", SIDE, 12, 3)):
            pen.text((2 * MARGIN + SIDE, HEADER + SIDE + 2 + 15 * row), words, PALE, font(12))
    medoid = None if match is None else medoid_of(model, match.index)
    pictures = []
    for number, time in enumerate(person.times):
        picture = still.copy()
        canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
        if person.frames is not None:
            canvas = np.array(Image.fromarray(person.frames[number]).resize((SIDE, SIDE), Image.BICUBIC))
        if person.points is not None and joints is not None:
            draw_pose(canvas, person.points[number] * SIDE, joints, SIDE * 0.75)
        picture.paste(Image.fromarray(canvas), (MARGIN, HEADER))
        if medoid is not None and joints is not None:
            canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
            across = np.nanmean(medoid[..., 0])
            scale = np.array([SIDE * FILLED, SIDE * FILLED])
            pose = medoid[number % len(medoid)] - [across, 0.5]
            draw_pose(canvas, pose * scale + SIDE / 2, joints, SIDE * FILLED)
            picture.paste(Image.fromarray(canvas), (2 * MARGIN + SIDE, HEADER))
        pen = ImageDraw.Draw(picture)
        for panel in range(panels):
            left = MARGIN + panel * (SIDE + MARGIN)
            pen.rectangle((left, HEADER, left + SIDE - 1, HEADER + SIDE - 1), outline=LINE)
        pen.text((MARGIN, HEADER + SIDE + 2), f"{time:.2f} s", PALE, font(12))
        pictures.append(np.asarray(picture))
    return pictures
