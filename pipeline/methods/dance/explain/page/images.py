"""Pictures of the report, as data URIs."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
from PIL import Image

from pipeline.methods.dance.explain.overlay import overlay
from pipeline.motion.drawing import draw_strip
from pipeline.motion.skeleton import Skeleton

SIDE = 160
MILLISECONDS = 120
QUALITY = 80


def _uri(write) -> str:
    buffer = io.BytesIO()
    write(buffer)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def still(picture: np.ndarray) -> str:
    """A picture uint8 ``[H, W, 3]``."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    return _uri(lambda buffer: image.save(buffer, format="WEBP", quality=QUALITY))


def moving(pictures: np.ndarray) -> str:
    """Pictures uint8 ``[T, H, W, 3]``, one after the other, for ever."""
    first, *rest = (Image.fromarray(np.ascontiguousarray(picture)) for picture in pictures)
    return _uri(
        lambda buffer: first.save(
            buffer, format="WEBP", save_all=True, append_images=rest, duration=MILLISECONDS, loop=0, quality=QUALITY
        )
    )


def gradient() -> str:
    """The colours of heat from seen to full, on white, as a CSS gradient."""
    steps = overlay(np.full((1, 9, 3), 255, np.uint8), np.linspace(0, 1, 9)[None])[0]
    return f"linear-gradient(to right, {', '.join(f'rgb({r},{g},{b})' for r, g, b in steps.tolist())})"


def sized(picture: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A square picture at the report's size."""
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if len(picture) > side else cv2.INTER_CUBIC)


def frame_strip(frames: np.ndarray) -> np.ndarray:
    """Five frames of a clip ``[T, H, W, 3]`` side by side."""
    shown = np.linspace(0, len(frames) - 1, 5).round().astype(int)
    return np.concatenate([sized(frames[i], 112) for i in shown], 1)


def hottest(frames: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The frame in which a concept is strongest, with its heatmap.

    Args:
        frames: uint8 ``[T, H, W, 3]``; heat: enlarged map in [0, 1], ``[S, H', W']``.
    """
    best = int(heat.reshape(len(heat), -1).max(1).argmax())
    frame = frames[((2 * best + 1) * len(frames)) // (2 * len(heat))]
    return overlay(sized(frame), cv2.resize(heat[best], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))


def dancing(
    medoid: np.ndarray,
    joints: Skeleton,
    frames: np.ndarray | None = None,
    frame_index: np.ndarray | None = None,
    start: int = 0,
) -> np.ndarray:
    """A medoid in motion, beside the frames of the clip that it comes from.

    Args:
        medoid: ``[L, J, 2]``, (x, y) in [0, 1] with y downwards.
        frames: uint8 ``[T, H, W, 3]`` of the video; frame_index: their numbers ``[T]``; start: number of the medoid's
            first frame. Each pose is shown with the sampled frame that is nearest in time.

    Returns:
        uint8 ``[L, SIDE, W, 3]``.
    """
    # One panel per pose of a strip, so that all poses stand on the same place at the same scale.
    strip = draw_strip(medoid, joints, len(medoid), height=SIDE)
    poses = np.stack(np.split(strip, len(medoid), 1))  # [L, side, w, 3]
    if frames is None or frame_index is None:
        return poses
    nearest = np.abs(frame_index[None] - (start + np.arange(len(medoid)))[:, None]).argmin(1)
    return np.concatenate([poses, np.stack([sized(frames[i]) for i in nearest])], 2)
