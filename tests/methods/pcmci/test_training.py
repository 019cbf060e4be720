"""Training: what codependency is explained by, what it may see, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pipeline.methods.pcmci import world
from pipeline.methods.pcmci.network import Network
from pipeline.methods.pcmci.settings import Network as Shape
from pipeline.methods.pcmci.settings import Training, World
from pipeline.methods.pcmci.training import asked, codependency, log_odds, train

SMALL = World(train=120, test=40, frames=8)
SHAPE = Shape(stages=["ICH"], width=96, feedforward=32, temperature=0.07)


@pytest.fixture(scope="module")
def videos():
    rows = world.label_rows(SMALL)
    return {name: world.filmed_set(SMALL, rows, name) for name in ("train", "val", "iid")}


def fitted(videos, labels=None, shape=SHAPE, **settings):
    parts = [videos[name] for name in ("train", "val", "iid")]
    tokens, frames = (torch.cat([getattr(part, name) for part in parts]) for name in ("tokens", "frames"))
    labels = torch.cat([part.labels for part in parts]) if labels is None else labels
    torch.manual_seed(0)
    network = Network(world.bases(SMALL).texts, 96, shape)
    own = Training(**{"epochs": 3, "learning_rate": 2e-3, "batch_size": 32, **settings})

    def batch(rows):
        return tokens[rows], frames[rows], None

    curve = train(network, batch, labels, np.arange(120), np.arange(120, 160), own)
    return network, curve, asked(network, batch, np.arange(160, 200)), labels


def test_it_learns_and_keeps_the_best_epoch(videos):
    network, curve, _, _ = fitted(videos)
    assert curve.losses[-1] < curve.losses[0] and len(curve.figures) == 3
    assert curve.chosen == int(np.argmax(curve.figures)) and not network.training


def test_same_seed_same_weights(videos):
    first, second, third = fitted(videos)[0], fitted(videos)[0], fitted(videos, seed=1)[0]
    weights = [network.state_dict()["decoder.weight"] for network in (first, second, third)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("explain", [False, True])
def test_labels_of_test_videos_reach_nothing(videos, explain):
    _, curve, scores, labels = fitted(videos, explain_codependency=explain)
    assert len(curve.thresholds) == 48 and len(set(curve.thresholds)) > 10
    shuffled = labels.clone()
    shuffled[160:] = shuffled[160:][torch.randperm(40)].roll(1, 1)
    for given in (shuffled, labels[:160]):
        _, again, found, _ = fitted(videos, given, explain_codependency=explain)
        assert np.array_equal(found, scores) and again.thresholds == curve.thresholds


def test_text_alone_is_tuned(videos):
    shape = SHAPE.model_copy(update={"stages": ["ICH", "IVC"]})
    torch.manual_seed(0)
    before = Network(world.bases(SMALL).texts, 96, shape).state_dict()
    after = fitted(videos, shape=shape, tune="text")[0].state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"decoder.weight", "decoder.bias", "stages.ICH.join.weight", "stages.ICH.join.bias"}


def test_activities_are_chosen_among_each_other(videos):
    labels = torch.nn.functional.one_hot(torch.arange(200) % 10, 48).bool()
    _, curve, scores, _ = fitted(videos, labels, target="activity", epochs=1)
    assert 0 <= curve.figures[0] <= 1 and scores.shape == (40, 48) and curve.thresholds == []


def test_codependency_is_one_logistic_regression_per_label():
    random = np.random.default_rng(0)
    first = random.random(300) < 0.5
    labels = np.stack([first, first ^ (random.random(300) < 0.1), random.random(300) < 0.3], 1)
    found = log_odds(torch.from_numpy(labels), codependency(torch.from_numpy(labels))).numpy()
    for label in range(3):
        others = np.delete(labels, label, 1).astype(float)
        oracle = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(others, labels[:, label])
        assert np.allclose(found[:, label], oracle.decision_function(others), atol=2e-3)
    assert abs(found[:, 0]).min() > 1.5 and abs(found[:, 2] - np.log(0.3 / 0.7)).max() < 0.6


def test_a_label_that_nobody_has_stays_rare():
    labels = torch.zeros(50, 3, dtype=torch.bool)
    labels[::2, 0] = True
    found = log_odds(labels, codependency(labels))
    assert torch.isfinite(found).all() and (found[:, 1:] < -4).all()
