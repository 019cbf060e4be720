"""Folders that a setting names: Snakemake watches their own time of change, which tells nothing of their files."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from pipeline.config import validate
from pipeline.rules.graph import STAGES
from pipeline.rules.snakemake import Rules

SHARD = SimpleNamespace(dataset="own", shard="000-of-001")


@pytest.fixture
def followed(tmp_path, project):
    """What a job of a stage follows, asked anew at every call."""
    root = tmp_path / "own"
    for folder in ("videos", "poses", "wordnet"):
        (root / folder).mkdir(parents=True)
        (root / folder / "a.npy").write_bytes(b"one")
    for split in ("train", "test"):
        (root / f"{split}.csv").write_text(f"videos/{split}.mp4,0\n")
    (root / "classes.txt").write_text("a\n")
    index = {"lists": {split: f"{split}.csv" for split in ("train", "test")}, "class_list": "classes.txt"}
    section = {
        "data": {"root": "own", "shards": 1, "index": {**index, "validation_by": "video"}},
        "motion": {"poses": {"source": "arrays", "path": "poses"}},
        "context": {"candidates": {"source": "wordnet", "wordnet": "wordnet"}},
    }
    config = validate({"data_root": str(tmp_path), "datasets": {"own": section}})

    def ask(stage: str) -> str:
        rules = Rules(config, str(project), 1, False, None, lambda function: function, pytest.fail)
        return rules.followed(STAGES[stage])(SHARD)

    return ask


@pytest.mark.parametrize(("stage", "folder"), [("poses", "poses"), ("candidates", "wordnet")])
def test_a_file_that_was_overwritten_in_a_folder_reruns_the_stage(followed, tmp_path, stage, folder):
    before = {name: followed(name) for name in ("poses", "candidates", "keyframes")}
    times = os.stat(tmp_path / "own" / folder).st_mtime_ns
    (tmp_path / "own" / folder / "a.npy").write_bytes(b"two")
    os.utime(tmp_path / "own" / folder / "a.npy", (1, 1))
    assert os.stat(tmp_path / "own" / folder).st_mtime_ns == times
    assert {name for name, digest in before.items() if followed(name) != digest} == {stage}
