"""Matrices that someone else extracted: rows in the order of the data set's lists, or named by video."""

from __future__ import annotations

import numpy as np

from pipeline.exchange.matrices import Matrix, Rows, read_matrix
from pipeline.jobs.stage import Job, StageError


def load_matrix(job: Job, name: str, path: str, array: str = "") -> Matrix:
    """An imported matrix, recorded in the provenance; see `pipeline.exchange.matrices.read_matrix`.

    Raises:
        StageError: missing, not a matrix, or not finite; the message begins with ``name``.
    """
    place = job.root / path
    if not path or not place.is_file():
        raise StageError(f"{name}: {place} does not exist; set data_root or the path in the configuration")
    job.note_file(name, place)
    try:
        return read_matrix(place, array)
    except StageError as error:
        raise StageError(f"{name}: {error}") from None


def rows_for(
    job: Job, paths: dict[str, str], listed: dict[str, list[str]], wanted: list[str], name: str, array: str = ""
) -> tuple[list[str], np.ndarray, dict[str, str]]:
    """Rows of imported matrices for the wanted videos.

    Args:
        paths: split → file. A file that names its rows may cover several splits; the others have the rows of the
            split's list, in its order.
        listed: split → ids in the order of that split's list.
        wanted: ids.

    Returns:
        ids that have a row; float32 ``[n, d]``; id → reason of those that a file with names lacks.

    Raises:
        StageError: a matrix has another number of rows than its list, matrices differ in width, or a video is in no
            list.
    """
    by_list: dict[str, np.ndarray] = {}
    named: list[tuple[Rows, np.ndarray]] = []
    widths: dict[str, int] = {}
    for split, path in paths.items():
        matrix = load_matrix(job, f"{name}_{split}", path, array)
        widths[path] = matrix.values.shape[1]
        if matrix.ids is not None:
            everyone = [key for ids in listed.values() for key in ids]
            named.append((Rows(matrix.ids, everyone, path), matrix.values))
            continue
        ids = listed.get(split, [])
        if len(ids) != len(matrix.values):
            raise StageError(
                f"{name}: {path} has {len(matrix.values)} rows, but the list of `{split}` has {len(ids)} videos"
            )
        by_list.update(zip(ids, matrix.values, strict=True))
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{path} has {width}" for path, width in widths.items())
        raise StageError(f"{name}: the files differ in their number of dimensions: {told}")
    found: list[np.ndarray] = []
    ids, failed = [], {}
    for key in wanted:
        rows = [values[row] for lookup, values in named if (row := lookup.find(key)) is not None]
        if key in by_list:
            rows.append(by_list[key])
        if len(rows) > 1:
            raise StageError(f"{name}: more than one file has a row for {key}")
        if rows:
            ids.append(key)
            found += rows
        else:
            failed[key] = f"no_{name}: the imported files name no row for it"
    if failed and not named:
        raise StageError(f"{name}: no row for {len(failed)} videos, for example {next(iter(failed))}")
    width = next(iter(widths.values()), 0)
    return ids, np.stack(found) if found else np.zeros((0, width), np.float32), failed
