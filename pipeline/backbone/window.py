"""A part of a video as a model sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """A part of a video as the model sees it.

    Attributes:
        start, end: in seconds; first, last: frames, both included.
        frames: uint8 ``[T, size, size, 3]``.
    """

    start: float
    end: float
    first: int
    last: int
    frames: np.ndarray
