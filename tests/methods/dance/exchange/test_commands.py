"""The commands, as a user calls them."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.backbone.encoders import load_backbone
from pipeline.cli import main
from pipeline.methods.dance.bottleneck.recogniser import read_model
from pipeline.methods.dance.explain.predict import VideoPredictor

BACKBONE = "pipeline/demo/encoders/backbone"


def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def published(fabricate, tmp_path):
    made = fabricate("dance")
    (tmp_path / "classes.txt").write_text("walk\r\nrun\r\njump\r\nsit\r\n")
    return made, *made.write_test_split(tmp_path)


def test_import_reproduces_the_stated_accuracy(published, tmp_path, capsys):
    made, features, listed = published
    out = tmp_path / "results/mine/model.pt"
    check = ("--features", features, "--list", listed)
    assert run("import", made.folder, "--out", out, "--class-list", tmp_path / "classes.txt", *check) == 0
    shown = capsys.readouterr().out
    right = f"({made.right} of 53)"
    assert right in shown and f"as the folder states ({made.right / 53:.6f})" in shown
    model = read_model(out)
    assert model.class_names == ["walk", "run", "jump", "sit"]
    assert (model.about["dataset"], model.about["kind"]) == ("mine", "dance")
    assert model.about["metrics"]["top1"] == made.right / 53
    assert set(model.about["imported"]["files"]) >= {"pose/W_c.pt", "place/concepts.txt", "aggregated/metrics.txt"}

    assert run("predict-features", out, features, "--list", listed, "--top", 2) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1].endswith(right) and shown[0].startswith("clip%200: ")
    assert run("predict-features", out, features, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    predictions = model.predict(made.features.numpy(), 3)
    assert [row["class"] for row in rows] == [item.class_name for item in predictions]
    assert rows[5]["contributions"] == [asdict(part) for part in predictions[5].contributions]


def test_features_with_names_need_no_order(published, tmp_path, capsys):
    made, _, listed = published
    order = np.random.default_rng(0).permutation(53)
    names = np.array([f"clip {row}.mp4" for row in order])
    np.savez(tmp_path / "shuffled.npz", features=made.features.numpy()[order], video_id=names)
    assert (
        run(
            "import", made.folder, "--out", tmp_path / "m.pt", "--features", tmp_path / "shuffled.npz", "--list", listed
        )
        == 0
    )
    assert f"({made.right} of 53)" in capsys.readouterr().out


def test_what_does_not_fit_is_told_and_nothing_is_written(published, tmp_path, capsys):
    made, features, listed = published
    out = tmp_path / "new/model.pt"

    def told(*arguments) -> str:
        assert run("import", made.folder, "--out", out, *arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("conceptreel: ") and error.count("\n") == 1
        assert not out.parent.exists()
        return error

    torch.save(made.features.flip(0), tmp_path / "flipped.pt")
    assert "are rows and list in the same order" in told("--features", tmp_path / "flipped.pt", "--list", listed)
    torch.save(made.features[:50], tmp_path / "short.pt")
    assert "50 rows, but" in told("--features", tmp_path / "short.pt", "--list", listed)
    torch.save(made.features[:, :5], tmp_path / "narrow.pt")
    assert "features have 5 dimensions" in told("--features", tmp_path / "narrow.pt", "--list", listed)
    assert "--features and --list go together" in told("--features", features)
    (tmp_path / "twice.csv").write_text(listed.read_text().replace("clip 1.mp4", "clip 0.mp4"))
    assert "duplicate: the id is listed 2 times" in told("--features", features, "--list", tmp_path / "twice.csv")
    (tmp_path / "label.csv").write_text(listed.read_text().replace("clip 0.mp4,", "clip 0.mp4,9"))
    assert "is not among the 4 classes" in told("--features", features, "--list", tmp_path / "label.csv")
    (tmp_path / "few.txt").write_text("a\nb\n")
    assert "the class list has 2 names" in told("--class-list", tmp_path / "few.txt")
    assert "does not exist" in told("--class-list", tmp_path / "none.txt")
    assert "gives 176 features, the folder's concepts read 12" in told("--backbone", BACKBONE)


def test_a_model_is_never_written_over(published, tmp_path, capsys):
    made, *_ = published
    (tmp_path / "model.pt").write_text("precious")
    assert run("import", made.folder, "--out", tmp_path / "model.pt") == 2
    assert "exists; name another file" in capsys.readouterr().err
    assert (tmp_path / "model.pt").read_text() == "precious"


@pytest.mark.parametrize("layout", ["lf-cbm", "dance", "safetensors"])
def test_export_and_import_again(published, tmp_path, capsys, layout):
    made, features, listed = published
    first, second, folder = tmp_path / "first.pt", tmp_path / "second.pt", tmp_path / "out" / layout
    assert run("import", made.folder, "--out", first) == 0
    assert run("export-model", first, "--format", layout, "--out", folder) == 0
    written = capsys.readouterr().out
    assert str(folder / ("model.safetensors" if layout == "safetensors" else "conceptreel.json")) in written
    assert [path.name for path in (tmp_path / "out").iterdir()] == [layout]
    assert run("import", folder, "--out", second, "--features", features, "--list", listed) == 0
    assert f"({made.right} of 53)" in capsys.readouterr().out
    one, two = (torch.load(path, weights_only=True) for path in (first, second))
    assert all(torch.equal(one[name], two[name]) for name in one if isinstance(one[name], torch.Tensor))
    assert run("export-model", first, "--format", layout, "--out", folder) == 2
    assert "is no empty folder" in capsys.readouterr().err


def test_an_imported_model_sees_pictures_where_its_backbone_is_named(tmp_path, capsys):
    """A flat folder on the features of a small network; the oracle encodes the picture and multiplies by hand."""
    torch.manual_seed(0)
    width = load_backbone(BACKBONE).width
    folder = tmp_path / "flat"
    folder.mkdir()
    parts = {
        "W_c": torch.randn(3, width),
        "proj_mean": torch.randn(1, 3),
        "proj_std": torch.rand(1, 3) + 0.5,
        "W_g": torch.randn(2, 3),
        "b_g": torch.randn(2),
    }
    for name, value in parts.items():
        torch.save(value, folder / f"{name}.pt")
    (folder / "concepts.txt").write_text("grass\nwater\nsand")
    out = tmp_path / "model.pt"
    assert run("import", folder, "--out", out, "--type", "scene", "--backbone", BACKBONE, "--size", 112) == 0
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    capsys.readouterr()
    assert run("predict", out, tmp_path / "x.png", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    feature = torch.from_numpy(VideoPredictor(read_model(out)).look(tmp_path / "x.png").feature)
    z = (feature @ parts["W_c"].T - parts["proj_mean"]) / parts["proj_std"]
    expected = torch.softmax(z @ parts["W_g"].T + parts["b_g"], 1)[0]
    assert list(row["probabilities"].values()) == pytest.approx(expected.tolist(), rel=1e-4)
    assert {part["type"] for part in row["contributions"]} == {"scene"}


def test_without_a_backbone_it_says_how_to_predict(published, tmp_path, capsys):
    made, *_ = published
    assert run("import", made.folder, "--out", tmp_path / "model.pt") == 0
    assert run("predict", tmp_path / "model.pt", "x.mp4") == 2
    assert "x.mp4 cannot be read: missing" in capsys.readouterr().err
    (tmp_path / "x.mp4").write_bytes(b"")
    assert run("predict", tmp_path / "model.pt", tmp_path / "x.mp4") == 2
    assert "conceptreel predict-features" in capsys.readouterr().err
