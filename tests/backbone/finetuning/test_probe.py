from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.backbone.encoders import encode
from pipeline.backbone.finetuning import checkpoint, probe
from pipeline.backbone.finetuning.loop import Training


def blobs(n: int, n_classes: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Features around one centre per class, far from zero and of very different scales per dimension."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % n_classes
    features = np.eye(n_classes)[labels] + spread * random.normal(size=(n, n_classes))
    return features * 10.0 ** np.arange(n_classes) + 50, labels


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes_that_lie_apart_are_told_apart(n_classes):
    features, labels = blobs(30, n_classes, 0.05)
    weight, bias = probe.fit_probe(features, labels, n_classes)
    assert ((features @ weight.T + bias).argmax(1) == labels).all()
    # No class is preferred: what all of them share says nothing.
    assert (np.abs(weight.sum(0)) < 1e-4 * np.abs(weight).max(0)).all()


def test_noise_gets_a_strong_penalty_and_clear_classes_a_weak_one():
    random = np.random.default_rng(1)
    labels = np.arange(40) % 2
    assert probe._strength(random.normal(size=(40, 1, 30)), labels, 5) <= 0.01
    clear = labels[:, None, None] * 2.0 - 1 + 0.01 * random.normal(size=(40, 1, 1))
    assert probe._strength(clear, labels, 5) == max(probe.STRENGTHS)


def test_constant_features_and_classes_without_clips():
    features, labels = blobs(30, 3, 0.05)
    features = np.concatenate([features, np.full((30, 1), 7.0)], 1)
    weight, bias = probe.fit_probe(features, np.where(labels == 2, 4, labels), 5)
    decided = (features @ weight.T + bias).argmax(1)
    assert set(decided) == {0, 1, 4} and not weight[[2, 3]].any() and np.isfinite(weight).all()
    weight, bias = probe.fit_probe(features[:4], np.full(4, 1), 3)
    assert (features @ weight.T + bias).argmax(1).tolist() == [1] * 30


def test_a_class_of_a_single_clip_needs_no_cross_validation():
    features, labels = blobs(3, 3, 0.05)
    weight, bias = probe.fit_probe(features, labels, 3)
    assert ((features @ weight.T + bias).argmax(1) == labels).all()


def test_views_that_are_the_clip_change_nothing():
    features, labels = blobs(30, 3, 0.5)
    weight, bias = probe.fit_probe(features, labels, 3)
    again, again_bias = probe.fit_probe(np.repeat(features[:, None], 4, axis=1), labels, 3)
    np.testing.assert_allclose(again, weight, rtol=1e-2, atol=1e-2 * np.abs(weight).max())
    np.testing.assert_allclose(again_bias, bias, rtol=1e-2, atol=1e-2 * np.abs(bias).max())


def test_views_tell_what_is_chance():
    """One feature tells the class in whole clips by accident; in their views it is noise."""
    random = np.random.default_rng(0)
    labels = np.arange(20) % 2
    telling = labels[:, None] + 0.3 * random.normal(size=(20, 9))
    features = np.stack([telling, random.normal(size=(20, 9))], -1)  # [n, R, D]
    features[:, 0, 1] = labels
    alone, _ = probe.fit_probe(features[:, 0], labels, 2)
    weight, _ = probe.fit_probe(features, labels, 2)
    assert abs(alone[1, 1]) > 0.5 * abs(alone[1, 0])
    assert abs(weight[1, 1]) < 0.3 * abs(weight[1, 0])


@pytest.fixture
def with_probe(make_training_folder, short_recipe):
    def make(name: str, views: bool = False, **changes):
        return make_training_folder(name, views, settings=short_recipe.model_copy(update={"head": "probe", **changes}))

    return make


def test_training_begins_at_the_decisions_of_the_probe(with_probe):
    folder = with_probe("work")
    training = Training(folder)
    clips = np.load(folder / "frames.npy")
    features = encode(training.backbone, clips, 5)
    weight, bias = probe.fit_probe(features[training.rows["train"]], training.labels["train"], 2)
    training.model.eval()
    with torch.no_grad():
        logits = training.model(training.backbone.pixels(clips)).logits.numpy()
    np.testing.assert_allclose(logits, features @ weight.T + bias, atol=1e-3)
    decided = (features @ weight.T + bias).argmax(1)[training.rows["val"]]
    first = training.run().curve[0]
    assert (first["epoch"], first["train_loss"]) == (0, None)
    assert first["val_top1"] == (decided == training.labels["val"]).mean()


def test_the_probe_is_fitted_on_what_training_would_see(with_probe, monkeypatch):
    """Drawn in epochs that never come; dropped branches are training's alone."""
    seen = []
    fit = probe.fit_probe
    monkeypatch.setattr("pipeline.backbone.finetuning.probe.fit_probe", lambda *all: seen.append(all[0]) or fit(*all))
    training = Training(with_probe("work", views=True, probe_views=2, drop_path=0.5))
    (features,) = seen
    assert features.shape == (19, 3, 16)
    rows = np.array([4, 11])
    for number in (1, 2):
        batch = training.read(rows, 3 + number)
        pixels, _ = training._seen(batch, 3 + number)
        with torch.no_grad():
            own = training.backbone.features(pixels).numpy()
        np.testing.assert_allclose(features[rows, number], own, atol=1e-5)
    assert np.abs(features[:, 1] - features[:, 2]).max() > 1e-3
    whole = encode(training.backbone, training.frames[training.rows["train"]], 5)
    np.testing.assert_allclose(features[:, 0], whole, atol=1e-5)


def test_tuning_that_only_spoils_is_not_chosen(with_probe):
    folder = with_probe("work", base_learning_rate=30.0, epochs=2)
    training = Training(folder)
    head = training.model.classifier.weight.detach().clone()
    progress = training.run()
    assert progress.curve[0]["val_top1"] == 1
    assert progress.best == 0
    checkpoint.load_weights(folder, 0, training.model)
    assert torch.equal(training.model.classifier.weight, head)


def test_one_that_was_killed_goes_on_without_another_probe(with_probe, monkeypatch):
    whole = Training(with_probe("whole")).run()
    folder = with_probe("killed")
    killed = Training(folder)
    # The state of the first epoch is the last that is written.
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_save", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            killed.run()
    assert Training(folder).run().curve == whole.curve  # before any state: from the beginning
    done = Training(folder)
    assert done.progress.step == 6 and [row["epoch"] for row in done.progress.curve] == [0, 1, 2, 3]
    assert done.run().curve == whole.curve
