"""Syn-TA rendered, compared and explained in one small run; and motion concepts of things."""

from __future__ import annotations

import json

import pytest

from pipeline.data.synthesise import unpacked
from pipeline.store.arrays import read_arrays
from pipeline.store.atomic import ArtifactError
from pipeline.store.tables import read_table

DUAL = "pipeline/demo/encoders/dual_encoder"
RENDERED = {"classes": ["rising", "falling"], "fine_per_set": 1, "views": ["front"], "ids": 6, "train_ids": 4}
TINY = {
    "data": {
        "shards": 1,
        "index": {
            "source": "synta",
            "validation_fraction": 0.34,
            "rendered": {**RENDERED, "factor_ids": 1, "backgrounds": ["realistic", "plain"]},
        },
        "decode": {"size": 112},
    },
    "demo": {"synta": {"size": 112, "frames": [16, 16], "distance": 19}},
    "motion": {"source": "tracks"},
    "transfer": {
        "models": ["linear", "temporal", "concepts", "zero_shot", "prompt"],
        "n_concepts": 6,
        "seeds": 1,
        "epochs": 2,
        "prompt": {"frames": 2, "epochs": 1},
    },
    "backbone": {"features": {"model": "pipeline/demo/encoders/backbone"}},
    "context": {"dual_encoder": {"model": DUAL}, "texts": {"model": DUAL}},
}
ONE = {
    "dataset": "tiny",
    "data": {"index": {"train_set": 1}},
    "bottleneck": {"concept_layers": {"kinds": ["dance"], "types": ["motion"]}},
}


@pytest.fixture(scope="module")
def transferred(tmp_path_factory, make_workspace):
    folder = tmp_path_factory.mktemp("transfer")
    workspace = make_workspace(folder)
    workspace.configure({"datasets": {"tiny": TINY, "tiny_1": ONE}})
    workspace.snakemake("results/tiny/transfer/report.html", "results/tiny_1/motion/motion_concepts.zarr.zip")
    return workspace


def test_clips_are_rendered_with_their_truth(transferred):
    results = transferred.folder / "results/tiny"
    manifest, about = read_table(results / "synta/manifest/000-of-001.parquet")
    rows = manifest.to_pylist()
    assert len(rows) == 4 * (2 * 6 + 3) and about["fps"] == 24
    assert all((results / "synta" / row["path"]).is_file() for row in rows)
    truth, described = read_arrays(results / "synta/truth/000-of-001.zarr.zip")
    assert described["video_id"] == [row["video_id"] for row in rows]
    assert (
        unpacked(truth["ids"]).shape == (16 * len(rows), 112, 112) and len(truth["tracks"]) == truth["body_offsets"][-1]
    )
    tracks, _ = read_arrays(results / "motion/tracks/000-of-001.zarr.zip")
    assert tracks["found"].shape == tracks["truth"].shape == (len(rows), 16, 4, 6)


def test_nothing_runs_again(transferred):
    assert transferred.planned("results/tiny/transfer/report.html") == {}


def test_what_decides_is_compared_and_explained(transferred):
    metrics = json.loads((transferred.folder / "results/tiny/transfer/metrics.json").read_text())
    assert metrics["headline"]["name"].endswith("concepts (found)") and metrics["chance"] == 50
    assert {"linear", "linear, plain", "concepts (truth)", "concepts (found)"} <= set(metrics["models"])
    assert metrics["models"]["concepts (truth)"]["known"] == 100
    model = "results/tiny/transfer/model.pt"
    video = "results/tiny/synta/videos/rising/rising1_front_id_5.mp4"
    told = transferred.command("predict", model, video).stdout
    assert told.startswith(f"{video}: ") and "motion 00" in told
    transferred.command("explain", model, video, "--out", "why")
    assert json.loads((transferred.folder / "why/explanation.json").read_text())["reasons"]
    assert list((transferred.folder / "why").glob("motion_*.png"))
    table = transferred.command("transfer", "results/tiny", "--table", "4").stdout
    assert table.startswith("Table 4: HM by background") and "| concepts (found) |" in table
    fine = transferred.command("transfer", "results/tiny", "--table", "3").stdout
    assert "| zero_shot |" in fine and "| prompt |" in fine
    assert "| prompt |" in table and "realistic only" in table
    refused = transferred.command("transfer", "results/tiny", "--table", "5", check=False)
    assert refused.returncode == 2 and "add moving and disentangled to transfer.models" in refused.stderr
    page = (transferred.folder / "results/tiny/transfer/report.html").read_text()
    assert "Data card" in page and "60 clips of 2 coarse and 4 fine classes" in page
    assert "Where temporal looks" in page and "Table 5: no network was disentangled" in page


def test_dance_reads_motions_of_things(transferred):
    concepts, about = read_arrays(transferred.folder / "results/tiny_1/motion/motion_concepts.zarr.zip")
    assert about["skeleton"] == "tracks" and concepts["medoids"].shape[1:] == (7, 4, 6)
    assert not (transferred.folder / "results/tiny_1/motion/poses").exists()
    # Six videos teach no layer; a model asks for nothing that tracks have not.
    assert transferred.planned("results/tiny_1/model.pt") == {
        "concept_layers": 1,
        "classifier": 1,
        "model": 1,
        "named": 1,
    }
    splits = read_table(transferred.folder / "results/tiny_1/data/index.parquet")[0]["split"].to_pylist()
    assert set(splits) == {"train", "val", "test", "unknown", "unknown_motion", "unknown_shape", "unknown_scene"}


def test_a_torn_manifest_is_told(transferred):
    manifest = transferred.folder / "results/tiny/synta/manifest/000-of-001.parquet"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match="manifest"):
        read_table(manifest)
    manifest.write_bytes(whole)
