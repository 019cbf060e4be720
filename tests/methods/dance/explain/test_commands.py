"""`conceptreel explain`, `ask` and `edit` on a small model with maps, and what they say to bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from pipeline.backbone.encoders import load_backbone
from pipeline.backbone.settings import Features
from pipeline.cli import main
from pipeline.data.settings import Decode
from pipeline.demo.videos import write_video
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, read_model
from pipeline.methods.dance.explain.overlay import BAR, CAPTION, TITLE

BACKBONE = "pipeline/demo/encoders/backbone"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model of two classes: the map of the object `ball` decides for `red`, that of the scene `sea`, and no ball, for
    `blue`."""
    folder = tmp_path_factory.mktemp("model")
    width = load_backbone(BACKBONE).width
    weight = np.random.default_rng(0).normal(size=(2, width)) / np.sqrt(width)
    about = {
        "dataset": "test",
        "skeleton": "coco",
        "n_videos": [],
        "decode": Decode(size=112, min_frames=1).model_dump(mode="json"),
        "features": Features(model=BACKBONE).model_dump(mode="json"),
    }
    places = {
        "model": BACKBONE,
        "revision": "main",
        "cls_token": False,
        "grid": [7, 7],
        "placement": "inset",
        "radius": 32,
        "pooling": "mean",
    }
    # Every picture shows a ball and none the sea, wherever the maps may be warm.
    layer = {
        "weight": np.zeros((0, width)),
        "mean": np.zeros(2),
        "std": np.ones(2),
        "map_weight": weight,
        "levels": np.array([[-101.0, 100], [-99, 102], [-100, 101], [9, 9], [1, 1]]),
        "heat": np.array([[-10.0, -10], [10, 10]]),
    }
    model = ConceptModel(
        ["red", "blue"],
        ["ball", "sea"],
        ["object", "scene"],
        layer,
        np.array([[1.0, 0], [-0.5, 1.0]]),
        np.zeros(2),
        np.zeros((0, 2, 1, 2), np.float32),
        {**about, "maps": places, "window": 0.8},
    )
    model.save(folder / "model.pt")
    plain = ConceptModel(
        ["red", "blue"],
        ["ball"],
        ["object"],
        {"weight": np.ones((1, width)), "mean": np.zeros(1), "std": np.ones(1)},
        np.array([[1.0], [-1.0]]),
        np.zeros(2),
        np.zeros((0, 2, 1, 2), np.float32),
        about,
    )
    plain.save(folder / "plain.pt")
    picture = np.random.default_rng(1).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    Image.fromarray(picture).save(folder / "picture.png")
    write_video(folder / "film.mp4", np.random.default_rng(2).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8))
    (folder / "broken.png").write_bytes((folder / "picture.png").read_bytes()[:100])
    mask = np.zeros((80, 120), np.uint8)
    mask[20:60, 30:90] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask[:40]).save(folder / "small.png")
    return folder


