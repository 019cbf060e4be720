from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import yaml
import zarr
from zarr.storage import ZipStore

from pipeline.cli import main
from pipeline.inspection.cache import InspectionError
from pipeline.inspection.rows import VALUES, described, video_rows
from pipeline.store import inspect as store_inspect
from pipeline.store.arrays import Arrays
from pipeline.store.inspect import changed_sources, inspect_artifact
from pipeline.store.provenance import SCHEMA_VERSION

FOLDER = "results/own"


def listed(capsys, *arguments: str) -> dict[str, dict]:
    assert main(["inspect", *arguments, "--json"]) == 0
    return {item["path"]: item for item in json.loads(capsys.readouterr().out)}


def test_a_header_tells_the_same_as_zarr(cache):
    for path in cache.folder.rglob("*.zarr.zip"):
        report, attributes = inspect_artifact(path)
        with Arrays(path) as artifact:
            assert report.arrays == {name: artifact.describe(name) for name in artifact.names()}
            assert attributes == artifact.attributes


def test_decoders_and_what_was_unusual_are_told(cache, capsys):
    decoders = {"run_1": "decord", "run_2": "decord + pyav", "wave_1": "pyav"}
    for part in range(cache.shards):
        ids = cache.members(part)
        notes = {"run_2": "40 of 99 frames decode"} if "run_2" in ids else {}
        record = {"decoders": {key: decoders[key] for key in ids}, "notes": notes}
        for stage, number in (("decode", 0), ("decode", 1), ("poses", 0)):
            described = {"video_id": ids}
            shard = f"{part:03d}-of-{cache.shards:03d}"
            cache.arrays(stage, {"x": np.zeros(len(ids))}, described, number=number, shard=shard, **record)
    assert main(["inspect", FOLDER]) == 0
    told = capsys.readouterr().out
    for stage in ("decode", "poses"):
        assert f"decoded for {stage}: 1 by decord, 1 by decord + pyav, 1 by pyav\n" in told
    assert "noted (1 videos):\n  run_2: 40 of 99 frames decode [decode, poses]\n" in told
    path = cache.path("poses", shard=cache.shard_of("run_2"))
    assert listed(capsys, str(path))[str(path)]["unusual"] == {"run_2": "40 of 99 frames decode"}
    rows = video_rows(path, "run_2").values
    assert (rows["decoder"], rows["note"]) == ("decord + pyav", "40 of 99 frames decode")


def test_an_artifact_without_a_digest_is_told(cache, tmp_path):
    (path, *_) = cache.folder.rglob("features/*.zarr.zip")
    attributes = inspect_artifact(path)[1]
    del attributes["content_digest"]
    with ZipStore(tmp_path / "x.zarr.zip", mode="w") as store:
        zarr.create_group(store, attributes=attributes)
    assert "content_digest" in inspect_artifact(tmp_path / "x.zarr.zip")[0].problem


def test_a_shape_that_is_none_is_damage(cache, tmp_path):
    (path, *_) = cache.folder.rglob("features/*.zarr.zip")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "x.zarr.zip", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "features/zarr.json":
                content = json.dumps({**json.loads(content), "shape": [[1], 4]}).encode()
            target.writestr(name, content)
    assert "is damaged" in inspect_artifact(tmp_path / "x.zarr.zip")[0].problem


def test_a_listing_tells_what_is_stale_and_why(cache, capsys):
    assert {item["stale"] for item in listed(capsys, FOLDER).values()} == {""}
    config = yaml.safe_load((cache.run_folder / "config.yaml").read_text())
    config["datasets"]["own"]["motion"] = {"keyframes": {"threshold": 0.4}}
    (cache.run_folder / "config.yaml").write_text(yaml.safe_dump(config))
    stale = {path for path, item in listed(capsys, FOLDER).items() if item["stale"]}
    assert {path.split("/")[3].split(".")[0] for path in stale} == {
        "keyframes",
        "pose_clips",
        "motion_concepts",
        "motion_labels",
    }
    config["datasets"]["own"]["data"]["shards"] = 3
    (cache.run_folder / "config.yaml").write_text(yaml.safe_dump(config))
    found = listed(capsys, FOLDER)
    assert "not part" in found[f"{FOLDER}/motion/poses/000-of-002.zarr.zip"]["stale"]
    assert not found[f"{FOLDER}/context/pseudo_labels.zarr.zip"]["stale"]


