from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.learning.novelty import Reach
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, read_model
from pipeline.store.atomic import ArtifactError


@pytest.fixture
def model() -> ConceptModel:
    """Two classes, three concepts, two features: everything can be worked out by hand."""
    return ConceptModel(
        class_names=["left", "right"],
        concepts=["motion 000", "ball", "gym"],
        types=["motion", "object", "scene"],
        layer={
            "weight": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
            "mean": np.array([0.0, 1.0, 0.0]),
            "std": np.array([1.0, 2.0, 1.0]),
        },
        weight=np.array([[2.0, 0.0, -1.0], [0.0, 3.0, 0.0]]),
        bias=np.array([0.5, -0.5]),
        medoids=np.zeros((1, 4, 17, 2), np.float32),
        about={"dataset": "test", "edits": []},
    )


def test_activations_are_standardised(model):
    np.testing.assert_allclose(model.activations(np.array([3.0, 5.0])), [[3.0, 2.0, 8.0]])


def test_contributions_sum_to_the_logit(model):
    z = model.activations(np.array([[3.0, 5.0]]))
    prediction = model.predict(np.array([[3.0, 5.0]]))[0]
    logits = z @ model.weight.T + model.bias  # [[-1.5, 5.5]]
    assert prediction.class_name == "right"
    assert prediction.probability == pytest.approx(1 / (1 + np.exp(-7.0)))
    assert sum(item.contribution for item in prediction.contributions) + model.bias[1] == pytest.approx(logits[0, 1])
    assert [(item.concept, item.type, item.contribution) for item in prediction.contributions] == [
        ("ball", "object", 6.0)
    ]
    left = model.explain(z[0], 0)
    assert [(item.concept, item.contribution) for item in left] == [("gym", -8.0), ("motion 000", 6.0)]


def test_wrong_width_is_told(model):
    with pytest.raises(ValueError, match="features have 3 dimensions, the model was trained on 2"):
        model.predict(np.zeros((1, 3)))


def test_round_trip(model, tmp_path):
    model.save(tmp_path / "model.pt")
    again = read_model(tmp_path / "model.pt")
    assert (again.class_names, again.concepts, again.types, again.about) == (
        model.class_names,
        model.concepts,
        model.types,
        model.about,
    )
    x = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(
        again.probabilities(again.activations(x)), model.probabilities(model.activations(x)), rtol=1e-6
    )


def test_a_model_tells_what_it_has_not_seen(model, tmp_path):
    x = np.array([[3.0, 4.0], [0.0, 1.0]])
    assert model.predict(x)[0].unseen is None
    reach = Reach(np.zeros(2), np.eye(2), 4.5)
    replace(model, reach=reach).save(tmp_path / "model.pt")
    far, near = read_model(tmp_path / "model.pt").predict(x)
    assert far.unseen == {"distance": 5.0, "limit": 4.5, "flagged": True}
    assert near.unseen == {"distance": 1.0, "limit": 4.5, "flagged": False}
    with pytest.raises(ArtifactError, match="inconsistent"):
        read_model(rewritten(tmp_path / "model.pt", reach_mean=torch.zeros(3)))


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_nothing_is_executed(tmp_path):
    torch.save({"format": Hostile()}, tmp_path / "hostile.pt")
    with pytest.raises(ArtifactError, match="not a model file"):
        read_model(tmp_path / "hostile.pt")


def rewritten(path, **edits):
    """The file with other content: tensors by their names, everything else as it lies beside them."""
    content = torch.load(path, weights_only=True)
    tensors = {name: edits.pop(name) for name in [*edits] if isinstance(edits[name], torch.Tensor) and "_" in name}
    torch.save({**content, "tensors": content["tensors"] | tensors, **edits}, path)
    return path


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"format": "other"}, "not a model of this project"),
        ({"version": 99}, "version 99, this release reads 1"),
        ({"metadata": "{"}, "incomplete"),
        ({"metadata": "{}"}, "incomplete"),
        ({"tensors": {"layer_weight": 1}}, "incomplete"),
        ({"method": "unheard-of"}, "does not have"),
        ({"classifier_bias": torch.zeros(5)}, "inconsistent"),
        ({"layer_std": torch.zeros(3)}, "inconsistent"),
    ],
)
def test_wrong_files_are_told(model, tmp_path, edit, words):
    model.save(tmp_path / "model.pt")
    with pytest.raises(ArtifactError, match=words):
        read_model(rewritten(tmp_path / "model.pt", **edit))
    with pytest.raises(ArtifactError, match="does not exist"):
        read_model(tmp_path / "none.pt")


