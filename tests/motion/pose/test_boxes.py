from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.jobs.stage import StageError
from pipeline.motion.pose.boxes import read_boxes

HEADER = ("video_id", "frame", "x0", "y0", "x1", "y1")
ROWS = [("0001", 0, 1, 2, 30, 40), ("0002", 0, 1, 2, 30, 40), ("0002", 3, 1, 2, 30, 41), ("1", 0, 5, 2, 30, 40)]


def table(separator: str) -> str:
    return "".join(f"{separator.join(map(str, row))}\n" for row in (HEADER, *ROWS))


@pytest.mark.parametrize(
    "text",
    [table(","), table(";"), table("\t"), table(",").replace("0001", '"0001"').replace("video_id", '"video_id"')],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_ids_of_tables_are_text(tmp_path, text, encoding):
    (tmp_path / "boxes.csv").write_bytes(text.encode(encoding))
    boxes = read_boxes(tmp_path / "boxes.csv")
    assert {key: len(rows) for key, rows in boxes.items()} == {"0001": 1, "0002": 2, "1": 1}
    assert boxes["0002"][1].tolist() == [3, 1, 2, 30, 41, 1]


def test_ids_of_parquet_are_text_or_refused(tmp_path):
    columns = dict(zip(HEADER, map(list, zip(*ROWS, strict=True)), strict=True))
    path = tmp_path / "boxes.parquet"
    pq.write_table(pa.table(columns), path)
    assert list(read_boxes(path)) == ["0001", "0002", "1"]
    pq.write_table(pa.table({**columns, "video_id": pa.array(columns["video_id"]).dictionary_encode()}), path)
    assert list(read_boxes(path)) == ["0001", "0002", "1"]
    pq.write_table(pa.table({**columns, "video_id": [int(key) for key in columns["video_id"]]}), path)
    with pytest.raises(StageError, match=r"video_id holds int64; an id is text"):
        read_boxes(path)
