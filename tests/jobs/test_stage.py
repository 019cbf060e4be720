from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.jobs import stage
from pipeline.store.atomic import ArtifactError
from pipeline.store.inspect import inspect_artifact
from pipeline.store.provenance import canonical, digest_of

MODULE = "pipeline.motion.keyframes"


def job(tmp_path, settings: dict, inputs: dict | None = None, outputs: dict | None = None, name: str = "first"):
    arguments = ["--dataset", "d", "--settings", canonical(settings)]
    for key, path in (inputs or {}).items():
        arguments += ["--input", key, str(path)]
    for key, path in (outputs or {}).items():
        arguments += ["--output", key, str(path)]
    return stage.Job(name, MODULE, stage.parser().parse_args(arguments))


@pytest.fixture
def made(tmp_path):
    """An artifact of the stage `first`, made with a = 1."""
    path = tmp_path / "x.zarr.zip"
    first = job(tmp_path, {"a": 1, "upstream": {}}, outputs={"x": path})
    first.write_arrays("x", {"v": np.arange(3)}, {"video_id": ["p", "q", "r"]}, n_ok=3, failed={"s": "broken"})
    return path


def read(tmp_path, path, upstream: dict):
    second = job(tmp_path, {"b": 2, "upstream": upstream}, inputs={"x": path}, name="second")
    return list(second.read_arrays("x"))


def test_an_artifact_of_the_expected_settings_is_read(tmp_path, made):
    ((arrays, attributes),) = read(tmp_path, made, {"first": digest_of({"a": 1, "upstream": {}})})
    assert arrays["v"].tolist() == [0, 1, 2]
    assert attributes["failed"] == [{"video_id": "s", "reason": "broken"}]
    record = attributes["provenance"]
    assert record["stage"] == "first" and record["counts"] == {"ok": 3, "failed": 1}
    assert record["settings"] == {"a": 1} and record["versions"]["numpy"] == np.__version__


def test_an_artifact_of_other_settings_is_refused(tmp_path, made):
    with pytest.raises(ArtifactError, match="made with other settings"):
        read(tmp_path, made, {"first": digest_of({"a": 2, "upstream": {}})})


def test_an_artifact_of_a_newer_schema_is_refused(tmp_path, made, monkeypatch):
    monkeypatch.setattr(stage, "SCHEMA_VERSION", stage.SCHEMA_VERSION + 1)
    with pytest.raises(ArtifactError, match="schema version"):
        read(tmp_path, made, {})


def test_what_was_read_is_recorded_in_what_is_written(tmp_path, made):
    second = job(tmp_path, {"upstream": {}}, {"x": made}, {"t": tmp_path / "t.parquet"}, "second")
    ((_, attributes),) = second.read_arrays("x")
    second.write_table("t", pa.table({"video_id": ["p"]}))
    third = job(tmp_path, {"upstream": {}}, {"t": tmp_path / "t.parquet"}, name="third")
    _, written = third.read_table("t")
    assert written["provenance"]["inputs"] == {"x/x.zarr.zip": attributes["content_digest"]}


def test_warnings_go_with_what_is_made_of_a_result(tmp_path, made):
    paths = [tmp_path / f"{name}.parquet" for name in ("second", "third")]
    second = job(tmp_path, {"upstream": {}}, {"x": made}, {"t": paths[0]}, "second")
    list(second.read_arrays("x"))
    second.warn("half of it is missing")
    second.write_table("t", pa.table({"video_id": ["p"]}), {"figure": float("nan")})
    third = job(tmp_path, {"upstream": {}}, {"t": paths[0], "again": paths[0]}, {"u": paths[1]}, "third")
    _, attributes = third.read_table("t")
    third.read_table("again")
    third.warn("so is this")
    third.write_table("u", pa.table({"video_id": ["p"]}))
    assert attributes["figure"] is None  # not NaN, which is no JSON
    assert third.warnings == ["half of it is missing", "so is this"]
    assert [inspect_artifact(path)[0].warnings for path in (made, *paths)] == [
        [],
        ["half of it is missing"],
        ["so is this"],
    ]


def test_failures_are_accepted_up_to_the_limit_and_listed_above_it(tmp_path):
    one = job(tmp_path, {"upstream": {}})
    failed = {f"v{i}": "no_person: nobody" for i in range(3)}
    one.check_failures(failed, 60, 0.05)
    one.check_failures({"v0": "x"}, 4, 0.05, slack=1)
    with pytest.raises(stage.StageError, match=r"3 of 40 videos failed(.|\n)*v2: no_person: nobody"):
        one.check_failures(failed, 40, 0.05)


@pytest.mark.parametrize(
    ("error", "lack"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_lack_of_memory_is_told_from_mistakes(error, lack):
    assert stage._is_lack_of_memory(error) == lack
