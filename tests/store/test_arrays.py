from __future__ import annotations

import json
import resource
import zipfile

import numcodecs
import numpy as np
import pytest

from pipeline.store import arrays as arrays_module
from pipeline.store.arrays import Arrays, _unpacked_bytes, ragged, read_arrays, write_arrays
from pipeline.store.atomic import ArtifactError


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "folder" / "a.zarr.zip"
    arrays = {"x": np.arange(12, dtype=np.float32).reshape(4, 3), "none": np.zeros((0, 2), np.int64)}
    digest = write_arrays(path, arrays, {"schema": "test", "video_id": ["a", "ü"]}, {"seconds": 1.0})
    return path, arrays, digest


def test_round_trip(written):
    path, arrays, digest = written
    read, attributes = read_arrays(path)
    assert read.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(read[name], value)
        assert read[name].dtype == value.dtype
    assert attributes["video_id"] == ["a", "ü"]
    assert attributes["content_digest"] == digest


def test_zip_has_no_duplicate_entry_and_nothing_is_left_behind(written):
    path, _, _ = written
    names = zipfile.ZipFile(path).namelist()
    assert len(names) == len(set(names))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_digest_is_of_the_content_and_not_of_provenance(written, tmp_path):
    _, arrays, digest = written
    content = {"schema": "test", "video_id": ["a", "ü"]}
    assert write_arrays(tmp_path / "b.zarr.zip", arrays, content, {"seconds": 2.0}) == digest
    changed = {**arrays, "x": arrays["x"] + 1}
    assert write_arrays(tmp_path / "c.zarr.zip", changed, content, {}) != digest


@pytest.mark.parametrize("rows_of_a_chunk", [1, 3, 100])
def test_blocks_are_all_rows_in_order(tmp_path, monkeypatch, rows_of_a_chunk):
    monkeypatch.setattr(arrays_module, "CHUNK_BYTES", 12 * rows_of_a_chunk)
    monkeypatch.setattr(arrays_module, "BLOCK_BYTES", 24 * rows_of_a_chunk)
    values = np.arange(30, dtype=np.float32).reshape(10, 3)
    write_arrays(tmp_path / "a.zarr.zip", {"x": values, "a": values[:2], "z": values[:0]}, {}, {})
    with Arrays(tmp_path / "a.zarr.zip") as artifact:
        blocks = list(artifact.blocks("x"))
        assert [len(block) for block in blocks[:-1]] == [2 * rows_of_a_chunk] * (len(blocks) - 1)
        np.testing.assert_array_equal(np.concatenate(blocks), values)
        np.testing.assert_array_equal(np.concatenate(list(artifact.blocks("a"))), values[:2])
        assert not list(artifact.blocks("z"))
        with pytest.raises(ArtifactError, match="has no array `y`"):
            list(artifact.blocks("y"))


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -30])
def test_truncated_file_is_refused(written, tmp_path, keep):
    path, _, _ = written
    short = tmp_path / "short.zarr.zip"
    short.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=r"damaged|does not exist"):
        read_arrays(short)


def test_every_flipped_byte_is_refused_or_harmless(written, tmp_path):
    path, arrays, digest = written
    data = path.read_bytes()
    for position in range(0, len(data), 7):
        broken = bytearray(data)
        broken[position] ^= 0x5A
        copy = tmp_path / "flipped.zarr.zip"
        copy.write_bytes(broken)
        try:
            read, attributes = read_arrays(copy)
        except ArtifactError:
            continue
        # What is still accepted (zip time stamps, provenance) must hold the same values.
        assert attributes["content_digest"] == digest, position
        np.testing.assert_array_equal(read["x"], arrays["x"])


def test_changed_by_hand_is_refused(written, tmp_path):
    path, arrays, _ = written
    other = tmp_path / "other.zarr.zip"
    write_arrays(other, {**arrays, "x": arrays["x"] * 2}, {"schema": "test", "video_id": ["a", "ü"]}, {})
    mixed = tmp_path / "mixed.zarr.zip"
    with zipfile.ZipFile(path) as first, zipfile.ZipFile(other) as second, zipfile.ZipFile(mixed, "w") as out:
        for name in first.namelist():
            out.writestr(name, (second if name.startswith("x/c/") else first).read(name))
    with pytest.raises(ArtifactError, match="changed after it was written"):
        read_arrays(mixed)
    with Arrays(mixed) as artifact, pytest.raises(ArtifactError, match="changed after it was written"):
        for block in artifact.blocks("x"):
            assert len(block) == 4  # its rows come, and only then is it known


