"""Baselines on features whose concepts are known, and the attribute table of UCF-101."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.backbone.samples import Samples
from pipeline.data.table import VideoTable
from pipeline.jobs.stage import StageError
from pipeline.methods.dance.bottleneck.activations import activations
from pipeline.methods.dance.bottleneck.baselines import (
    attribute_concepts,
    decide,
    feature_concepts,
    read_attributes,
    text_concepts,
)
from pipeline.methods.dance.bottleneck.targets import Targets
from pipeline.methods.dance.settings import Classifier, ConceptLayers

FAST = ConceptLayers(max_steps=200)


@pytest.fixture
def samples() -> Samples:
    """160 videos of 4 classes; features 0 and 1 tell the two bits of the class, the others say nothing."""
    generator = np.random.default_rng(0)
    label = np.arange(160) % 4
    features = generator.standard_normal((160, 8)).astype(np.float32)
    features[:, 0] += 4 * (label // 2)
    features[:, 1] += 4 * (label % 2)
    split = np.array(["train", "train", "val", "test"])[np.arange(160) // 4 % 4].astype(object)
    ids = np.array([f"v{number:03d}" for number in range(160)], object)
    videos = VideoTable(ids, ids, ids, label, ids, split, ids, ["a", "b", "c", "d"])
    return Samples(videos, label, features, {})


def test_attributes_are_read_by_class_whatever_its_spelling(tmp_path):
    (tmp_path / "a.csv").write_text("Actions,Jump Rope,Yo-Yo\nHeading,,\n,,\nBody Motion = Up,1,0\nObject,1,1\r\n")
    names, table = read_attributes(tmp_path / "a.csv", ["YoYo", "JumpRope"])
    assert names == ["Body Motion = Up", "Object"]
    assert table.tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Actions,a\nx,1\n", "no column for 1 of 2 classes, for example b"),
        ("Actions,a,b\nx,1,2\n", "line 2: a cell is '2', not 0 or 1"),
        ("Actions,a,b\nx,1\n", "line 2: expected a name and 2 cells"),
        ("Actions,a,b\n", "holds no attribute"),
        ("", "no column for 2"),
    ],
)
def test_a_wrong_table_is_told(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(StageError, match=message):
        read_attributes(tmp_path / "a.csv", ["a", "b"])
    with pytest.raises(StageError, match="does not exist"):
        read_attributes(tmp_path / "none.csv", ["a"])


def test_the_attributes_of_ucf101(real_data):
    path = real_data / "ucf101" / "attributes.csv"
    if not path.is_file():
        pytest.skip("no attributes of UCF-101")
    classes = (real_data / "ucf101" / "class_list.txt").read_text().split()
    names, table = read_attributes(path, classes)
    assert table.shape == (101, 115) and len(set(names)) == 115
    horse = table[classes.index("HorseRiding")]
    assert horse[names.index("Object = Animal")] and not horse[names.index("Object = Boat_Like")]


def test_attributes_are_learned_and_constant_ones_left_out(samples):
    table = np.array([[0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0]], bool)
    concepts = attribute_concepts(samples, ["high", "odd", "all", "none"], table, FAST)
    assert concepts.names == ["high", "odd"] and set(concepts.dropped) == {"all", "none"}
    z = activations(samples.features, concepts.layer)
    test = samples.split("test")
    label = samples.label[test]
    # The attribute's activation parts the videos that have it from those that have it not.
    assert z[test][label >= 2, 0].min() > z[test][label < 2, 0].max() - 1
    _, _, figures = decide(samples, concepts, Classifier(), dense=False)
    assert figures["top1"] >= 0.85 and figures["n_concepts"] == {"attribute": 2}


def test_text_layers_drop_what_the_features_do_not_tell(samples):
    generator = np.random.default_rng(1)
    values = np.stack(
        [samples.features[:, 0], samples.features[:, 1], generator.standard_normal(160)], 1
    ) + 0.1 * generator.standard_normal((160, 3))
    given = Targets.of_words(
        ["high", "odd", "noise"],
        np.array(["object", "temporal", "temporal"]),
        values.astype(np.float32),
        np.ones(160, bool),
    )
    concepts = text_concepts(samples, given, ("object", "temporal"), FAST, cutoff=0.45)
    assert concepts.names == ["high", "odd"] and concepts.types == ["object", "temporal"]
    assert "validation similarity" in concepts.dropped["noise"]
    z = activations(samples.features, concepts.layer)
    assert z[samples.split("train")].mean(0) == pytest.approx([0, 0], abs=1e-4)
    assert np.corrcoef(z[:, 0], samples.features[:, 0])[0, 1] > 0.95
    with pytest.raises(StageError, match="no concept of type scene"):
        text_concepts(samples, given, ("scene",), FAST, cutoff=0.45)


@pytest.mark.parametrize("dense", [True, False])
def test_figures_follow_from_weights(samples, dense):
    concepts = feature_concepts(samples)
    weight, bias, figures = decide(samples, concepts, Classifier(), dense)
    z = activations(samples.features, concepts.layer)
    test = samples.split("test")
    assert figures["top1"] == ((z @ weight.T + bias).argmax(1) == samples.label)[test].mean() >= 0.85
    assert figures["nnz"] == np.count_nonzero(weight)
    assert (figures["nnz"] == weight.size) == dense
