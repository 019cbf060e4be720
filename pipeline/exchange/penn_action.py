"""Poses that someone else annotated or estimated, in the schema of the stage `poses`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.readers import VideoError


def read_penn_action(path: Path) -> dict[str, np.ndarray]:
    """One annotation file of Penn Action (Zhang, Zhu & Derpanis 2013).

    ``scipy.io.loadmat`` reads numbers and text; it runs no code from the file.

    Returns:
        ``keypoints`` float32 ``[F, 13, 2]`` (x, y) in pixels, NaN for joints that were not placed;
        ``confidence`` float32 ``[F, 13]`` (visible 1, hidden 0),
        ``box`` float32 ``[F, 4]`` and ``present`` bool ``[F]``.

    Raises:
        VideoError: the file is missing, damaged or of another form.
    """
    import scipy.io

    if not path.is_file():
        raise VideoError("missing", f"annotation {path.name} does not exist")
    try:
        content = scipy.io.loadmat(path, variable_names=["x", "y", "visibility", "bbox"])
        keypoints = np.stack([content["x"], content["y"]], -1).astype(np.float32)  # [F, 13, 2]
        confidence = np.asarray(content["visibility"], np.float32)
        box = np.asarray(content["bbox"], np.float32)
    except Exception as error:  # scipy raises many types for damaged bytes
        raise VideoError("damaged", f"annotation {path.name} cannot be read ({type(error).__name__})") from None
    n_frames = len(keypoints)
    if keypoints.shape[1:] == (13, 2) and confidence.shape == (n_frames, 13):
        # A third of the hidden joints were never placed: they lie at the picture's corner, (1, 1).
        keypoints[(confidence == 0) & (keypoints <= 1.5).all(2)] = np.nan
    if keypoints.shape[1:] != (13, 2) or confidence.shape != (n_frames, 13) or n_frames == 0:
        raise VideoError("damaged", f"annotation {path.name} is not F × 13 joints but {keypoints.shape}")
    box = box if box.size else np.zeros((1, 4), np.float32)
    if box.ndim != 2 or box.shape[1] != 4:
        raise VideoError("damaged", f"annotation {path.name} has boxes of shape {box.shape} instead of F × 4")
    if len(box) < n_frames:  # a few files annotate fewer boxes than frames; the last one stays
        box = np.concatenate([box, np.repeat(box[-1:], n_frames - len(box), 0)])
    return {
        "keypoints": keypoints,
        "confidence": confidence,
        "box": box[:n_frames],
        "present": confidence.any(1),
    }
