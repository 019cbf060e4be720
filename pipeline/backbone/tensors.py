"""Matrices that someone else extracted: one ``.pt`` tensor per list file, rows in the order of the list."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.stage import Job, StageError


def load_matrix(job: Job, name: str, path: str) -> np.ndarray:
    """float32 ``[n, d]`` from a ``.pt`` file that holds one tensor; tensors only, nothing is unpickled.

    Raises:
        StageError: missing, not a tensor, or not a matrix.
    """
    place = job.root / path
    if not place.is_file():
        raise StageError(f"{name}: {place} does not exist; set data_root or the path in the configuration")
    job.note_file(name, place)
    try:
        value = torch.load(place, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for hostile files
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StageError(f"{name}: {place} is not a file of tensors ({first})") from None
    if not isinstance(value, torch.Tensor) or value.ndim != 2 or not value.is_floating_point():
        raise StageError(f"{name}: {place} must hold one matrix of floats")
    return value.float().numpy()


def rows_for(job: Job, paths: dict[str, str], listed: dict[str, list[str]], wanted: list[str], name: str) -> np.ndarray:
    """Rows of imported matrices for the wanted videos.

    Args:
        paths: split → ``.pt`` file.
        listed: split → ids in the order of that split's list.
        wanted: ids.

    Returns:
        float32 ``[len(wanted), d]``.

    Raises:
        StageError: a matrix has another number of rows than its list, or a video is in no list.
    """
    row_of: dict[str, np.ndarray] = {}
    for split, path in paths.items():
        matrix = load_matrix(job, f"{name}_{split}", path)
        ids = listed.get(split, [])
        if len(ids) != len(matrix):
            raise StageError(f"{name}: {path} has {len(matrix)} rows, but the list of `{split}` has {len(ids)} videos")
        row_of.update(zip(ids, matrix, strict=True))
    absent = [key for key in wanted if key not in row_of]
    if absent:
        raise StageError(f"{name}: no row for {len(absent)} videos, for example {absent[0]}")
    width = len(next(iter(row_of.values()))) if row_of else 0
    return np.stack([row_of[key] for key in wanted]) if wanted else np.zeros((0, width), np.float32)
