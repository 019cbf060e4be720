"""Stage `tracks`: where things that move are in a clip, whatever they are; the first step to motion without a body.

The camera must not move. Things are what differs from the clip's own background: what never changes is not seen.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.jobs import stage
from pipeline.motion.settings import Tracks

THINGS = 4
# Of a thing in one frame: x, y, radius in parts of the picture's side, opacity, hue in [0, 1), whether it is there.
COLUMNS = ("x", "y", "radius", "alpha", "hue", "present")
# A shadow darkens all channels alike: to between these parts, and so evenly, in grey levels and parts of them.
_SHADOW, _EVEN = (0.45, 0.98), (10.0, 0.12)
_RING, _UNSURE = 5, 0.42
_SQUARE = np.ones((3, 3), np.uint8)


def background(frames: np.ndarray, threshold: float) -> np.ndarray:
    """The clip without what moves, float32 ``[H, W, 3]``.

    It is the median over time, but where something stays for half of the clip that may be the thing itself. So each
    region that differs from it half of the time takes the first frame, the last, or the one that differs most, if that
    fits what lies around the region better.

    Args:
        frames: ``[T, H, W, 3]``; threshold: difference in grey levels that counts as a change.
    """
    median = np.median(frames, 0).astype(np.float32)
    away = np.abs(frames - median).max(-1)  # [T, H, W]
    changed = (away > threshold).any(0)
    unsure = ((away > threshold).mean(0) > _UNSURE).astype(np.uint8)
    n, labels, stats, _ = cv2.connectedComponentsWithStats(unsure, connectivity=8)
    side = changed.shape[0]
    for region in range(1, n):
        x, y, w, h, area = stats[region]
        if area < 6 or w * h > 0.5 * side * side:
            continue
        part = np.s_[max(0, y - _RING) : y + h + _RING, max(0, x - _RING) : x + w + _RING]
        inside = labels[part] == region
        near = cv2.dilate(inside.astype(np.uint8), np.ones((2 * _RING + 1,) * 2)).astype(bool) & ~changed[part]
        if not near.any():
            continue
        around = median[part][near].mean(0)
        others = (0, len(frames) - 1, int((away[:, *part] * inside).sum((1, 2)).argmax()))
        misfit, best = min((float(np.abs(frames[k][part][inside].mean(0) - around).sum()), k) for k in others)
        if misfit < 0.8 * np.abs(median[part][inside].mean(0) - around).sum():
            median[part][inside] = frames[best][part][inside]
    return median


def things(frame: np.ndarray, still: np.ndarray, threshold: float, min_area: int) -> np.ndarray:
    """Things in one frame, largest first, ``[n ≤ THINGS, 6]``: x, y, area in pixels, mean difference, hue, 1."""
    away = np.abs(frame - still).max(-1)
    share = (frame * still).sum(-1) / np.maximum((still * still).sum(-1), 1)
    uneven = np.abs(frame - share[..., None] * still).max(-1)
    shadow = (share > _SHADOW[0]) & (share < _SHADOW[1]) & (uneven < _EVEN[0] + _EVEN[1] * still.max(-1))
    mask = ((away > threshold) & ~shadow).astype(np.uint8)
    mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _SQUARE), cv2.MORPH_CLOSE, _SQUARE)
    n, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:THINGS] if n > 1 else ()
    found = []
    for region in order:
        area = int(stats[region, cv2.CC_STAT_AREA])
        if area < min_area:
            break
        inside = labels == region
        if np.sort(away[inside])[-min_area:].mean() < 1.5 * threshold:
            continue  # nothing in it is sure
        colour, below = frame[inside].mean(0), still[inside].mean(0)
        darker = (colour * below).sum() / max((below * below).sum(), 1)
        if darker < _SHADOW[1] and np.abs(colour - darker * below).max() < _EVEN[0]:
            continue  # a shadow, as a whole
        hue = cv2.cvtColor(np.uint8([[colour]]), cv2.COLOR_RGB2HSV)[0, 0, 0] / 180
        found.append((*centres[region], area, away[inside].mean(), hue, 1.0))
    return np.array(found, np.float32).reshape(-1, len(COLUMNS))


def linked(found: list[np.ndarray], side: int) -> np.ndarray:
    """Things of all frames as tracks ``[T, THINGS, 6]``, see `COLUMNS`: each goes on where the nearest one is.

    Args:
        found: of each frame, as `things` gives it; side: of the picture in pixels.
    """
    tracks = np.zeros((len(found), THINGS, len(COLUMNS)), np.float32)
    last = np.full((THINGS, 3), np.nan)  # where each track was seen last, and its hue
    for number, rows in enumerate(found):
        free = list(range(THINGS))
        hue = np.abs(rows[:, None, 4] - last[None, :, 2])
        distance = np.hypot(*(rows[:, None, :2] - last[None, :, :2]).transpose(2, 0, 1)) / side
        cost = distance + np.minimum(hue, 1 - hue)  # [n, THINGS], NaN where a track has not begun
        waiting = list(range(len(rows)))
        for flat in np.argsort(cost, axis=None, kind="stable"):
            row, track = np.unravel_index(flat, cost.shape)
            if row in waiting and track in free and cost[row, track] < 0.6:
                tracks[number, track] = rows[row]
                waiting.remove(row)
                free.remove(track)
        begun = [track for track in free if np.isnan(last[track, 0])]
        for row, track in zip(waiting, begun or free, strict=False):
            tracks[number, track] = rows[row]
        seen = tracks[number, :, 5] > 0
        last[seen] = tracks[number, seen][:, [0, 1, 4]]
    there = tracks[..., 5] > 0
    tracks[..., :2] /= side
    tracks[..., 2] = np.sqrt(tracks[..., 2] / np.pi) / side
    tracks[..., 3] /= max(float(tracks[..., 3].max()), 1e-6)
    tracks[~there] = 0
    return tracks


def find(frames: np.ndarray, settings: Tracks) -> np.ndarray:
    """Tracks ``[T, THINGS, 6]`` of a clip, uint8 ``[T, H, W, 3]``; see `COLUMNS`."""
    smooth = np.stack([cv2.blur(frame, (3, 3)) for frame in frames]).astype(np.float32)
    still = background(smooth, settings.threshold)
    rows = [things(frame, still, settings.threshold, settings.min_area) for frame in smooth]
    return linked(rows, frames.shape[1])


def of_truth(tracks: np.ndarray, size: int) -> np.ndarray:
    """Rendered tracks ``[F, N, 6]`` in pixels as `find` gives them; what is out of the picture is not there."""
    result = np.zeros((len(tracks), THINGS, len(COLUMNS)), np.float32)
    kept = tracks[:, :THINGS].copy()
    x, y, radius, alpha = (kept[..., k] for k in range(4))
    inside = (x > -radius) & (x < size + radius) & (y > -radius) & (y < size + radius)
    there = (kept[..., 5] > 0) & (alpha > 0.05) & (radius > 0) & inside
    kept[..., :3] /= size
    result[:, : kept.shape[1]] = np.where(there[..., None], kept, 0)
    return result


# ------------------------------------------------------------------------------------------------------------- windows

DESCRIPTORS = ("area", "x", "y", "alpha", "spread", "edge")


def describe(tracks: np.ndarray) -> np.ndarray:
    """What the things of each frame have in common ``[..., T, 6]``, of about unit size: their area, mean place and
    opacity, how far they are spread, and the place of the outermost.

    A thing counts by its area and opacity, and how many there are is not told: one thing before a texture is often
    found in several pieces, and pieces change neither the area nor a mean that is weighted by it.

    Args:
        tracks: ``[..., T, THINGS, 6]``.
    """
    there = tracks[..., 5]
    weight = tracks[..., 2] ** 2 * tracks[..., 3] * there
    total = weight.sum(-1)
    some = np.maximum(total, 1e-9)
    place = tracks[..., :2] * 2  # the middle is 1
    mean = np.where(total[..., None] > 0, (place * weight[..., None]).sum(-2) / some[..., None], 1)  # [..., T, 2]
    offset = (place - mean[..., None, :]) ** 2 * weight[..., None]
    spread = np.sqrt(offset.sum(-2) / some[..., None]).sum(-1) * 2
    alpha = (tracks[..., 3] * weight).sum(-1) / some
    edge = np.minimum((np.abs(place[..., 0] - 1) * there).max(-1), 1.25)
    return np.stack([np.pi * 25 * total, mean[..., 0], mean[..., 1], alpha, spread, edge], -1).astype(np.float32)


def windows(tracks: np.ndarray, length: int, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts of clips as the differences from frame to frame of their descriptors.

    Returns:
        changes ``[n, W, length − 1, 6]``, tracks of the windows ``[n, W, length, THINGS, 6]`` and first frames ``[W]``.

    Raises:
        StageError: the clips are shorter than a window.
    """
    n_frames = tracks.shape[1]
    if n_frames < length:
        raise stage.StageError(
            f"clips of {n_frames} frames are shorter than motion.tracks.length = {length}; raise data.decode.n_frames"
        )
    starts = np.arange(0, n_frames - length + 1, stride)
    inside = starts[:, None] + np.arange(length)  # [W, length]
    steps = np.diff(describe(tracks), axis=1)  # [n, T − 1, 6]
    return steps[:, inside[:, :-1]], tracks[:, inside], starts


