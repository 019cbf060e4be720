from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.store.atomic import ArtifactError
from pipeline.store.tables import read_attributes, read_table, write_table

ROWS = pa.table({"video_id": ["a", "b"], "frames": [[1, 2], []], "value": [0.5, float("nan")]})


def test_round_trip(tmp_path):
    digest = write_table(tmp_path / "t.parquet", ROWS, {"schema": "test"}, {"seconds": 1})
    table, attributes = read_table(tmp_path / "t.parquet")
    assert table["frames"].to_pylist() == [[1, 2], []]
    assert attributes["content_digest"] == digest == read_attributes(tmp_path / "t.parquet")["content_digest"]


def test_hand_edit_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, ROWS, {}, {})
    table = pq.read_table(path)
    edited = table.set_column(0, "video_id", pa.array(["a", "c"])).replace_schema_metadata(table.schema.metadata)
    pq.write_table(edited, path)
    with pytest.raises(ArtifactError, match="changed after it was written"):
        read_table(path)


def test_foreign_damaged_and_missing(tmp_path):
    pq.write_table(ROWS, tmp_path / "foreign.parquet")
    with pytest.raises(ArtifactError, match="not written by this project"):
        read_table(tmp_path / "foreign.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ArtifactError, match="damaged"):
        read_table(tmp_path / "damaged.parquet")
    with pytest.raises(ArtifactError, match="does not exist"):
        read_table(tmp_path / "none.parquet")
