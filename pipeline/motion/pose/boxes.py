"""Person boxes that someone else annotated or detected."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipeline.data.lines import text_of
from pipeline.data.probe import VideoError
from pipeline.jobs.stage import StageError

COLUMNS = ("video_id", "frame", "x0", "y0", "x1", "y1")


def read_boxes(path: Path) -> dict[str, np.ndarray]:
    """Boxes of all videos: a CSV or Parquet table with the columns ``video_id, frame, x0, y0, x1, y1`` and, where the
    boxes are a detector's, ``score``. Frames count from 0, boxes are in pixels; a frame may have several or none. Ids
    are text: 0001 is not 1.

    Returns:
        video id → float64 ``[k, 6]``: frame, x0, y0, x1, y1, score.

    Raises:
        StageError: missing, damaged, a column lacks, or a box is none.
    """
    if not path.is_file():
        raise StageError(f"{path} does not exist; motion.poses.boxes_path names the table of annotated boxes")
    try:
        if path.suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
        else:  # an id is text, also where it has digits alone
            text = text_of(path.read_bytes())
            table = pyarrow.csv.read_csv(
                io.BytesIO(text.encode()),
                parse_options=pyarrow.csv.ParseOptions(delimiter=max(",;\t", key=text.partition("\n")[0].count)),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={"video_id": pa.string()}, strings_can_be_null=False
                ),
            )
        lacking = [name for name in COLUMNS if table.column_names.count(name) != 1]
        ids = [] if lacking else table["video_id"].to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StageError(f"{path} is no table of boxes ({str(error).splitlines()[0][:200]})") from None
    if lacking:
        raise StageError(f"{path} lacks the column {lacking[0]}; a table of boxes has {', '.join(COLUMNS)}, each once")
    if not all(isinstance(key, str) and key for key in ids):
        raise StageError(f"{path}: the column video_id holds {table['video_id'].type}; an id is text, such as 0001")
    try:
        numbers = np.stack([table[name].to_numpy().astype(np.float64) for name in COLUMNS[1:]], 1)
        score = table["score"].to_numpy().astype(np.float64) if "score" in table.column_names else np.ones(len(table))
    except (ValueError, TypeError, KeyError) as error:
        raise StageError(f"{path}: frame, box and score must be numbers ({str(error)[:200]})") from None
    ids = np.array(ids, object)
    rows = np.column_stack([numbers, score])  # [k, 6]
    bad = (
        ~np.isfinite(rows).all(1)
        | (rows[:, 0] < 0)
        | (rows[:, 0] % 1 != 0)
        | (rows[:, 3] <= rows[:, 1])
        | (rows[:, 4] <= rows[:, 2])
    )
    if bad.any():
        row = int(bad.argmax())
        raise StageError(
            f"{path}, row {row + 1} ({ids[row]}): frame {rows[row, 0]:g}, box {rows[row, 1:5].tolist()} is no box; "
            f"frames count from 0, and x0 < x1, y0 < y1"
        )
    order = np.argsort(ids.astype(str), kind="stable")
    ids, rows = ids[order], rows[order]
    if not len(ids):
        return {}
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    return {ids[start]: part for start, part in zip(starts, np.split(rows, starts[1:]), strict=True)}


def per_frame(rows: np.ndarray | None, n_frames: int, allowed: int = 0) -> list[np.ndarray]:
    """Boxes of one video by frame: ``n_frames`` arrays ``[k, 5]`` x0, y0, x1, y1, score.

    Args:
        allowed: frames behind the end that may have boxes, which are left out.

    Raises:
        VideoError: boxes of further frames that the video does not have.
    """
    if rows is not None and len(rows) and rows[:, 0].max() >= n_frames + allowed:
        raise VideoError(
            "other_frames",
            f"the table has boxes up to frame {rows[:, 0].max():.0f}, the video has {n_frames} frames, counted from 0",
        )
    empty = np.zeros((0, 5))
    result = [empty] * n_frames
    for frame in np.unique(rows[:, 0]) if rows is not None else ():
        if frame < n_frames:
            result[int(frame)] = rows[rows[:, 0] == frame, 1:]
    return result
