from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.backbone.tensors import load_matrix, rows_for
from pipeline.stage import StageError


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.fixture
def job(tmp_path):
    return SimpleNamespace(root=tmp_path, note_file=lambda name, path: path)


def test_reads_a_matrix(job, tmp_path):
    torch.save(torch.arange(6.0).reshape(3, 2).half(), tmp_path / "x.pt")
    np.testing.assert_array_equal(load_matrix(job, "features", "x.pt"), [[0, 1], [2, 3], [4, 5]])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Hostile(), "not a file of tensors"),
        ({"a": torch.zeros(2, 2)}, "must hold one matrix"),
        (torch.zeros(3), "must hold one matrix"),
        (torch.zeros(3, 2, dtype=torch.int64), "must hold one matrix"),
    ],
)
def test_anything_else_is_refused(job, tmp_path, value, words):
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(StageError, match=words):
        load_matrix(job, "features", "x.pt")


def test_missing_and_damaged(job, tmp_path):
    with pytest.raises(StageError, match="does not exist"):
        load_matrix(job, "features", "none.pt")
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(StageError, match="not a file of tensors"):
        load_matrix(job, "features", "x.pt")


def test_rows_follow_the_lists_and_not_the_order_of_the_videos(job, tmp_path):
    torch.save(torch.tensor([[1.0], [2.0]]), tmp_path / "train.pt")
    torch.save(torch.tensor([[3.0]]), tmp_path / "test.pt")
    paths, listed = {"train": "train.pt", "test": "test.pt"}, {"train": ["b", "a"], "test": ["c"]}
    np.testing.assert_array_equal(rows_for(job, paths, listed, ["a", "c", "b"], "features"), [[2], [3], [1]])
    with pytest.raises(StageError, match="2 rows, but the list of `train` has 3 videos"):
        rows_for(job, paths, {**listed, "train": ["a", "b", "d"]}, ["a"], "features")
    with pytest.raises(StageError, match="no row for 1 videos, for example z"):
        rows_for(job, paths, listed, ["z"], "features")
