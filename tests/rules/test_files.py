"""Files that no rule makes: inputs, or parameters where Snakemake would take braces in their paths for wildcards."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from pipeline.config import validate
from pipeline.rules.graph import STAGES
from pipeline.rules.snakemake import Rules


@pytest.mark.parametrize(("folder", "named"), [("plain", True), ("a {word} b", False), ("{}", False)])
def test_files_below_folders_with_braces_are_followed_all_the_same(tmp_path, monkeypatch, folder, named):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    root = tmp_path / folder / "own"
    (root / "A").mkdir(parents=True)
    for name in ("A/1.mp4", "A/2.mp4", "objects.txt", "scenes.txt"):
        (root / name).write_text(name)
    index = {"source": "folders", "test_fraction": 0.2, "validation_by": "video"}
    texts = {"candidates": {"object": "objects.txt", "scene": "scenes.txt"}}
    section = {"data": {"root": "own", "index": index}, "context": {"texts": texts}}
    config = validate({"data_root": str(tmp_path / folder), "datasets": {"own": section}})

    def rules():
        return Rules(config, str(tmp_path), 1, False, None, lambda function: function, print)

    wildcards = SimpleNamespace(dataset="own", trained="own")
    stage = STAGES["texts"]
    files = rules().inputs(stage)["files"](wildcards)
    assert files == ([f"../{folder}/own/objects.txt", f"../{folder}/own/scenes.txt"] if named else [])
    before = rules().followed(stage)(wildcards)
    (root / "objects.txt").write_text("changed now")
    os.utime(root / "objects.txt", ns=(1, 1))
    assert (rules().followed(stage)(wildcards) == before) == named