def run(capsys, *arguments) -> dict | list:
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_explain_writes_heatmaps_and_everything_as_json(files, tmp_path, capsys):
    assert main(["explain", str(files / "model.pt"), str(files / "picture.png"), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    answer = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert answer["class"] in shown and answer["class"] in ("red", "blue")
    by_name = {item["concept"]: item for item in answer["located"]}
    # No heatmap for what is absent, however warm its map.
    assert by_name["sea"]["files"] == [] and by_name["sea"]["not_shown"] == by_name["sea"]["said"] + ": nothing to show"
    assert by_name["sea"]["present"] is False and by_name["sea"]["said"].startswith("no sea")
    assert not any("sea" in path.name for path in (tmp_path / "out").iterdir())
    assert f"where     {by_name['sea']['said']}: nothing to show" in shown
    located = by_name["ball"]
    assert located["present"] is True and located["heat"] == {"seen": -10, "full": 10}
    assert np.shape(located["map"]) == (8, 7, 7)
    assert answer["square"] == {"left": 20, "top": 0, "side": 80}
    strip, animation = (tmp_path / "out" / name for name in located["files"])
    assert np.asarray(Image.open(strip)).shape == (336 + TITLE + CAPTION, 8 * 336 + BAR, 3)
    assert animation.suffix == ".gif" and Image.open(animation).size == (336 + BAR, 336 + TITLE + CAPTION)
    # The activation is the mean of the map, as the model pools.
    assert located["activation"] == pytest.approx(np.mean(located["map"]), abs=1e-3)


def test_what_no_place_shows_is_not_located(files, tmp_path, capsys):
    model = read_model(files / "model.pt")
    model.layer["heat"][:] = [[100, 100], [101, 101]]
    model.save(tmp_path / "cold.pt")
    assert main(["explain", str(tmp_path / "cold.pt"), str(files / "picture.png"), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "ball present" in shown and "not located" in shown and not list((tmp_path / "out").glob("located*"))


def test_explain_over_time(files, tmp_path, capsys):
    arguments = ["explain", files / "model.pt", files / "film.mp4", "--timeline", "--out", tmp_path / "out"]
    assert main([str(argument) for argument in arguments]) == 0
    assert "ball: frames 0 to 49" in capsys.readouterr().out
    answer = json.loads((tmp_path / "out" / "timeline.json").read_text())
    # 2 s, windows of 0.8 s every 0.2 s.
    assert [window["first_frame"] for window in answer["windows"]] == [0, 5, 10, 15, 20, 25, 30]
    assert {tuple(window["present"]) for window in answer["windows"]} == {(True, False)}
    arguments += ["--window", 1.5, "--hop", 0.5]
    assert main([str(argument) for argument in arguments]) == 0
    assert len(json.loads((tmp_path / "out" / "timeline.json").read_text())["windows"]) == 2


def test_asked_regions_tell_presence(files, capsys):
    found = run(capsys, "ask", files / "model.pt", files / "picture.png", "--point", 60, 40, "--json")
    assert {item["concept"]: item["present"] for item in found} == {"ball": True, "sea": False}
    assert main(["ask", str(files / "model.pt"), str(files / "picture.png"), "--point", "60", "40"]) == 0
    shown = capsys.readouterr().out
    assert "ball present" in shown and "no sea" in shown


def test_explain_needs_no_maps(files, tmp_path, capsys):
    assert main(["explain", str(files / "plain.pt"), str(files / "picture.png"), "--out", str(tmp_path / "out")]) == 0
    assert "ball" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "explanation.json").read_text())["located"] == []


def test_asking_about_halves_adds_up_to_the_whole(files, capsys):
    def total(*box):
        found = run(capsys, "ask", files / "model.pt", files / "picture.png", "--box", *box, "--json")
        return {item["concept"]: item["activation"] for item in found}

    whole, left, right = total(0, 0, 120, 80), total(0, 0, 60, 80), total(60, 0, 120, 80)
    for concept in ("ball", "sea"):
        assert left[concept] + right[concept] == pytest.approx(whole[concept], rel=1e-6)
    mean = run(
        capsys, "ask", files / "model.pt", files / "picture.png", "--box", 0, 0, 120, 80, "--reduce", "mean", "--json"
    )
    assert {item["concept"]: item["activation"] * 80 * 80 for item in mean} == pytest.approx(whole)


def test_mask_and_box_of_the_same_region_agree(files, capsys):
    mask = run(capsys, "ask", files / "model.pt", files / "picture.png", "--mask", files / "mask.png", "--json")
    box = run(capsys, "ask", files / "model.pt", files / "picture.png", "--box", 30, 20, 90, 60, "--json")
    assert mask == box
    assert len(run(capsys, "ask", files / "model.pt", files / "picture.png", "--point", 60, 40, "--json")) == 2


def test_edits_move_the_decision_by_what_they_add(files, capsys):
    def logit(name):
        answer = run(
            capsys, "edit", files / "model.pt", files / "picture.png", "--concept", "sea", "--box", 0, 0, 120, 80,
            "--beta", "-3", "--json",
        )  # fmt: skip
        return np.log(answer[name]["blue"] / answer[name]["red"])

    assert logit("after") - logit("before") == pytest.approx(-3, abs=1e-3)


def test_edit_in_words(files, capsys):
    arguments = ["edit", files / "model.pt", files / "picture.png", "--concept", "ball", "--point", 60, 40, "--beta", 2]
    assert main([str(argument) for argument in arguments]) == 0
    assert "before: " in capsys.readouterr().out


BOX = ["--box", "30", "20", "90", "60"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["edit", "model.pt", "picture.png", "--concept", "bal", *BOX, "--beta", "1"], "did you mean `ball`?"),
        (
            ["edit", "model.pt", "picture.png", "--concept", "ball", *BOX, "--beta", "nan"],
            "not a number that can be added",
        ),
        (["ask", "model.pt", "picture.png", "--box", "0", "0", "121", "80"], "does not lie in the picture"),
        (["ask", "model.pt", "picture.png", "--point", "0", "80"], "does not lie in the picture"),
        (["ask", "model.pt", "picture.png", "--box", "0", "0", "10", "80"], "outside of what the model sees"),
        (["ask", "model.pt", "picture.png", "--mask", "small.png"], "the mask is 120 × 40 pixels"),
        (["ask", "model.pt", "picture.png", "--mask", "broken.png"], "does not decode as a picture"),
        (["ask", "plain.pt", "picture.png", *BOX], "plain.pt has no maps"),
        (["ask", "model.pt", "broken.png", *BOX], "cannot be read: damaged"),
        (["explain", "model.pt", "broken.png", "--out", "OUT"], "cannot be read: damaged"),
        (["explain", "model.pt", "none.png", "--out", "OUT"], "cannot be read: missing"),
        (["explain", "plain.pt", "film.mp4", "--out", "OUT", "--timeline"], "name the length of a window"),
        (["explain", "model.pt", "film", "--out", "OUT", "--timeline"], "film is no file"),
        (["explain", "model.pt", "broken.png", "--out", "OUT", "--timeline"], "cannot be read: damaged"),
        (["explain", "model.pt", "film.mp4", "--out", "mask.png", "--timeline"], "is a file; --out names a folder"),
        (["explain", "model.pt", "picture.png", "--out", "mask.png"], "is a file; --out names a folder"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(files, tmp_path, capsys, arguments, words):
    before = sorted(files.iterdir())
    resolved = [
        str(tmp_path / "out")
        if item == "OUT"
        else str(files / item)
        if item.endswith((".pt", ".png", ".mp4"))
        else item
        for item in arguments
    ]
    assert main(resolved) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert sorted(files.iterdir()) == before and not (tmp_path / "out").exists()


def test_predict_reads_models_with_and_without_maps(files, capsys):
    for name in ("model.pt", "plain.pt"):
        answer = run(capsys, "predict", files / name, files / "picture.png", "--json")
        assert answer[0]["class"] in ("red", "blue")
        # Without levels nobody knows.
        assert {row["present"] for row in answer[0]["contributions"]} <= (
            {None} if name == "plain.pt" else {True, False}
        )
        for row in answer[0]["contributions"]:
            assert row["speaks"] == ("for" if row["contribution"] > 0 else "against")
