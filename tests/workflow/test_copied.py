"""A project that was copied: times of change are others, contents are not."""

from __future__ import annotations

import os
import random

import pytest

from pipeline.config import dataset, load
from pipeline.rules.times import out_of_order

TARGET = "results/small/model.pt"


@pytest.fixture
def copied(workspace):
    """Every file of the results has a time of its own, in no order; clips are newer than what was made from them."""
    files = sorted(path for path in (workspace.folder / "results").rglob("*") if path.is_file())
    random.Random(0).shuffle(files)
    # What no artifact tells of: pictures, and the sheet of poses, which does not record its clips.
    last = ("explain/", "quality.parquet")
    for second, path in enumerate(
        sorted(files, key=lambda path: 2 if any(name in str(path) for name in last) else "/data/clips/" in str(path))
    ):
        os.utime(path, (1.7e9 + second, 1.7e9 + second))
    return workspace


def section(workspace):
    return dataset(load(workspace.folder / "config.yaml"), "small")


def test_nothing_is_made_again(copied):
    planned = copied.snakemake("-n", TARGET)
    assert "are older than unchanged inputs (a copied project?)" in planned.stderr
    assert copied.jobs(planned), "the times alone would have it made again"
    status = copied.command("status", "results/small").stdout
    assert "older than unchanged inputs (a copied project?); a run sets the times right first" in status
    before = (copied.folder / TARGET).read_bytes()
    done = copied.snakemake(TARGET)
    assert copied.jobs(done) == {} and "the times were set right" in done.stderr
    assert (copied.folder / TARGET).read_bytes() == before
    assert copied.planned(TARGET) == {}


def test_what_holds_something_else_is_not_taken_for_the_same(copied):
    results = copied.folder / "results"
    found = {path for outputs in out_of_order(section(copied), results) for path in outputs}
    features = sorted((results / "small/backbone/features").iterdir())
    assert set(features) <= found
    clips = results / "small/data/clips" / features[0].name
    other = results / "small/data/clips" / features[1].name
    clips.write_bytes(other.read_bytes())
    found = {path for outputs in out_of_order(section(copied), results) for path in outputs}
    assert features[0] not in found and features[1] in found


def test_of_a_finished_run_nothing_is_out_of_order(finished):
    assert out_of_order(section(finished), finished.folder / "results") == []