@pytest.fixture
def located(model) -> ConceptModel:
    """The same with a fourth concept that has a map over two features of four places."""
    layer = {
        "weight": model.layer["weight"],
        "mean": np.append(model.layer["mean"], 1.0),
        "std": np.append(model.layer["std"], 2.0),
        "map_weight": np.array([[1.0, 10.0]]),
    }
    about = {**model.about, "maps": {"pooling": "max"}}
    weight = np.concatenate([model.weight, [[0.0], [4.0]]], 1)
    return ConceptModel(
        model.class_names,
        [*model.concepts, "sea"],
        [*model.types, "scene"],
        layer,
        weight,
        model.bias,
        model.medoids,
        about,
    )


MAPS = np.array([[0, 1], [2, 0], [1, 1], [0, 0]], float).reshape(1, 1, 2, 2, 2)


def test_maps_become_activations(located):
    maps = located.maps(MAPS)
    assert maps.reshape(-1).tolist() == [10, 2, 11, 0]
    z = located.activations(np.array([[3.0, 5.0]]), maps)
    np.testing.assert_allclose(z, [[3.0, 2.0, 8.0, 5.0]])  # (11 - 1) / 2
    assert located.predict(np.array([[3.0, 5.0]]), maps=maps)[0].contributions[0].concept == "sea"


def test_maps_that_are_missing_or_too_wide_are_told(model, located):
    with pytest.raises(ValueError, match="needs the feature maps"):
        located.predict(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="has no maps"):
        model.maps(MAPS)
    with pytest.raises(ValueError, match="features have 3 dimensions, the model was trained on 2"):
        located.maps(np.zeros((1, 1, 2, 2, 3)))


def test_round_trip_with_maps(located, tmp_path):
    located.save(tmp_path / "model.pt")
    again = read_model(tmp_path / "model.pt")
    x = np.array([[3.0, 5.0]])
    np.testing.assert_allclose(again.activations(x, again.maps(MAPS)), located.activations(x, located.maps(MAPS)))


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_earlier_versions_are_read(model, tmp_path, version):
    """Tensors and one text lay beside each other, and there was one method."""
    model.save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    old = {**content["tensors"], "format": content["format"], "version": version, "json": content["metadata"]}
    torch.save(old, tmp_path / "old.pt")
    x = np.array([[3.0, 5.0]])
    np.testing.assert_allclose(read_model(tmp_path / "old.pt").activations(x), model.activations(x))


@pytest.mark.parametrize("tensor", [torch.zeros(2, 2), torch.zeros(2)])
def test_maps_that_do_not_fit_are_told(located, tmp_path, tensor):
    located.save(tmp_path / "model.pt")
    with pytest.raises(ArtifactError, match="inconsistent"):
        read_model(rewritten(tmp_path / "model.pt", map_weight=tensor))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layer_weight", torch.zeros(1, 1).expand(2**20, 2**20)),
        ("version", torch.zeros(3)),
        ("format", torch.zeros(3)),
        ("metadata", "[" * 100_000),
        ("tensors", torch.zeros(3)),
    ],
)
def test_hostile_values_are_refused_before_memory_is_taken(model, tmp_path, name, value):
    model.save(tmp_path / "model.pt")
    with pytest.raises(ArtifactError, match=r"claim more|has version|not a model|incomplete"):
        read_model(rewritten(tmp_path / "model.pt", **{name: value}))


@pytest.fixture
def reading(model) -> ConceptModel:
    """The same, with its motion read and its scene scored by the dual encoder."""
    return replace(
        model,
        concepts=["motion 000", "gym", "ball"],
        types=["motion", "scene", "object"],
        layer={**model.layer, "weight": np.array([[0.0, 1.0]]), "texts": np.ones((1, 4))},
        about={**model.about, "reading": {}},
    )


def test_a_model_that_reads_needs_what_was_read(reading, tmp_path):
    assert (reading.n_read, reading.n_whole) == (2, 3)
    with pytest.raises(ValueError, match="reads concepts in videos"):
        reading.activations(np.zeros((1, 2)))
    np.testing.assert_allclose(reading.activations(np.array([3.0, 5.0]), read=np.array([4.0, 5.0])), [[4, 2, 5]])
    # What could not be read is the mean.
    np.testing.assert_allclose(reading.activations(np.zeros(2), read=np.array([np.nan, 1.0])), [[0, 0, 0]])
    reading.save(tmp_path / "model.pt")
    again = read_model(tmp_path / "model.pt")
    assert again.n_read == 2 and again.layer["texts"].shape == (1, 4)


def test_a_file_that_does_not_tell_how_it_reads_is_refused(reading, tmp_path):
    with pytest.raises(ArtifactError, match="inconsistent"):
        replace(reading, about={"dataset": "test"}).save(tmp_path / "model.pt")
