"""What is present, what is absent and what is doubtful, in every place that shows reasons beside the commands."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, read_model
from pipeline.methods.dance.explain import editing
from pipeline.methods.dance.explain.page import charts
from pipeline.methods.dance.explain.pictures import _reasons
from pipeline.methods.dance.explain.regions import View
from pipeline.methods.dance.explain.report import Clips, Videos, class_rows, sample_cards, text_cards
from pipeline.methods.dance.explain.seen import Seen, picture_of, where
from pipeline.store.names import NameUnknown

CLASSES, CONCEPTS = ["lift", "kick"], ["motion 000", "barbell", "ball", "lawn"]
PLACES = {"grid": (2, 2), "placement": "cells", "radius": 32, "pooling": "mean"}


def model_of(weight, doubt=("", "", "", "")) -> ConceptModel:
    """Each concept counts as present from 0.5 on; nobody knows of the lawn. Barbell, ball and lawn have maps."""
    levels = np.array(
        [[-1.0, -1, -1, 0], [2, 2, 2, np.nan], [0.5, 0.5, 0.5, np.nan], [9, 9, 9, np.nan], [1, 1, 1, np.nan]]
    )
    layer = {
        "weight": np.eye(1, 4),
        "mean": np.array([0.0, 1, 1, 1]),
        "std": np.array([1.0, 2, 2, 2]),
        "map_weight": np.eye(3, 4, 1),
        "levels": levels,
        "heat": np.array([[1.0, 1, np.nan], [3, 3, np.nan]]),
    }
    about = {
        "dataset": "test",
        "skeleton": "coco",
        "n_videos": [3],
        "medoid_video_id": ["<b>clip</b>"],
        "doubt": list(doubt),
        "quality": [1.0] * 4,
        "maps": PLACES,
    }
    medoids = np.random.default_rng(0).random((1, 8, 17, 2), np.float32)
    types = ["motion", "object", "object", "scene"]
    return ConceptModel(CLASSES, CONCEPTS, types, layer, np.array(weight, float), np.zeros(2), medoids, about)


Z = np.array([0.7, -1.0, 1.0, 0.8])  # the motion and the ball are present, the barbell is not
WEIGHT = [[-1, -1, 2, 0.5], [0, 0, 0, 0]]


def test_a_model_file_keeps_levels_scales_and_doubts(tmp_path):
    model = model_of(WEIGHT, ["", "learned from 1 training video", "", ""])
    model.save(tmp_path / "model.pt")
    again = read_model(tmp_path / "model.pt")
    assert again.present(Z) == model.present(Z) == [True, False, True, None]
    np.testing.assert_array_equal(again.layer["heat"], model.layer["heat"])
    assert again.doubt == model.doubt


def test_without_is_a_level_by_its_name():
    model = model_of(WEIGHT)
    assert model.without(Z, [0, 2]).tolist() == [-1, -1, -1, 0.8]
    # What is absent already is not made more of.
    assert model.without(np.array([-3.0, 0, 0, 0]), [0])[0] == -3
    assert model.without(Z, [0, 2], "mean").tolist() == [0, -1, 0, 0.8]
    # The raw output is 0 at (0 − mean) / std.
    assert model.without(Z, [0, 2], "zero").tolist() == [0, -1, -0.5, 0.8]
    with pytest.raises(NameUnknown, match="there is no level `off`"):
        model.without(Z, [0], "off")
    with pytest.raises(NameUnknown, match="mean or zero"):
        ConceptModel(**{**vars(model), "layer": {"weight": np.eye(1, 4)}}).without(Z, [0])


def test_reasons_as_json():
    found = {row["concept"]: row for row in json.loads(json.dumps([asdict(i) for i in model_of(WEIGHT).explain(Z, 0)]))}
    assert {name: (row["present"], row["speaks"]) for name, row in found.items()} == {
        "motion 000": (True, "against"),
        "barbell": (False, "for"),
        "ball": (True, "for"),
        "lawn": (None, "for"),
    }
    assert found["motion 000"]["said"] == "motion 000 (as in <b>clip</b>) present"
    assert found["barbell"]["contribution"] == 1 and found["barbell"]["activation"] == -1


def test_a_doubtful_concept_never_stands_alone_at_the_top():
    few = "learned from 1 training video"
    model = model_of(WEIGHT, ["", "", few, ""])
    assert [row.concept for row in model.explain(Z, 0, 3)] == ["barbell", "motion 000", "ball"]
    assert [row.doubt for row in model.explain(Z, 0, 3)] == ["", "", few]
    assert [row.concept for row in model.explain(Z, 0, 1)] == ["barbell", "ball"]
    assert [row.concept for row in editing.contrast(model, Z, 0, 1, 1)] == ["barbell", "ball"]
    # Where there is no other, it stands there with its doubt.
    alone = model_of([[0, 0, 2, 0], [0, 0, 0, 0]], ["", "", few, ""])
    assert [(row.concept, row.doubt) for row in alone.explain(Z, 0, 3)] == [("ball", few)]


def seen(value: float) -> Seen:
    maps = np.full((2, 2, 2, 3), value)
    view = View(16, 16, np.array([0.25, 0.75]), np.array([0.25, 0.75]))
    return Seen(np.zeros((4, 16, 16, 3), np.uint8), np.arange(4) / 10, np.zeros((1, 4)), maps, view)


def test_heat_is_of_what_is_present_and_seen():
    rows = {row.concept: row for row in model_of(WEIGHT).explain(Z, 0)}
    model = model_of(WEIGHT)
    assert picture_of(model, rows["barbell"], seen(9)) is None
    assert where(model, rows["barbell"], seen(9).maps[..., 0]) == "no barbell: nothing to show"
    assert picture_of(model, rows["ball"], seen(0.9)) is None
    assert where(model, rows["ball"], seen(0.9).maps[..., 1]).startswith("ball present: not located, no place")
    assert where(model, rows["lawn"], seen(9).maps[..., 2]).startswith("lawn: not located, the model does not know")
    picture = picture_of(model, rows["ball"], seen(2.0))
    assert picture.title == "ball present   object, activation +1.00"
    assert picture.captions == ["0.10 s", "0.30 s"] and (picture.scale.seen, picture.scale.full) == (1, 3)
    assert picture.pictures.any() and len(picture.frames()) == 2
    medoid = picture_of(model, rows["motion 000"])
    assert medoid.title.startswith("motion 000 (as in <b>clip</b>) present")


def test_bars_of_pictures():
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, axis = plt.subplots()
    _reasons(axis, model_of(WEIGHT, ["", "", "", "why"]).explain(Z, 0))
    labels = {label.get_text() for label in axis.get_yticklabels()}
    assert "no barbell\nobject, activation -1.00" in labels and "ball present\nobject, activation +1.00" in labels
    assert any(label.endswith("DOUBTFUL") for label in labels)
    plt.close(figure)


def test_sankey_has_signs():
    """The ball speaks for both classes; the barbell for one by its presence, for the other by its absence."""
    figure = charts.sankey(model_of([[0, -1.5, 1, 0], [0, 2, 1, 0]], ["", "", "few", ""]), 0, 1)
    (data,) = figure.data
    assert sorted(data.node.label) == sorted(
        ["lift", "kick", "no barbell", "barbell present", "ball present (doubtful)"]
    )
    links = {
        (data.node.label[a], data.node.label[b]): (value, words)
        for a, b, value, words in zip(
            data.link.source, data.link.target, data.link.value, data.link.customdata, strict=True
        )
    }
    assert {ends: value for ends, (value, _) in links.items()} == {
        ("lift", "no barbell"): 1.5,
        ("barbell present", "kick"): 2,
        ("lift", "ball present (doubtful)"): 1,
        ("ball present (doubtful)", "kick"): 1,
    }
    assert links["lift", "no barbell"][1] == "no barbell speaks for lift: weight -1.500"


class OneClip(Clips):
    """A clip that is there without a cache; all places are equally warm."""

    def __init__(self, model, value):
        self.model, self.value = model, value

    def frames(self, video_id):
        return np.zeros((4, 16, 16, 3), np.uint8)

    def _part(self, name, array, video_id):
        return np.full((2, 2, 2, 4), self.value)


def test_cards_of_the_report():
    model = model_of(WEIGHT, ["", "", "", "why"])
    videos = Videos(
        np.array(["a", "b"], object), np.array(["test"] * 2, object), np.zeros(2, int), np.stack([Z, -Z]), [None, None]
    )
    (card,) = sample_cards(model, videos, OneClip(model, 2.0), np.array([0]), 5)
    said = {row["name"]: row for row in card["reasons"]}
    assert said["no barbell"]["speaks"] == "for" and said["no barbell"]["activation"] == -1
    assert said["motion 000 (as in <b>clip</b>) present"]["speaks"] == "against"
    assert said["lawn"]["doubt"] == "why" and card["reasons"][-1]["name"] == "lawn"
    # What is absent has no picture, and what is located has its scale.
    assert [part["name"] for part in card["pictures"]] == ["ball present", "lawn"]
    assert card["pictures"][0]["scale"].seen == 1 and card["pictures"][1]["scale"] is None
    (card,) = sample_cards(model, videos, OneClip(model, 0.5), np.array([0]), 5)
    assert card["pictures"][0]["scale"] is None and "not located" in card["pictures"][0]["words"]
    by_name = {card["name"]: card for card in text_cards(model, videos, OneClip(model, 2.0), "object", 9)}
    first, second = by_name["barbell"]["clips"]
    assert (first["id"], first["reason"].said, first["words"]) == ("b", "barbell present", "")
    assert second["words"] == "no barbell: nothing to show" and second["scale"] is None
    rows = class_rows(model, 5)[0]["concepts"]
    values = {row["name"]: row["value"] for row in rows}
    assert values["ball present"] == 2 and values["no barbell"] == -1 and {row["speaks"] for row in rows} == {"for"}
    assert rows[-1]["doubt"] == "why"


def test_the_page_says_it_too(project):
    import jinja2

    source = (project / "pipeline/methods/dance/explain/page/template.html").read_text()
    macros = source.partition("<!doctype html>")[0]
    page = jinja2.Environment(autoescape=True).from_string(macros).module
    model = model_of(WEIGHT, ["", "", "", "why"])
    videos = Videos(np.array(["a"], object), np.array(["test"], object), np.zeros(1, int), Z[None], [None])
    (card,) = sample_cards(model, videos, OneClip(model, 2.0), np.array([0]), 5)
    text = str(page.bars(card["reasons"]))
    assert "no barbell <small>object, -1.00, for</small>" in text
    assert "&lt;b&gt;clip&lt;/b&gt;) present <small>motion, +0.70, against</small>" in text
    assert "doubtful: why" in text
    assert "seen +1.0 <i></i> +3.0 full" in str(page.scale(card["pictures"][0]["scale"]))
