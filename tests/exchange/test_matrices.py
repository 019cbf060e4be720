from __future__ import annotations

import numpy as np
import pytest
import scipy.io
import torch
from safetensors.numpy import save_file

from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.matrices import Rows, by_id, read_matrix

X = np.arange(6, dtype=np.float32).reshape(3, 2)
NAMES = ["b.mp4", "a.mp4", "c.mp4"]


def mat(path, **content):
    scipy.io.savemat(path, content)


WRITERS = {
    "tensor.pt": lambda path: torch.save(torch.from_numpy(X), path),
    "half.pth": lambda path: torch.save(torch.from_numpy(X).half(), path),
    "bfloat16.pt": lambda path: torch.save(torch.from_numpy(X).bfloat16(), path),
    "asks for gradients.pt": lambda path: torch.save(torch.nn.Parameter(torch.from_numpy(X)), path),
    "with labels.pt": lambda path: torch.save({"x": torch.from_numpy(X), "y": torch.tensor([1, 2, 3])}, path),
    "plain.npy": lambda path: np.save(path, X.astype(np.float64)),
    "fortran.npy": lambda path: np.save(path, np.asfortranarray(X)),
    "plain.npz": lambda path: np.savez_compressed(path, features=X, label=[0, 1, 2]),
    "plain.mat": lambda path: mat(path, features=X),
    "plain.safetensors": lambda path: save_file({"features": X}, path),
}
NAMED = {
    "vectors.pt": lambda path: torch.save({name: torch.from_numpy(X[row]) for row, name in enumerate(NAMES)}, path),
    "names.pt": lambda path: torch.save({"features": torch.from_numpy(X), "names": NAMES}, path),
    "vectors.npz": lambda path: np.savez(path, **dict(zip(NAMES, X, strict=True))),
    "names.npz": lambda path: np.savez(path, features=X, video_id=NAMES, note=["a", "b"]),
    "cells.mat": lambda path: mat(path, features=X, names=np.array(NAMES, object)),
    "characters.mat": lambda path: mat(path, features=X, names=["b.mp4", "a.mp4", "c.mp4  "]),
}


@pytest.mark.parametrize("name", WRITERS)
def test_rows_in_the_order_of_a_list(name, tmp_path):
    WRITERS[name](tmp_path / name)
    matrix = read_matrix(tmp_path / name)
    np.testing.assert_array_equal(matrix.values, X)
    assert matrix.values.dtype == np.float32 and matrix.ids is None


@pytest.mark.parametrize("name", NAMED)
def test_rows_with_names(name, tmp_path):
    NAMED[name](tmp_path / name)
    matrix = read_matrix(tmp_path / name)
    assert matrix.ids == NAMES
    np.testing.assert_array_equal(matrix.values, X)


def test_ids_that_are_numbers_are_refused(tmp_path):
    """`0001` is not 1; taken for no ids at all, the rows would follow the list."""
    numbers = np.array([1, 2, 3])
    np.savez(tmp_path / "x.npz", features=X, video_id=numbers)
    mat(tmp_path / "x.mat", features=X, ids=numbers)
    torch.save({"features": torch.from_numpy(X), "ids": torch.from_numpy(numbers)}, tmp_path / "x.pt")
    for name, column in (("x.npz", "video_id"), ("x.mat", "ids"), ("x.pt", "ids")):
        with pytest.raises(ForeignFileError, match=rf"`{column}` holds \w+; ids are text \(0001 is not 1\)"):
            read_matrix(tmp_path / name)


def test_what_a_file_holds_by_the_ids_of_the_data_set():
    ids = ["0001", "a__b", "c"]
    assert by_id({"a/b.mp4": 1, "0001": 2, "other": 3}, ids, "x") == {"a__b": 1, "0001": 2}
    with pytest.raises(ForeignFileError, match="x has none of the 3 videos: it names nothing"):
        by_id({}, ids, "x")
    with pytest.raises(ForeignFileError, match="x has none of the 3 videos: it names '1', '2', the data set '0001'"):
        by_id({"1": 1, "2": 2}, ids, "x")


def test_the_matrix_of_several_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", clip=X, video=2 * X)
    with pytest.raises(ForeignFileError, match=r"several matrices.*clip \[3, 2\] float32, video"):
        read_matrix(tmp_path / "x.npz")
    np.testing.assert_array_equal(read_matrix(tmp_path / "x.npz", "video").values, 2 * X)
    with pytest.raises(ForeignFileError, match="no array `text`; there are: clip"):
        read_matrix(tmp_path / "x.npz", "text")


