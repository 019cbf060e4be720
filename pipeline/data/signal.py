"""Frame-difference motion signal of a video."""

from __future__ import annotations

import cv2
import numpy as np

_BLUR_KERNEL = (9, 9)


class MotionSignal:
    """Accumulate a video's motion signal from consecutive frames, in batches of any size.

    Each frame is turned to grey, blurred (9×9 Gaussian, sigma chosen by OpenCV from the kernel: 1.7
    pixels) and compared with the frame before it (DANCE supplement 1.3.1). Nothing is normalised:
    divide by the number of pixels to compare videos of different frame sizes.

    >>> signal = MotionSignal()
    >>> for frames in batches: signal.add(frames)
    >>> diff_sum, diff_count = signal.result()
    """

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None
        self._sums: list[float] = []
        self._counts: list[int] = []

    def add(self, frames: np.ndarray) -> None:
        """Append the next frames, RGB uint8 `[b, H, W, 3]`.

        Raises:
            ValueError: the frames are of another type or shape, or of another size than those
                before them.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
            raise ValueError(f"frames must be RGB uint8 [b, H, W, 3], got {frames.dtype} {list(frames.shape)}")
        for frame in frames:
            blurred = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), _BLUR_KERNEL, 0)
            if self._previous is None:
                self._previous = blurred
            if blurred.shape != self._previous.shape:
                raise ValueError(
                    f"frame {len(self._sums)} has size {blurred.shape}, those before it"
                    f" {self._previous.shape}: a video must keep its frame size"
                )
            difference = cv2.absdiff(blurred, self._previous)
            self._sums.append(cv2.sumElems(difference)[0])
            self._counts.append(cv2.countNonZero(difference))
            self._previous = blurred

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """The signal of the frames so far; entry t compares frame t with frame t-1, entry 0 is 0.

        Returns:
            diff_sum: summed absolute difference, grey levels, float32 `[F]`.
            diff_count: number of pixels whose difference is not zero, int32 `[F]`.
        """
        return np.array(self._sums, dtype=np.float32), np.array(self._counts, dtype=np.int32)