def build(job: stage.Job) -> None:
    """Write the tracks of one shard: those found, and where the videos were rendered the true ones."""
    settings = Tracks.model_validate(job.settings)
    truth: dict[str, np.ndarray] = {}
    size = 1
    for arrays, described in job.read_arrays("truth"):
        frames, bodies = arrays["offsets"], arrays["body_offsets"]
        size = arrays["ids"].shape[1]
        for row, key in enumerate(described["video_id"]):
            own = arrays["tracks"][bodies[row] : bodies[row + 1]]
            truth[key] = own.reshape(frames[row + 1] - frames[row], -1, len(COLUMNS))
    ((clips, described),) = job.read_arrays("clips")
    ids = described["video_id"]
    found = [find(frames, settings) for frames in stage.progress(clips["frames"], "tracks")]
    n_frames = clips["frame_index"].shape[1]
    empty = np.zeros((0, n_frames, THINGS, len(COLUMNS)), np.float32)
    arrays = {"found": np.stack(found) if found else empty}
    if truth:
        index = zip(ids, clips["frame_index"], strict=True)
        arrays["truth"] = np.stack([of_truth(truth[key], size)[frames] for key, frames in index])
    job.write_arrays("tracks", arrays, {"video_id": ids, "columns": list(COLUMNS)}, n_ok=len(ids))


if __name__ == "__main__":
    stage.run("tracks", build)
