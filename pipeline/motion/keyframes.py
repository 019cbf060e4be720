"""Stage `keyframes`: the peaks of a video's motion signal, and the windows of frames around them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.data.lines import lines_of, unquoted
from pipeline.data.table import all_ids, read_videos
from pipeline.exchange.matrices import by_id
from pipeline.jobs import stage
from pipeline.motion.settings import Keyframes


def detect_keyframes(
    signal: np.ndarray,
    *,
    threshold: float = 0.3,
    threshold_long: float = 0.5,
    long_video: int = 70,
    min_distance: int = 1,
    baseline_degree: int = 2,
) -> np.ndarray:
    """Find the moments of strong motion: peaks of the motion signal above its baseline.

    DANCE supplement 1.3.1; the defaults are those of its published code. A peak counts if, with the
    baseline subtracted, it reaches `minimum + threshold * (maximum - minimum)` of the signal.

    Entry 0 is not a measurement and takes no part: read as stillness it turns frame 1 into a peak
    (so it is in 74 % of the videos whose key frames were published for Penn Action). Hence frame 1,
    like the last frame, has a neighbour whose motion is unknown, and is never a peak.

    Args:
        signal: motion per frame `[F]`, summed or counted difference to the frame before it; entry 0
            is ignored.
        threshold: relative height of a peak, for videos of at most `long_video` frames.
        threshold_long: the same for longer videos.
        long_video: length in frames above which a video is long.
        min_distance: smallest distance in frames between two key frames; the higher peak wins.
        baseline_degree: degree of the polynomial baseline.

    Returns:
        int32 `[n]`, ascending, at least one: without a peak it is the frame of largest motion, and
        in a video whose motion never changes its middle frame.

    Raises:
        ValueError: the signal is empty, not finite or not a vector, or a parameter is out of range.

    Notes:
        Video codecs leave a mark in the signal. Frames that are coded anew (often every 12th, the
        codec's group of pictures) differ from their predecessors all over the picture, by little.
        The *count* of changed pixels peaks there although nothing moved: 36 % of the key frames
        published for Penn Action lie on multiples of 12 (8 % expected). The *sum* weighs a change
        by its size: prefer it.
    """
    from scipy.signal import find_peaks  # half a second, which published key frames should not cost

    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 1 or len(signal) == 0 or not np.isfinite(signal).all():
        raise ValueError(f"signal must be a finite vector with one entry per frame, got {signal!r}")
    for name, value in (("threshold", threshold), ("threshold_long", threshold_long)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is relative to the signal's range: {value} is not in [0, 1]")
    if min_distance < 1 or baseline_degree < 0:
        raise ValueError(
            f"min_distance must be at least 1 and baseline_degree at least 0, got {min_distance} and {baseline_degree}"
        )
    measured = signal[1:]
    if len(measured) == 0 or np.ptp(measured) == 0:
        return np.array([len(signal) // 2], dtype=np.int32)

    residual = measured - _baseline(measured, baseline_degree)
    relative = threshold_long if len(signal) > long_video else threshold
    height = residual.min() + relative * np.ptp(residual)
    peaks, _ = find_peaks(residual, height=height, distance=min_distance)
    # A signal that is all baseline, like every one of 3 values, leaves only rounding errors.
    if len(peaks) == 0 or np.ptp(residual) <= 1e-9 * np.ptp(measured):
        peaks = np.array([measured.argmax()])
    return (peaks + 1).astype(np.int32)


def keyframes_of(signal: np.ndarray, settings: Keyframes) -> np.ndarray:
    """`detect_keyframes` with the configured values."""
    options = ("threshold", "threshold_long", "long_video", "min_distance", "baseline_degree")
    return detect_keyframes(signal, **{name: getattr(settings, name) for name in options})


def select_keyframes(keyframes: np.ndarray, n_select: int) -> np.ndarray:
    """Keep at most `n_select` key frames, uniformly spaced among the detected ones.

    The first and the last are kept; a single one is the middle one. A video with fewer key frames
    keeps them all. DANCE supplement 1.3.1, "key clip selection".

    Raises:
        ValueError: `n_select` is below 1.
    """
    if n_select < 1:
        raise ValueError(f"n_select must be at least 1, got {n_select}")
    if len(keyframes) <= n_select:
        return keyframes
    if n_select == 1:
        return keyframes[[(len(keyframes) - 1) // 2]]
    # Integer arithmetic: a rounded linspace differs between platforms at exact halves.
    positions = (np.arange(n_select) * (len(keyframes) - 1) * 2 + n_select - 1) // (2 * (n_select - 1))
    return keyframes[positions]


def clip_windows(keyframes: np.ndarray, n_frames: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The window of `length` frames around each key frame, shifted where it would leave the video.

    Key frame k has the window [k - length // 2, k - length // 2 + length), so two key frames near
    the same end of the video have the same window. A video shorter than the window is followed by
    copies of its last frame.

    Args:
        keyframes: frame indices `[n]`.
        n_frames: number of frames of the video.
        length: frames per window.

    Returns:
        start: first frame of each window, int32 `[n]`.
        frames: frame indices, int32 `[n, length]`.

    Raises:
        ValueError: `n_frames` or `length` is below 1, or a key frame lies outside the video.
    """
    keyframes = np.asarray(keyframes)
    if n_frames < 1 or length < 1:
        raise ValueError(f"n_frames and length must be at least 1, got {n_frames} and {length}")
    if len(keyframes) and not 0 <= keyframes.min() <= keyframes.max() < n_frames:
        raise ValueError(
            f"key frames must lie between 0 and {n_frames - 1}, got {keyframes.min()} to {keyframes.max()}"
        )
    start = np.clip(keyframes - length // 2, 0, max(n_frames - length, 0)).astype(np.int32)
    frames = np.minimum(start[:, None] + np.arange(length), n_frames - 1).astype(np.int32)
    return start, frames


def _baseline(signal: np.ndarray, degree: int) -> np.ndarray:
    """Polynomial under the peaks `[F]`: fit, cut the signal to the fit, and fit again.

    Lieber and Mahadevan-Jansen, "Automated Method for Subtraction of Fluorescence from Biological
    Raman Spectra", Applied Spectroscopy 2003; 100 rounds and the relative change of 1e-3 are
    PeakUtils' defaults.
    """
    degree = min(degree, len(signal) - 1)
    time = np.linspace(-1, 1, len(signal))
    basis = np.linalg.qr(np.polynomial.legendre.legvander(time, degree))[0]  # [F, degree + 1]
    level = signal
    coefficients = np.zeros(degree + 1)
    for _ in range(100):
        previous = coefficients
        coefficients = basis.T @ level
        fit = basis @ coefficients
        if np.linalg.norm(coefficients - previous) <= 1e-3 * np.linalg.norm(coefficients):
            break
        level = np.minimum(level, fit)
    return fit


def joint_speed(keypoints: np.ndarray) -> np.ndarray:
    """A motion signal without pixels: how far the joints moved since the frame before, in pixels, mean over joints.

    Args:
        keypoints: `[F, J, 2]`; a joint with a NaN is missing.

    Returns:
        float64 `[F]`, entry 0 is 0; linear between its neighbours where two frames share no joint.
    """
    distance = np.linalg.norm(np.diff(keypoints.astype(np.float64), axis=0), axis=2)  # [F - 1, J]
    both = np.isfinite(distance)
    known = both.any(1)
    if not known.any():
        return np.zeros(len(keypoints))
    speed = np.where(both, distance, 0).sum(1) / np.maximum(both.sum(1), 1)
    return np.r_[0, np.interp(np.arange(len(speed)), np.flatnonzero(known), speed[known])]


def read_published(path: Path) -> dict[str, list[int]]:
    """Key frames that someone else detected: lines `video_id frame frame ...`, with blanks, commas or semicolons.

    Frames are counted from 0.

    Raises:
        StageError: the file is missing, a video is there twice, or a line holds something else than frame numbers.
    """
    found: dict[str, list[int]] = {}
    for number, line in lines_of(path, "motion.keyframes.path names it, below the data set's root"):
        video_id, *frames = re.split(r"[\s,;]+", line.strip().rstrip(",;"))
        video_id = unquoted(video_id)
        if video_id in found:
            raise stage.StageError(f"{path}, line {number}: the video {video_id[:80]} is there twice")
        # Longer numbers are no frames of a video.
        if not all(re.fullmatch("[0-9]{1,9}", frame) for frame in frames):
            raise stage.StageError(f"{path}, line {number}: expected a video id and frame numbers")
        found[video_id] = sorted({int(frame) for frame in frames})
    return found


def build(job: stage.Job) -> None:
    """Write the key frames of one shard: one row per video that has some."""
    settings = Keyframes.model_validate(job.settings)
    frames: dict[str, list[int]] = {}
    failed: dict[str, str] = {}
    if settings.source == "list":
        path = job.root / settings.path
        published = by_id(read_published(path), all_ids(job), path.name)
        job.note_file("published", path)
        for video_id in read_videos(job).video_id:
            if published.get(video_id):
                frames[video_id] = published[video_id]
            else:
                failed[video_id] = f"no_keyframes: {path.name} names none"
    else:
        ((arrays, described),) = job.read_arrays("signal" if settings.source == "computed" else "poses")
        failed.update({item["video_id"]: item["reason"] for item in described["failed"]})
        for row, video_id in enumerate(described["video_id"]):
            span = slice(arrays["offsets"][row], arrays["offsets"][row + 1])
            if settings.source == "poses":
                signal = joint_speed(arrays["keypoints"][span])
            else:
                signal = arrays["diff_sum" if settings.measure == "sum" else "diff_count"][span]
            frames[video_id] = keyframes_of(signal, settings).tolist()
    table = pa.table(
        {"video_id": list(frames), "frames": pa.array(list(frames.values()), pa.list_(pa.int32()))},
        schema=pa.schema([("video_id", pa.string()), ("frames", pa.list_(pa.int32()))]),
    )
    job.write_table("keyframes", table, failed=failed)


if __name__ == "__main__":
    stage.run("keyframes", build)
