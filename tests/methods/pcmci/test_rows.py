"""Rows of all shards, read when they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.jobs.stage import StageError
from pipeline.methods.pcmci.rows import OnDisk


class Shards:
    """A job with shards of one encoder."""

    def __init__(self, *shards):
        self.shards = shards

    def read_arrays(self, name):
        for number, rows in enumerate(self.shards):
            ids = [f"{number}-{row}" for row in range(len(rows))]
            yield {name: rows.astype(np.float16)}, {"video_id": ids}


def some(n, seed=0, shape=(3, 4)):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float16)


def test_rows_are_those_of_the_shards():
    first, none, second = some(5), some(0), some(2, 1)
    rows = OnDisk(Shards(first, none, second), "frames")
    assert rows.video_id == [*(f"0-{k}" for k in range(5)), "2-0", "2-1"] and rows.shape == (3, 4)
    every = np.concatenate([first, second]).astype(np.float32)
    asked = np.array([6, 0, 3, 3])
    assert np.array_equal(rows[asked].numpy(), every[asked])


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_rows_without_direction_are_told(value):
    bad = some(3)
    bad[1, 2] = value
    with pytest.raises(StageError, match="frames of `0-1` have a row that is zero or not finite"):
        OnDisk(Shards(bad), "frames")


def test_shards_that_differ_and_no_rows_are_told():
    with pytest.raises(StageError, match="differ in shape"):
        OnDisk(Shards(some(2), some(2, shape=(5, 4))), "frames")
    with pytest.raises(StageError, match="no video has frames"):
        OnDisk(Shards(some(0)), "frames")
