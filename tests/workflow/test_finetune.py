"""A backbone that is tuned first: what runs, what reruns, and that the model sees with it."""

from __future__ import annotations

import pytest

from pipeline.methods.dance.bottleneck.recogniser import read_model
from pipeline.store.arrays import read_arrays
from pipeline.store.tables import read_table

TARGET = "results/small/model.pt"
SHARDS = 3
ENCODING = {"features": SHARDS, "maps": SHARDS}
BOTTLENECK = {"concept_layers": 1, "classifier": 1, "baselines": 1, "model": 1, "named": 1}
TUNED = {"enabled": True, "epochs": 1, "views": 2, "batch_size": 8, "crop_scale": [0.5, 1.0]}


def configure(workspace, finetune: dict, runtime: dict | None = None) -> None:
    config = workspace.config()
    config["datasets"]["small"]["backbone"]["finetune"] = finetune
    config["runtime"] = runtime or {}
    workspace.configure(config)


def test_what_is_not_enabled_reruns_nothing(workspace):
    configure(workspace, {"epochs": 7})
    assert workspace.planned(TARGET) == {}


def test_views_are_made_where_they_are_used(workspace):
    tuning = {"finetune": 1, **ENCODING, **BOTTLENECK}
    configure(workspace, TUNED)
    assert workspace.planned(TARGET) == {"views": SHARDS, **tuning}
    configure(workspace, {**TUNED, "views": 1})
    assert workspace.planned(TARGET) == tuning


@pytest.mark.slow
def test_tuning_then_encoding_then_the_model(workspace):
    configure(workspace, TUNED)
    expected = {"finetune": 1, **ENCODING, **BOTTLENECK}
    workspace.snakemake(TARGET)
    assert workspace.planned(TARGET) == {}
    results = workspace.folder / "results/small"
    table, attributes = read_table(results / "backbone/finetune.parquet")
    assert table["chosen"].to_pylist() == [True]
    for shard in range(SHARDS):
        (views, _), (clips, _) = (
            read_arrays(results / f"data/{name}/{shard:03d}-of-{SHARDS:03d}.zarr.zip") for name in ("views", "clips")
        )
        assert views["frames"].shape[1:] == (2, *clips["frames"].shape[1:])
        assert 0 < len(views["frames"]) < len(clips["frames"])
    about = read_model(results / "model.pt").about
    assert about["features"]["model"] == "results/small/backbone/finetuned"
    assert about["finetuned"] == attributes["weights"]

    # Places and hardware change no result; the recipe does.
    configure(workspace, TUNED, {"finetune_processes": 2, "batch_size": {"finetune": 3}})
    assert workspace.planned(TARGET) == {}
    configure(workspace, {**TUNED, "seed": 1})
    assert workspace.planned(TARGET) == expected
    configure(workspace, {**TUNED, "views": 3})
    assert workspace.planned(TARGET) == {"views": SHARDS, **expected}
    configure(workspace, {"enabled": False})
    assert workspace.planned(TARGET) == {**ENCODING, **BOTTLENECK}

    video = next((results / "demo/videos").glob("*_test_*.mp4"))
    assert workspace.command("predict", TARGET, str(video)).stdout
    weights = results / "backbone/finetuned/model.safetensors"
    weights.write_bytes((workspace.project / "pipeline/demo/encoders/backbone/model.safetensors").read_bytes())
    refused = workspace.command("predict", TARGET, str(video), check=False)
    assert refused.returncode == 2 and "are not the expected ones" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
