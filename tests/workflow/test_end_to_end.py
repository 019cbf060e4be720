"""The whole pipeline on a small demo: what a user gets and can do with it."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pipeline.store.arrays import read_arrays


def test_metrics_have_what_is_promised(finished):
    metrics = finished.metrics("small")
    for key in (
        "dataset",
        "n_train",
        "n_val",
        "n_test",
        "top1",
        "top5",
        "top1_by_type",
        "backbone_top1",
        "n_concepts",
        "nnz",
        "top1_at_nec",
        "kkt_gap",
        "lambda",
        "seconds",
        "shifted_top1",
    ):
        assert key in metrics, key
    assert metrics["n_train"] + metrics["n_val"] == 40
    assert metrics["n_test"] == metrics["n_shifted"] == 8
    assert set(metrics["top1_by_type"]) == {"motion", "object", "scene", "all"}
    assert set(metrics["top1_at_nec"]) == {"5", "10", "15"}
    assert metrics["headline"] == {"name": "top-1", "value": metrics["top1"], "split": "test"}
    assert metrics["relative_duality_gap"] <= 1e-6
    rows = pq.read_table(finished.folder / "results/small/demo/evaluation.parquet").to_pylist()
    measured = {row["figure"]: row["value"] for row in rows}
    assert measured["ceiling_motion"] == 0.5 and measured["ceiling_all"] == 1.0
    assert measured["pck_test_visible"] >= 0.90
    assert metrics["top1"] >= 0.70  # 40 training clips of 8 classes; 8 test clips
    for stage in ("decode", "poses", "keyframes", "features", "dual_encoder", "classifier"):
        assert metrics["seconds"][stage] > 0


def test_figures_follow_from_the_artifacts(finished):
    """Top-1 computed again from index, features, maps and model, without the code that reported it."""
    results = finished.folder / "results" / "small"
    index = {row["video_id"]: row for row in pq.read_table(results / "data/index.parquet").to_pylist()}
    content = torch.load(results / "model.pt", weights_only=True)
    model, text = content["tensors"], json.loads(content["metadata"])
    assert text["about"]["kind"] == "dance+salf"
    right = []
    for path in sorted((results / "backbone/features").glob("*.zarr.zip")):
        arrays, attributes = read_arrays(path)
        places, other = read_arrays(results / "backbone/maps" / path.name)
        assert other["video_id"] == attributes["video_id"]
        for video_id, feature, maps in zip(attributes["video_id"], arrays["features"], places["maps"], strict=True):
            if index[video_id]["split"] != "test":
                continue
            located = (torch.tensor(maps).float() @ model["map_weight"].T).flatten(1, 2)  # [S, h × w, concepts]
            pooled = {
                "mean": located.mean(1),
                "max": located.amax(1),
                "softmax": (located.softmax(1) * located).sum(1),
            }[text["about"]["maps"]["pooling"]].mean(0)
            raw = torch.cat([model["layer_weight"] @ torch.tensor(feature), pooled])
            logits = model["classifier_weight"] @ ((raw - model["layer_mean"]) / model["layer_std"])
            answer = int((logits + model["classifier_bias"]).argmax())
            right.append([text["class_names"][answer]] == index[video_id]["class_names"])
    assert len(right) == 8
    assert np.mean(right) == pytest.approx(finished.metrics("small")["top1"])


def test_every_dropped_candidate_has_its_reason(finished):
    results = finished.folder / "results" / "small"
    rows = pq.read_table(results / "bottleneck/concept_layers.parquet").to_pylist()
    candidates = pq.read_table(results / "context/concepts.parquet").to_pylist()
    assert all(row["kept"] or row["reason"] for row in rows)
    assert {row["text"] for row in candidates} == {row["name"] for row in rows if row["type"] != "motion"}
    assert any(row["dropped_by"] == "length" for row in candidates)
    assert any(row["dropped_by"] == "activation" for row in candidates)


@pytest.mark.parametrize("name", ["motion_concepts.png", "explanations.png"])
def test_pictures_show_something(finished, name):
    picture = np.asarray(Image.open(finished.folder / "results/small/explain" / name).convert("L"))
    assert min(picture.shape) > 150
    assert (picture < 128).mean() > 0.005


def test_model_file_is_plain_tensors_and_text(finished):
    model = torch.load(finished.folder / "results/small/model.pt", weights_only=True)
    tensors = model.pop("tensors")
    assert all(isinstance(value, torch.Tensor) for value in tensors.values())
    assert model["method"] == "dance" and all(isinstance(value, (str, int)) for value in model.values())


def test_predict_agrees_with_the_cached_features(finished):
    videos = sorted((finished.folder / "results/small/demo/videos").glob("*_test_000.mp4"))[:3]
    done = finished.command("predict", "results/small/model.pt", *map(str, videos), "--json")
    answers = json.loads(done.stdout)
    assert [answer["video"] for answer in answers] == [str(video) for video in videos]
    from pipeline.methods.dance.bottleneck.recogniser import read_model

    model = read_model(finished.folder / "results/small/model.pt")
    features, maps = {}, {}
    for path in (finished.folder / "results/small/backbone/features").glob("*.zarr.zip"):
        arrays, attributes = read_arrays(path)
        features.update(zip(attributes["video_id"], arrays["features"], strict=True))
        places, attributes = read_arrays(finished.folder / "results/small/backbone/maps" / path.name)
        maps.update(zip(attributes["video_id"], places["maps"], strict=True))
    for answer, video in zip(answers, videos, strict=True):
        expected = model.predict(features[video.stem], maps=model.maps(maps[video.stem][None]))[0]
        assert answer["class"] == expected.class_name
        assert answer["probability"] == pytest.approx(expected.probability, abs=1e-3)
        assert answer["contributions"][0]["concept"] == expected.contributions[0].concept


def test_predict_tells_what_is_wrong(finished, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"not a video at all")
    done = finished.command("predict", "results/small/model.pt", str(tmp_path / "broken.mp4"), check=False)
    assert done.returncode == 1 and "cannot be read" in done.stdout
    done = finished.command("predict", "results/none/model.pt", "x.mp4", check=False)
    assert done.returncode == 2 and "does not exist" in done.stderr and "Traceback" not in done.stderr
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    done = finished.command("predict", str(tmp_path / "other.pt"), str(tmp_path / "broken.mp4"), check=False)
    assert done.returncode == 2 and "not a model of this project" in done.stderr


def test_inspect_lists_everything_as_current(finished):
    reports = json.loads(finished.command("inspect", "results/small", "--json").stdout)
    results = finished.folder / "results/small"
    artifacts = [path for name in ("*.zarr.zip", "*.parquet") for path in results.rglob(name)]
    assert len(reports) == len(artifacts) > 40
    assert all(not report["stale"] and not report["problem"] for report in reports)
    table = finished.command("inspect", "results/small").stdout
    assert "motion/poses/000-of-003.zarr.zip" in table and "current" in table
    one = finished.command("inspect", "results/small/motion/motion_concepts.zarr.zip").stdout
    assert "medoids" in one and "n_concepts" in one


def test_inspect_tells_stale_and_damaged(workspace):
    config = workspace.config()
    config["datasets"]["small"]["motion"]["keyframes"]["threshold"] = 0.9
    workspace.configure(config)
    target = workspace.folder / "results/small/backbone/features/000-of-003.zarr.zip"
    target.write_bytes(target.read_bytes()[:1000])
    reports = json.loads(workspace.command("inspect", "results/small", "--json").stdout)
    stale = {report["path"].split("/")[-2] for report in reports if "settings have changed" in report["stale"]}
    assert "keyframes" in stale and "pose_clips" in stale and "poses" not in stale
    assert [report["path"] for report in reports if report["problem"]] == [
        "results/small/backbone/features/000-of-003.zarr.zip"
    ]
