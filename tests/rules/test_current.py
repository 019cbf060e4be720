from __future__ import annotations

import pyarrow as pa

from pipeline.rules.current import of_earlier_releases
from pipeline.store.provenance import SCHEMA_VERSION
from pipeline.store.tables import write_table


def test_caches_of_earlier_releases_are_known(tmp_path):
    for name, version in (("old", SCHEMA_VERSION - 1), ("new", SCHEMA_VERSION)):
        table = pa.table({"video_id": ["a"]})
        write_table(tmp_path / name / "data" / "index.parquet", table, {"schema_version": version}, {})
    (tmp_path / "broken" / "data").mkdir(parents=True)
    (tmp_path / "broken" / "data" / "index.parquet").write_bytes(b"PAR1")
    assert of_earlier_releases(tmp_path) == ["old"] and of_earlier_releases(tmp_path / "none") == []
