"""Files that no rule makes: inputs, or parameters where Snakemake would take braces in their paths for wildcards."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.config import validate
from pipeline.rules import snakemake
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


def test_jobs_ask_for_a_gpu_where_something_of_them_runs_on_one(monkeypatch):
    """Encoders, networks that are trained, and a search where faiss is one for GPUs; on a cluster alone."""

    def asking(cluster: bool, device: str = "auto", faiss_on_gpu: bool = True) -> set[str]:
        monkeypatch.setattr(snakemake, "searches_on_gpu", lambda: faiss_on_gpu)
        config = validate({"runtime": {"device": device}, "datasets": {}})
        rules = Rules(config, ".", None, cluster, None, lambda function: function, print)
        return {name for name, stage in STAGES.items() if rules.gpus(stage)}

    some = asking(True)
    assert {"poses", "features", "prompts", "finetune", "proda_train", "proda_predict", "motion_concepts"} <= some
    assert not some & {"keyframes", "classifier", "concept_layers", "index"}
    assert asking(True, faiss_on_gpu=False) == some - {"motion_concepts"}
    assert asking(True, device="cpu") == asking(False) == set()
    # What opens a network on the device of a run is declared to.
    for name, stage in STAGES.items():
        text = Path(importlib.util.find_spec(stage.module).origin).read_text()
        if "device(job.runtime)" in text or "search_device" in text:
            assert name in some, name
