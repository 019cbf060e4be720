"""The structural causal model: its rates, and that an intervention changes what it names and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.methods.pcmci import world
from pipeline.methods.pcmci.settings import World
from pipeline.methods.pcmci.trials import _batch

SMALL = World(train=400, test=400, frames=16)


@pytest.fixture(scope="module")
def rows():
    return world.label_rows(SMALL)


def close(rate, expected, n):
    """Within three standard errors."""
    return abs(rate - expected) <= 3 * (expected * (1 - expected) / n) ** 0.5 + 1e-9


def test_shuffled_frames_are_those_of_other_videos():
    """Tokens stay with their videos; all frames of a video come from one other."""
    own = World(train=40, test=10, frames=4)
    videos = world.filmed_set(own, world.label_rows(own), "train")
    rows = np.arange(40)
    tokens, frames, _ = _batch(videos, shuffled=True)(rows)
    assert torch.equal(tokens, videos.tokens)
    of = [int((frames[row] == videos.frames).all(2).all(1).nonzero()) for row in rows]
    assert sorted(of) == rows.tolist() and np.mean(np.array(of) == rows) < 0.2


def test_rates_are_those_that_were_asked_for(rows):
    train = world.filmed_set(SMALL, rows, "train")
    with_action = train.labels[:, : world.N_OBJECTS]
    assert close(train.objects[with_action].float().mean(), 0.9, int(with_action.sum()))
    assert close(train.objects[~with_action].float().mean(), 0.1, int((~with_action).sum()))
    assert close((train.style == train.activity).float().mean(), 0.95 + 0.05 / 10, 400)
    assert close((train.action < 0).float().mean(), 0.25, 400 * 16)


def test_grammar_has_own_shared_and_rare_actions():
    rates = world.grammar(0)
    assert rates.shape == (10, 48)
    assert ((rates >= 0.55).sum(1) == 4).all() or ((rates >= 0.55).sum(1) >= 4).all()
    assert ((rates == world.ELSEWHERE).sum(1) == 48 - 7).all()
    labels, activity = world.drawn_labels(rates, 4000, 1)
    assert close(labels[activity == 3].float().mean(0)[5], float(rates[3, 5]), 400)


def test_interventions_change_what_they_name(rows):
    usual = world.filmed_set(SMALL, rows, "iid")
    objects, style, labels = (world.filmed_set(SMALL, rows, name) for name in ("do(H)", "do(C)", "do(I)"))
    assert torch.equal(objects.labels, usual.labels) and torch.equal(objects.style, usual.style)
    assert torch.equal(style.objects, usual.objects) and torch.equal(style.action, usual.action)
    assert torch.equal(labels.labels.sum(0), usual.labels.sum(0)) and not torch.equal(labels.labels, usual.labels)
    present = objects.labels[:, : world.N_OBJECTS]
    rate = objects.objects.float().mean()
    assert close(objects.objects[present].float().mean(), float(rate), int(present.sum()))
    assert close((style.style == style.activity).float().mean(), 0.1, 400)


def test_labels_of_do_i_are_independent(rows):
    def dependence(labels):
        return (torch.corrcoef(labels.float().T) - torch.eye(labels.shape[1])).nan_to_num().abs().mean()

    usual, drawn = world.filmed_set(SMALL, rows, "iid").labels, world.filmed_set(SMALL, rows, "do(I)").labels
    assert dependence(drawn) < 0.06 < dependence(usual)


def test_a_flipped_object_changes_nothing_else(rows):
    test = world.filmed_set(SMALL, rows, "do(all)")
    there, absent = (world.flipped(test, SMALL, 3, value) for value in (True, False))
    assert there.objects[:, 3].all() and not absent.objects[:, 3].any()
    others = [k for k in range(world.N_OBJECTS) if k != 3]
    assert torch.equal(there.objects[:, others], absent.objects[:, others])
    for name in ("labels", "activity", "style", "action"):
        assert torch.equal(getattr(there, name), getattr(absent, name))
    # What differs between the tokens is one direction: that of the object.
    moved = (there.tokens - absent.tokens).flatten(0, 1)
    direction = world.bases(SMALL).tokens["objects"][3]
    assert torch.allclose(moved, (moved @ direction)[:, None] * direction, atol=1e-4) and moved.abs().max() > 0.1


def test_a_video_without_actions_shows_none():
    labels = torch.zeros(2, world.N_ACTIONS, dtype=torch.bool)
    labels[1, 7] = True
    found = world.filmed(labels, torch.tensor([0, 1]), SMALL, 1)
    assert (found.action[0] == -1).all() and set(found.action[1].tolist()) == {-1, 7}


def test_encoders_share_one_noise():
    """Both see the same draw through rotations: with own noise the second would be a second sensor."""
    quiet = World(frames=16, noise=0.0)
    labels, activity = world.drawn_labels(world.grammar(0), 20, 1)
    loud, still = (world.filmed(labels, activity, each, 1) for each in (SMALL, quiet))
    look = world.bases(SMALL)
    tokens = (loud.tokens - still.tokens) @ look.rotations[1].T
    assert torch.allclose(tokens.std(), torch.tensor(1.6 / 96**0.5), rtol=0.02)
    # Frames are unit rows, so their noise is seen up to the length of each.
    length = ((loud.frames @ look.rotations[0].T - tokens).norm(dim=2)).mean()
    assert length < loud.tokens.norm(dim=2).mean() * 2


def test_same_seed_same_world(rows):
    first, second = (world.filmed_set(SMALL, world.label_rows(SMALL), "do(all)") for _ in range(2))
    assert torch.equal(first.frames, second.frames) and torch.equal(first.tokens, second.tokens)
    other = World(**{**SMALL.model_dump(), "seed": 1})
    assert not torch.equal(world.label_rows(other)["train"][0], rows["train"][0])
