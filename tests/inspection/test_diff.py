from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.inspection.cache import InspectionError
from pipeline.inspection.diff import compare_caches, flattened, provenance_difference, value_difference


def compared(first, second) -> dict:
    return {item.path: item for item in compare_caches(first.folder, second.folder)}


@pytest.fixture
def pair(make_cache):
    """Two caches written alike."""
    return make_cache("first"), make_cache("second")


def test_equal_caches_do_not_differ(pair, capsys):
    first, second = pair
    assert compared(first, second) == {}
    assert main(["diff", str(first.folder), str(second.folder)]) == 0
    assert "the same" in capsys.readouterr().out


def test_values_that_differ_are_counted_and_measured(pair, capsys):
    first, second = pair
    shard = first.shard_of("run_2")
    ids = first.members(int(shard[:3]))
    features = np.zeros((len(ids), 4), np.float32)
    first.arrays("features", {"features": features}, {"video_id": ids}, shard=shard)
    changed = features.copy()
    changed[ids.index("run_2")] = [0, 0.5, 0, 1.5]
    second.arrays("features", {"features": changed}, {"video_id": ids}, shard=shard)
    (found,) = compared(first, second).values()
    assert found.path == f"backbone/features/{shard}.zarr.zip" and not found.provenance
    (array,) = found.arrays
    assert (array.rows, array.rows_differing, array.largest, array.mean) == (len(ids), 1, 1.5, 0.5)
    assert main(["diff", str(first.folder), str(second.folder)]) == 1
    assert f"features: 1 of {len(ids)} rows differ, by at most 1.5, on average 0.5" in capsys.readouterr().out


def test_keys_of_provenance_are_named(pair):
    first, second = pair
    raw = copy.deepcopy(first.raw)
    raw["datasets"]["own"]["backbone"] = {"features": {"revision": "v2"}}
    second = type(second)(second.run_folder, raw).write()
    found = compared(first, second)
    assert set(found) == {f"backbone/features/{k:03d}-of-002.zarr.zip" for k in range(2)}
    for item in found.values():
        assert item.provenance == {"settings.revision": ("main", "v2")} and not item.differs
    assert main(["diff", str(first.folder), str(second.folder)]) == 0  # what was computed is the same


def test_other_shards_are_joined_by_video(pair, make_cache):
    first, _ = pair
    raw = copy.deepcopy(first.raw)
    raw["datasets"]["own"]["data"]["shards"] = 3
    third = make_cache("third", raw)
    assert compared(first, third) == {}
    shard = third.shard_of("wave_1")
    path = third.path("poses", shard=shard)
    path.unlink()
    third.write_shard(int(shard[:3]))
    for video in third.members(int(shard[:3])):
        assert video in first.frames
    # One frame of one video moves by 2 pixels, whatever the shards are.
    from pipeline.store.arrays import read_arrays

    arrays, attributes = read_arrays(path)
    row = arrays["offsets"][attributes["video_id"].index("wave_1")] + 3
    arrays["keypoints"][row, 5, 0] += 2
    third.arrays("poses", arrays, {"video_id": attributes["video_id"], "skeleton": "coco"}, shard=shard)
    (found,) = compared(first, third).values()
    assert found.path == "motion/poses/{shard}.zarr.zip"
    assert [str(array) for array in found.arrays] == [
        f"keypoints: 1 of {sum(first.frames.values())} rows differ, by at most 2, on average {2 / 34:.4g}"
    ]


def test_videos_lengths_and_artifacts_that_only_one_side_has(pair):
    first, second = pair
    shard = first.shard_of("run_1")
    ids = first.members(int(shard[:3]))
    lengths = [first.frames[key] + (key == "run_1") for key in ids]
    values = {"offsets": np.cumsum([0, *lengths]), "diff_sum": np.zeros(sum(lengths), np.float32)}
    second.arrays("decode", values, {"video_id": ids}, number=1, shard=shard)
    second.arrays("decode", {"frames": np.zeros((1, 2), np.uint8)}, {"video_id": ["new"]}, shard=shard)
    second.path("concepts", 1).unlink()
    found = compared(first, second)
    assert found["context/pseudo_labels.zarr.zip"].only == "first"
    assert found[f"data/clips/{shard}.zarr.zip"].videos == (sorted(ids), ["new"])
    assert "1 of" in found[f"data/signal/{shard}.zarr.zip"].arrays[0].words


def test_tables_are_joined_by_their_keys(pair):
    first, second = pair
    columns = {"type": ["object", "object", "scene"], "text": ["ball", "bat", "ball"], "activation": [0.5, 0.25, 1.0]}
    first.table("concepts", columns)
    second.table("concepts", {name: values[::-1] for name, values in columns.items()})
    assert not any(item.differs for item in compared(first, second).values())
    second.table("concepts", columns | {"activation": [0.5, 0.75, 1.0]})
    (found,) = (item for item in compared(first, second).values() if item.differs)
    assert [str(array) for array in found.arrays] == ["activation: 1 of 3 rows differ, by at most 0.5, on average 0.5"]


def test_figures_are_compared_without_times(pair):
    for cache, value, took in zip(pair, (0.9, 0.8), (1, 2), strict=True):
        (cache.folder / "metrics.json").write_text(json.dumps({"top1": value, "seconds": {"index": took}}))
    found = compared(*pair)["metrics.json"]
    assert found.content == {"top1": (0.9, 0.8)}


def test_differences_of_values():
    a = np.array([[1.0, np.nan], [2.0, 3.0]])
    assert value_difference("x", a, a.copy()) is None
    b = a.copy()
    b[0, 1] = 5  # NaN on one side differs by no number
    assert str(value_difference("x", a, b)) == "x: 1 of 2 rows differ, by at most 0, on average 0"
    assert "rows of 2 float64 and 2 float32" in str(value_difference("x", a, a.astype(np.float32)))
    bits = np.array([True, False, True])
    assert str(value_difference("x", bits, ~bits)) == "x: 3 of 3 rows differ"
    whole = np.array([[250], [3]], np.uint8)
    assert value_difference("x", whole, np.array([[5], [3]], np.uint8)).largest == 245


def test_sources_are_told_apart_where_both_sides_know_them():
    first = {
        "code_digest": "1",
        "definitions": {"pipeline.motion.finch": {"finch": "x"}, "pipeline.gone": {"f": "y", "g": "x"}},
        "settings": {"k": {"m": 1}},
        "seconds": 1,
    }
    second = {
        "code_digest": "2",
        "definitions": {"pipeline.motion.finch": {"finch": "x"}, "pipeline.gone": {"f": "z", "g": "x"}},
        "settings": {"k": {"m": 2}},
        "seconds": 2,
    }
    expected = {"settings.k.m": (1, 2), "source.pipeline.gone.f": ("y", "z")}
    assert provenance_difference(first, second) == expected
    del first["definitions"]
    assert provenance_difference(first, second) == {"settings.k.m": (1, 2), "code_digest": ("1", "2")}


def test_flattened():
    assert flattened({}) == {}
    assert flattened({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}


def test_bad_input(pair, capsys, tmp_path):
    first, second = pair
    path = first.path("features", shard="000-of-002")
    with pytest.raises(InspectionError, match="two of a kind"):
        list(compare_caches(first.folder, path))
    assert main(["diff", str(first.folder), str(tmp_path / "none")]) == 2
    path.write_bytes(path.read_bytes()[:200])
    assert "damaged" in compared(first, second)["backbone/features/000-of-002.zarr.zip"].problem
    assert main(["diff", str(first.folder), str(second.folder)]) == 1
    assert "none does not exist" in capsys.readouterr().err
