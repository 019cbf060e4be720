"""A model file, what it says of a video, and what it says under interventions."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.cli import main
from pipeline.data.entries import Segment
from pipeline.methods import models
from pipeline.methods.pcmci.model import INDEX, Model, Seen, network_of
from pipeline.methods.pcmci.network import Network
from pipeline.methods.pcmci.pictures import strongest, write
from pipeline.methods.pcmci.settings import PCMCI
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.names import NameUnknown
from pipeline.store.tables import write_table

NAMES = ["fry_egg", "$hostile$ <b>\n", "../x", "pour milk"]


@pytest.fixture
def model():
    settings = PCMCI(network={"width": 16, "heads": 4, "feedforward": 24, "temperature": 0.07})
    torch.manual_seed(0)
    network = Network(torch.randn(4, 16), 12, settings.network).eval()
    nn.init.normal_(network.stages["ICH"].join.weight, std=0.2)
    return Model({"class_names": NAMES, "settings": settings.model_dump(mode="json")}, network)


@pytest.fixture
def seen():
    random = torch.Generator().manual_seed(1)
    frames = functional.normalize(torch.randn(10, 16, generator=random), dim=1).numpy()
    tokens = torch.randn(10, 12, generator=random).numpy()
    pictures = np.zeros((10, 8, 8, 3), np.uint8)
    return Seen(frames, tokens, np.arange(10.0), pictures)


def test_a_saved_model_is_the_same(model, seen, tmp_path):
    model.save(tmp_path / "model.pt")
    again = models.load(tmp_path / "model.pt")
    assert again.class_names == NAMES
    expected = model.logits(seen.tokens[None], seen.frames[None])
    assert np.array_equal(again.logits(seen.tokens[None], seen.frames[None]), expected)


@pytest.mark.parametrize("change", ["labels", "weights", "settings"])
def test_a_model_whose_parts_do_not_fit_is_refused(model, change):
    metadata, tensors = dict(model.metadata), dict(model.network.state_dict())
    if change == "labels":
        metadata["class_names"] = NAMES[:3]
    elif change == "weights":
        del tensors["decoder.bias"]
    else:
        metadata["settings"] = {"network": {"width": -1}}
    with pytest.raises(ArtifactError, match="do not fit the network of PCMCI"):
        network_of(metadata, tensors)


def test_couplings_are_differences_of_logits(model, seen):
    """One label at a time, without the batch over all labels."""
    own = model.logits(seen.tokens[None], seen.frames[None])[0]
    found = model.couplings(seen)
    for j in range(4):
        replaced = torch.zeros(1, 4, dtype=torch.bool)
        replaced[0, j] = True
        changed = model.logits(seen.tokens[None], seen.frames[None], replaced=replaced)[0]
        assert np.allclose(found[:, j], own - changed, atol=1e-5)
    assert np.abs(found).max() > 1e-3


def test_dropped_frames_are_not_seen(model, seen):
    kept = np.r_[0:3, 7:10]
    expected = model.logits(seen.tokens[None, kept], seen.frames[None, kept])[0]
    assert np.allclose(model.intervene(seen, drop=(2.5, 6.5)), expected)
    with pytest.raises(StageError, match=r"leaves no frame of 9\.0 s"):
        model.intervene(seen, drop=(0, 100))


def test_another_text_changes_its_label_and_is_forgotten(model, seen):
    class Encoder:
        def texts(self, given):
            assert given == ["boil an egg"]
            return np.eye(16, dtype=np.float32)[:1]

    model.__dict__["_look"] = type("Look", (), {"dual": Encoder()})()
    before = model.logits(seen.tokens[None], seen.frames[None])[0]
    changed = model.intervene(seen, {"fry_egg": "boil an egg"})
    assert abs(changed - before)[0] > 1e-3
    assert np.array_equal(model.logits(seen.tokens[None], seen.frames[None])[0], before)
    with pytest.raises(NameUnknown, match="did you mean `fry_egg`"):
        model.intervene(seen, {"fry_eggs": "x"})


def test_weights_are_distributions(model, seen):
    found = model.weights(seen)
    assert found["plan"].shape == found["frames"].shape == (4, 10) and found["tokens"].shape == (4, 10)
    assert np.allclose(found["frames"].sum(1), 1) and np.allclose(found["tokens"].sum(1), 1, atol=1e-5)
    assert np.allclose(found["plan"].sum(0), 1 / 10, atol=1e-4)


def test_pictures_and_text(model, seen, tmp_path):
    changed = model.intervene(seen, drop=(2.5, 6.5))
    truth = [Segment(0, 4, 0)]
    after = model.under(seen, drop=(2.5, 6.5))
    lines = write(model, "a.mp4", seen, tmp_path, 2, after, "without 2.5-6.5 s", truth)
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("frames.png", "plan.png", "couplings.png"))
    told = json.loads((tmp_path / "explanation.json").read_text())
    assert told["intervention"] == "without 2.5-6.5 s" and "→" in lines[1]
    row = told["labels"][0]
    assert (
        told["counterfactual"][0].startswith(f"{row['label']}: ") and "without 2.5-6.5 s" in told["counterfactual"][0]
    )
    assert [part for row in told["labels"] for part in row["true"]] in ([], [[0, 4]])
    label = NAMES.index(row["label"])
    assert row["logit, intervened"] == pytest.approx(float(changed[label]))
    assert sum(row["frames"].values()) == pytest.approx(1, abs=1e-5)


def test_true_segments_are_those_of_the_index(model, tmp_path):
    """Found by the path below the data set's root, labels as the model counts them; excerpts count times otherwise."""
    segment = {"start": 1.0, "end": 2.5, "label": 0}
    rows = [
        {"path": "P03/cam01/a.mp4", "segments": [segment, {**segment, "label": 1}], "first_frame": None},
        {"path": "b.mp4", "segments": [segment], "first_frame": 25},
    ]
    kinds = pa.struct([("start", pa.float64()), ("end", pa.float64()), ("label", pa.int32())])
    kind = pa.schema([("path", pa.string()), ("segments", pa.list_(kinds)), ("first_frame", pa.int32())])
    (tmp_path / "data").mkdir()
    write_table(tmp_path / INDEX, pa.Table.from_pylist(rows, kind), {"class_names": ["pour milk", "unknown"]}, {})
    model.results = tmp_path
    assert model.truth("/films/P03/cam01/a.mp4") == [Segment(1.0, 2.5, 3)]
    assert model.truth("/films/P04/cam01/a.mp4") == model.truth("/films/b.mp4") == []
    model.results = tmp_path / "other"
    assert model.truth("/films/P03/cam01/a.mp4") == []