class Hostile:
    def __reduce__(self):
        return (exec, ("open('executed', 'w')",))


def changed(row, column, value):
    result = X.copy()
    result[row, column] = value
    return result


OBJECTS = np.array([Hostile()], object)
BAD = {
    "hostile.pt": (lambda path: torch.save(Hostile(), path), "ever unpickled"),
    "hostile.npy": (lambda path: np.save(path, OBJECTS, allow_pickle=True), "pickled Python objects, which are never"),
    "hostile.npz": (lambda path: np.savez(path, x=OBJECTS), "pickled Python objects, which are never"),
    "garbage.npy": (lambda path: path.write_bytes(b"garbage"), "not a file of numpy arrays"),
    "cut.npz": (lambda path: path.write_bytes(b"PK\x03\x04cut"), "not a file of numpy arrays"),
    "garbage.mat": (lambda path: path.write_bytes(b"garbage" * 50), "not a MATLAB file"),
    "hdf5.mat": (
        lambda path: path.write_bytes(
            b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + bytes(64)
        ),
        "version 7.3; save it again",
    ),
    "garbage.safetensors": (lambda path: path.write_bytes(b"garbage" * 50), "not a safetensors file"),
    "nan.npy": (lambda path: np.save(path, changed(1, 0, np.nan)), r"row 1 holds NaN or infinity \(1 of 3"),
    "nan.npz": (lambda path: np.savez(path, x=changed(0, 1, np.inf), ids=NAMES), r"row 0 \(b.mp4\) holds NaN"),
    "too large.npy": (lambda path: np.save(path, 1e300 * (1 + X.astype(float))), "row 0 holds NaN or infinity"),
    "empty.npy": (lambda path: np.save(path, X[:0]), "empty matrix"),
    "cube.npy": (lambda path: np.save(path, np.zeros((2, 2, 2))), r"must hold one matrix of floats.*\[2, 2, 2\]"),
    "integers.npy": (lambda path: np.save(path, X.astype(int)), "must hold one matrix of floats"),
    "text.npz": (lambda path: np.savez(path, a=NAMES), r"must hold one matrix of floats.*a \(3 texts\)"),
    "lengths.npz": (lambda path: np.savez(path, a=X[0], b=X.ravel()), r"different lengths: \[2, 6\]"),
    "names.npz": (lambda path: np.savez(path, x=X, ids=NAMES[:2]), "3 rows, but 2 names in `ids`"),
    "twice.npz": (lambda path: np.savez(path, x=X, ids=["a", "b", "a.avi"]), "more than one row for a"),
    "repeated.pt": (lambda path: torch.save(torch.ones(1).expand(1 << 20, 1 << 20), path), "repeats a stored value"),
    "table.csv": (lambda path: path.write_text("1,2"), "suffix `.csv`; known suffixes are .pt"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_told_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write, words = BAD[name]
    write(tmp_path / name)
    with pytest.raises(ForeignFileError, match=words) as caught:
        read_matrix(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()
    with pytest.raises(ForeignFileError, match="does not exist"):
        read_matrix(tmp_path / "none.npy")


IDS = ["kick__v_1", "run__v_1", "run__v_2", "solo"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (IDS, [0, 1, 2, 3]),
        (["run/v_2.avi", "run/v_1.avi", "solo.mp4", "kick\\v_1.avi"], [3, 1, 0, 2]),
        # `v_1` is two videos, so the bare name tells nothing; `v_2` is one.
        (["v_1", "v_2"], [None, None, 1, None]),
        (["other/place/v_2.mp4", "deep/solo"], [None, None, 0, 1]),
        # Two rows end alike: neither is taken.
        (["x/v_2", "y/v_2"], [None, None, None, None]),
    ],
)
def test_rows_are_found_by_id_path_or_unique_name(names, found):
    rows = Rows(names, IDS, "file")
    assert [rows.find(key) for key in IDS] == found


def test_two_names_of_one_video():
    with pytest.raises(ForeignFileError, match="file has more than one row for run__v_1"):
        Rows(["run/v_1.avi", "run__v_1"], IDS, "file")