def test_failed_write_keeps_the_old_file(written, monkeypatch):
    path, arrays, digest = written
    import pipeline.store.arrays as module

    monkeypatch.setattr(module, "read_arrays", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_arrays(path, arrays, {"schema": "new"}, {})
    monkeypatch.undo()
    assert read_arrays(path)[1]["content_digest"] == digest
    assert len(list(path.parent.iterdir())) == 1


def test_a_full_disk_leaves_nothing_behind(written, monkeypatch):
    """A limit on the size of files fails as a full disk does, in the middle of the chunks."""
    path, _, digest = written
    monkeypatch.setattr("pipeline.store.arrays.CHUNK_BYTES", 1 << 16)
    values = np.random.default_rng(0).integers(0, 255, (1 << 17, 64), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_arrays(path, {"x": values}, {}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for _ in range(3):  # time for background tasks of Zarr to do harm
        assert read_arrays(path)[1]["content_digest"] == digest
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert write_arrays(path, {"x": values}, {}, {}) != digest
    np.testing.assert_array_equal(read_arrays(path)[0]["x"], values)


def test_partial_read_and_unknown_array(written):
    path, arrays, _ = written
    with Arrays(path) as artifact:
        np.testing.assert_array_equal(artifact.part("x", slice(1, 3)), arrays["x"][1:3])
        with pytest.raises(ArtifactError, match=r"no array `y`.*none, x"):
            artifact["y"]


def test_foreign_zarr_is_refused(tmp_path):
    import zarr

    path = tmp_path / "foreign.zarr.zip"
    with zarr.storage.ZipStore(path, mode="w") as store:
        zarr.create_group(store, attributes={})
    with pytest.raises(ArtifactError, match="not written by this project"):
        read_arrays(path)


def test_names_may_have_a_slash(tmp_path):
    write_arrays(tmp_path / "a.zarr.zip", {"all/weight": np.eye(2), "bias": np.ones(1)}, {}, {})
    assert sorted(read_arrays(tmp_path / "a.zarr.zip")[0]) == ["all/weight", "bias"]


def test_ragged():
    values, offsets = ragged([np.array([[1, 2]]), np.zeros((0, 2)), np.array([[3, 4], [5, 6]])], (2,), np.int32)
    assert offsets.tolist() == [0, 1, 1, 3]
    assert values.tolist() == [[1, 2], [3, 4], [5, 6]]
    values, offsets = ragged([], (17, 2), np.float32)
    assert values.shape == (0, 17, 2) and offsets.tolist() == [0]


@pytest.fixture
def rewritten(written, tmp_path):
    """Write the artifact again with one entry changed, or with all of them compressed."""

    def write(entry: str = "", change=None, how: int = zipfile.ZIP_STORED):
        target = tmp_path / "hostile.zarr.zip"
        with zipfile.ZipFile(written[0]) as source, zipfile.ZipFile(target, "w", how) as out:
            for name in source.namelist():
                out.writestr(name, change(source.read(name)) if name == entry else source.read(name))
        return target

    return write


@pytest.mark.parametrize(
    ("key", "value"),
    [("shape", [10**13, 3]), ("shape", [2**62, 2**62]), ("chunk_grid", {"chunk_shape": [2**40, 3]})],
)
def test_absurd_shapes_are_refused_before_memory_is_taken(rewritten, key, value):
    def change(text):
        described = json.loads(text)
        if key == "chunk_grid":
            described[key]["configuration"] = value
        else:
            described[key] = value
        return json.dumps(described).encode()

    with pytest.raises(ArtifactError, match="cannot fit into a file"):
        read_arrays(rewritten("x/zarr.json", change))


def test_chunks_that_unpack_to_something_else_are_refused_before_memory_is_taken(rewritten):
    bomb = bytes(numcodecs.Zstd(1).encode(np.zeros(1 << 26, np.uint8)))
    with pytest.raises(ArtifactError, match="a chunk of `x` has another size"):
        read_arrays(rewritten("x/c/0/0", lambda _: bomb))


@pytest.mark.parametrize("size", [1, 255, 256, 65_791, 65_792, 1 << 20])
def test_sizes_of_zstandard_frames(size):
    frame = bytes(numcodecs.Zstd(3).encode(np.arange(size).astype(np.uint8)))
    assert _unpacked_bytes(frame) == size
    assert _unpacked_bytes(frame[1:]) is None


def test_compressed_zips_are_refused(rewritten):
    with pytest.raises(ArtifactError, match="stored uncompressed"):
        read_arrays(rewritten(how=zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("deep", ["[" * 100_000 + "]" * 100_000, "NaN"])
def test_attributes_that_no_json_should_hold_are_damage(rewritten, deep):
    change = lambda text: text.replace(b'"schema"', b'"deep": ' + deep.encode() + b', "schema"', 1)  # noqa: E731
    with pytest.raises(ArtifactError, match="damaged"):
        read_arrays(rewritten("zarr.json", change))
