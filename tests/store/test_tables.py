from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.store.atomic import ArtifactError
from pipeline.store.tables import KEY, read_attributes, read_table, write_table

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


@pytest.mark.parametrize("record", ["[" * 100_000, "[]", "{}", '{"content_digest": 1, "x": NaN}', "\ud800"])
def test_provenance_that_no_stage_writes_is_refused(tmp_path, record):
    path = tmp_path / "t.parquet"
    pq.write_table(ROWS.replace_schema_metadata({KEY: record.encode(errors="surrogatepass")}), path)
    with pytest.raises(ArtifactError, match=r"damaged|not written by this project"):
        read_table(path)


def test_more_rows_than_the_file_can_hold_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    table = pa.table({"x": pa.repeat(pa.scalar(1), 3_000_000)})
    pq.write_table(table.replace_schema_metadata({KEY: b'{"content_digest": "0"}'}), path)
    with pytest.raises(ArtifactError, match="3000000 rows cannot fit"):
        read_table(path)