def test_a_listing_tells_what_a_job_has_warned_of(cache, capsys):
    path = cache.path("motion_concepts")
    job = cache.job("motion_concepts", path)
    job.warn("two people change places")
    job.write_arrays("motion_concepts", {"medoids": np.zeros((1, 2))}, {"names": ["motion 000"]}, n_ok=1)
    for place in ("results/own", str(path)):
        assert main(["inspect", place]) == 0
        assert "warning: motion_concepts: two people change places" in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["warnings"] == ["two people change places"]


def test_rows_with_nan_are_valid_json(cache, capsys):
    path = cache.path("poses", shard=cache.shard_of("run_1"))
    values = {"keypoints": np.full((3, 17, 2), np.nan, np.float32), "offsets": np.array([0, 3])}
    cache.job("poses", path, cache.shard_of("run_1")).write_arrays(
        "poses", values, {"video_id": ["run_1"], "skeleton": "coco"}, n_ok=1
    )
    assert main(["inspect", str(path), "--video", "run_1", "--json"]) == 0
    text = capsys.readouterr().out
    assert "NaN" not in text and "null" in text and json.loads(text)


def test_a_new_table_of_videos_makes_no_shard_stale(cache, capsys):
    """Shards follow their own videos; what joins the shards reads the whole table."""
    path = cache.path("features", shard="000-of-002")
    job = cache.job("features", path, "000-of-002")
    job._input_digests["videos/videos.parquet"] = "of an older table"
    job.write_arrays("features", {"features": np.zeros((1, 4), np.float32)}, {"video_id": ["run_1"]}, n_ok=1)
    assert not listed(capsys, FOLDER)[f"{FOLDER}/backbone/features/000-of-002.zarr.zip"]["stale"]


def test_an_edited_source_is_named(cache, monkeypatch):
    path = cache.path("features", shard="000-of-002")
    record = inspect_artifact(path)[1]["provenance"]
    features = dict(record["definitions"]["pipeline.backbone.features"], build="edited", come="new")
    digests = {
        **record["definitions"],
        "pipeline.backbone.features": features,
        "pipeline.new": {c: "" for c in "abcdefg"},
    }
    monkeypatch.setattr(store_inspect, "recorded_definitions", lambda module: digests)
    monkeypatch.setattr(store_inspect, "code_digest", lambda module: "other")
    sources = ["pipeline/backbone/features.py: build, come", "pipeline/new.py: a, b, c, d, e, 2 more"]
    assert changed_sources(record) == sources
    assert inspect_artifact(path)[0].stale == f"its code has changed ({'; '.join(sources)})"


def test_an_artifact_of_another_release_is_stale(cache, monkeypatch):
    path = cache.path("features", shard="000-of-002")
    record = inspect_artifact(path)[1]["provenance"]
    del record["definitions"]
    described = (
        {"schema_version": SCHEMA_VERSION, "content_digest": "", "provenance": {**record, "code_digest": "of files"}},
        {},
    )
    monkeypatch.setattr(store_inspect, "_described", lambda path: described)
    assert inspect_artifact(path)[0].stale.startswith("another release made it")
    assert changed_sources(described[0]["provenance"]) == []


def test_the_rows_of_a_video(cache):
    ragged = video_rows(cache.path("decode", 1, cache.shard_of("run_2")), "run_2")
    assert ragged.values["diff_sum"].tolist() == [10, 11, 12, 13, 14]
    assert ragged.values["width"] == 64 and "diff_sum" in ragged.ragged
    clips = video_rows(cache.path("pose_clips", shard=cache.shard_of("wave_1")), "wave_1")
    assert clips.values["poses"].shape == (2, 4, 17, 2) and (clips.values["poses"] == 2).all()
    assert clips.values["reason"] == ["", "low_confidence"]
    one = video_rows(cache.path("features", shard=cache.shard_of("wave_1")), "wave_1")
    np.testing.assert_allclose(one.values["features"], [2, 2.1, 2.2, 2.3], rtol=1e-6)
    table = video_rows(cache.path("motion_concepts", 1), "run_1")
    assert table.values == {"concepts": [0, 1]}
    # Three texts and three videos: what has as many rows as there are videos need not be theirs.
    assert set(video_rows(cache.path("concepts", 1), "run_1").values) == {"similarity"}


def test_a_failed_video_is_told_with_its_reason(cache):
    path = cache.path("decode", 1, cache.shard_of("wave_2"))
    assert video_rows(path, "wave_2").failed == "no_frames: 0 frames decoded"


