from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.exchange.tensors import load_matrix, rows_for
from pipeline.jobs.stage import StageError


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.fixture
def job(tmp_path):
    return SimpleNamespace(root=tmp_path, note_file=lambda name, path: path)


def test_reads_a_matrix(job, tmp_path):
    torch.save(torch.arange(6.0).reshape(3, 2).half(), tmp_path / "x.pt")
    np.testing.assert_array_equal(load_matrix(job, "features", "x.pt").values, [[0, 1], [2, 3], [4, 5]])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Hostile(), "not a file of tensors"),
        ({"a": torch.zeros(2, 2), "b": torch.zeros(2, 2)}, "holds several matrices"),
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
    ids, rows, failed = rows_for(job, paths, listed, ["a", "c", "b"], "features")
    assert (ids, rows.tolist(), failed) == (["a", "c", "b"], [[2], [3], [1]], {})
    with pytest.raises(StageError, match="2 rows, but the list of `train` has 3 videos"):
        rows_for(job, paths, {**listed, "train": ["a", "b", "d"]}, ["a"], "features")
    with pytest.raises(StageError, match="no row for 1 videos, for example z"):
        rows_for(job, paths, listed, ["z"], "features")


def test_named_rows_cover_several_splits_and_lack_some(job, tmp_path):
    np.savez(tmp_path / "all.npz", features=np.array([[1.0], [2.0], [3.0]]), video_id=["x/c.mp4", "a.mp4", "unlisted"])
    listed = {"train": ["a", "b"], "test": ["x__c"]}
    ids, rows, failed = rows_for(job, {"all": "all.npz"}, listed, ["a", "b", "x__c"], "features")
    assert (ids, rows.tolist()) == (["a", "x__c"], [[2], [1]])
    assert failed == {"b": "no_features: the imported files name no row for it"}


def test_a_video_in_two_files_and_files_of_two_widths_are_told(job, tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "one.pt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "two.pt")
    torch.save({"b": torch.zeros(3)}, tmp_path / "wide.pt")
    listed = {"train": ["a", "b"]}
    with pytest.raises(StageError, match="more than one file has a row for a"):
        rows_for(job, {"train": "one.pt", "test": "two.pt"}, listed, ["a"], "features")
    with pytest.raises(StageError, match=r"one\.pt has 2, wide\.pt has 3"):
        rows_for(job, {"train": "one.pt", "test": "wide.pt"}, listed, ["a"], "features")