def test_labels_that_are_asked_about_have_the_couplings_of_all(model, seen):
    every, some = model.couplings(seen), model.couplings(seen, of=[2, 0])
    assert np.array_equal(some[:, [2, 0]], every[:, [2, 0]]) and np.isnan(some[:, [1, 3]]).all()
    assert {pair["because of"] for pair in strongest(some, NAMES, 4)} <= {NAMES[0], NAMES[2]}


def test_strongest_couplings_are_between_labels():
    matrix = np.array([[9.0, 0.1, 0], [-2, 9, 0], [0, 0.5, 9]])
    assert [(pair["label"], pair["because of"], pair["logit"]) for pair in strongest(matrix, ["a", "b", "c"], 2)] == [
        ("b", "a", -2.0),
        ("c", "b", 0.5),
    ]


def test_a_model_of_features_says_that_it_has_no_pictures(model, tmp_path, capsys):
    model.save(tmp_path / "model.pt")
    (tmp_path / "a.mp4").write_bytes(b"")
    assert main(["intervene", str(tmp_path / "model.pt"), str(tmp_path / "a.mp4"), "--out", str(tmp_path)]) == 2
    assert "which has no pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--do", "fry egg"], "is not of the form"),
        (["--drop-frames", "20-10"], "is not a span of seconds"),
        (["--drop-frames", "x"], "is not a span of seconds"),
    ],
)
def test_wrong_interventions_are_told(model, tmp_path, capsys, more, words):
    model.save(tmp_path / "model.pt")
    assert main(["intervene", str(tmp_path / "model.pt"), "a.mp4", "--out", str(tmp_path), *more]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