def test_concept_activations_are_told_per_model_kind(cache):
    maps = np.arange(2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)
    arrays = {"map_activations": maps, "weight": np.zeros((3, 8), np.float32)}
    path = cache.arrays("concept_layers", arrays, {"video_id": ["a", "b", "c"], "kinds": ["dance+salf", "salf"]})
    rows = video_rows(path, "b")
    assert set(rows.values) == {"map_activations"}
    np.testing.assert_array_equal(rows.values["map_activations"], maps[:, 1])


def test_printed_rows_are_short():
    lines = described(np.arange(40.0).reshape(4, 10), 2, True)
    assert lines[0].startswith("4×10 float64, 0 to 39, mean 19.5") and lines[-1] == "… 2 more rows"
    assert len(lines) == 4 and len(lines[1].split()) == VALUES + 1
    assert described(np.array([1.0, np.nan]), 3, False)[0].endswith("1 not finite")


def test_the_command_finds_a_video_in_all_artifacts(cache, capsys):
    assert main(["inspect", FOLDER, "--video", "run_2"]) == 0
    printed = capsys.readouterr().out
    assert "motion/poses/" in printed and "context/pseudo_labels.zarr.zip" in printed and "STALE" not in printed
    assert main(["inspect", FOLDER, "--video", "run_2", "--json"]) == 0
    values = {item["artifact"]: item["values"] for item in json.loads(capsys.readouterr().out)}
    assert values[f"{FOLDER}/motion/keyframes/{cache.shard_of('run_2')}.parquet"] == {"frames": [1, 2]}


def test_rows_of_a_stale_artifact_say_so(cache, capsys):
    raw = {"datasets": {"own": {"data": {"shards": 2}, "backbone": {"features": {"revision": "v2"}}}}}
    (cache.run_folder / "config.yaml").write_text(yaml.safe_dump(raw))
    assert main(["inspect", FOLDER, "--video", "run_1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "backbone/features" in line]
    assert lines and all("STALE: its settings have changed" in line for line in lines)


@pytest.mark.parametrize("where", ["folder", "artifact"])
def test_an_unknown_video_gets_the_nearest_names(cache, capsys, where):
    path = FOLDER if where == "folder" else str(cache.path("motion_concepts", 1))
    assert main(["inspect", path, "--video", "wavee_1"]) == 2
    error = capsys.readouterr().err
    assert "no video `wavee_1`; did you mean wave_1" in error and len(error.splitlines()) == 1


def test_rows_without_videos_are_told(cache):
    with pytest.raises(InspectionError, match="no rows of videos; it holds medoids"):
        video_rows(cache.path("motion_concepts"), "run_1")


def test_damaged_foreign_and_newer_artifacts(cache, capsys, tmp_path):
    path = cache.path("features", shard="000-of-002")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert main(["inspect", str(path)]) == 2
    assert main(["inspect", str(path), "--video", "run_1"]) == 2
    foreign = tmp_path / "foreign.parquet"
    foreign.write_text("not a table")
    assert main(["inspect", str(foreign)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and all("is damaged" in line for line in errors)
    # In a listing the others are told all the same.
    found = listed(capsys, FOLDER)
    assert "damaged" in found[str(path.relative_to(cache.run_folder))]["problem"] and len(found) > 5


def test_an_artifact_of_a_newer_release_is_refused(cache, capsys, monkeypatch):
    from pipeline.jobs import stage

    with monkeypatch.context() as newer:
        newer.setattr(stage, "SCHEMA_VERSION", stage.SCHEMA_VERSION + 1)
        path = cache.arrays("features", {"features": np.zeros((1, 2))}, {"video_id": ["run_1"]}, shard="000-of-002")
    for arguments in ([], ["--video", "run_1"]):
        assert main(["inspect", str(path), *arguments]) == 2
        error = capsys.readouterr().err
        assert "schema version 3, this release reads 2; use the release that wrote it" in error
        assert len(error.splitlines()) == 1


def test_what_is_no_results_folder(tmp_path, capsys):
    for path, words in ((tmp_path, "holds no artifact"), (tmp_path / "none", "does not exist")):
        assert main(["inspect", str(path)]) == 2
        assert words in capsys.readouterr().err


def test_a_listing_loads_neither_torch_nor_zarr(cache):
    code = "import sys; from pipeline.cli import main; main(['inspect', 'results/own']); "
    code += "print(sorted({'torch', 'zarr', 'snakemake', 'cv2', 'scipy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=cache.run_folder
    )
    assert done.stdout.splitlines()[-1] == "[]"
