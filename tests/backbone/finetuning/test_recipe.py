from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.backbone.finetuning import recipe
from pipeline.backbone.settings import Finetune


def test_learning_rates_of_the_supplement():
    """KTH: base rate 5e-4, four GPUs with ten clips each; HAA-100: 5e-3, four with fourteen."""
    kth = recipe.course(Finetune(base_learning_rate=5e-4), 1000)
    assert kth.peak == pytest.approx(7.8125e-5)
    haa = recipe.course(Finetune(base_learning_rate=5e-3, batch_size=56), 1000)
    assert haa.peak == pytest.approx(1.09375e-3)
    assert (haa.steps_per_epoch, haa.steps) == (17, 850)


def test_schedule_rises_linearly_and_falls_along_a_cosine():
    plan = recipe.Course(batch=256, steps_per_epoch=10, epochs=4, warmup_epochs=1, peak=1.0, lowest=0.0)
    rates = np.array([plan.learning_rate(step) for step in range(plan.steps)])
    np.testing.assert_allclose(rates[:10], np.arange(10) / 9)
    np.testing.assert_allclose(rates[10:], (1 + np.cos(np.pi * np.arange(30) / 29)) / 2, atol=1e-12)


def test_training_without_warm_up_begins_at_the_peak():
    plan = recipe.Course(batch=1, steps_per_epoch=3, epochs=1, warmup_epochs=0, peak=0.5, lowest=0.1)
    assert [plan.learning_rate(step) for step in range(3)] == pytest.approx([0.5, 0.3, 0.1])
    only_warm_up = recipe.Course(batch=1, steps_per_epoch=1, epochs=1, warmup_epochs=5, peak=0.5, lowest=0.1)
    assert only_warm_up.learning_rate(0) == pytest.approx(0.1)


def test_few_clips_make_a_smaller_batch_and_a_smaller_rate():
    plan = recipe.course(Finetune(), 16)
    assert (plan.batch, plan.steps_per_epoch) == (16, 1)
    assert plan.peak == pytest.approx(1e-3 * 16 / 256)


def test_each_block_learns_slower_than_the_next():
    names = {
        "videomae.embeddings.patch_embeddings.projection.weight": (4, 4),
        "videomae.embeddings.patch_embeddings.projection.bias": (4,),
        "videomae.encoder.layer.0.attention.attention.query.weight": (4, 4),
        "videomae.encoder.layer.1.layernorm_before.weight": (4,),
        "fc_norm.weight": (4,),
        "classifier.weight": (2, 4),
    }
    parameters = [(name, torch.nn.Parameter(torch.zeros(shape))) for name, shape in names.items()]
    groups = recipe.parameter_groups(parameters, depth=2, layer_decay=0.5, weight_decay=0.05)
    found = {
        name: (group["scale"], group["weight_decay"])
        for group in groups
        for name, parameter in parameters
        if any(parameter is own for own in group["params"])
    }
    assert list(found.values()) == [(0.125, 0.05), (0.125, 0), (0.25, 0.05), (0.5, 0), (1, 0), (1, 0.05)]
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_drop_path_rises_with_depth():
    np.testing.assert_allclose(recipe.drop_rates(5, 0.2), [0, 0.05, 0.1, 0.15, 0.2])


def test_an_epoch_shows_each_clip_at_most_once_in_an_order_of_its_own():
    plan = recipe.course(Finetune(batch_size=4), 10)
    epochs = [np.concatenate([recipe.batch_of(step, plan, 10, 0) for step in (2 * e, 2 * e + 1)]) for e in range(20)]
    assert all(len(set(order)) == 8 for order in epochs)
    assert len({tuple(order) for order in epochs}) == 20
    # What is left over differs, so no clip is never seen.
    assert set(np.concatenate(epochs)) == set(range(10))


@pytest.mark.parametrize(("processes", "micro_batch"), [(1, 40), (1, 10), (2, 10), (3, 4), (8, 10)])
def test_shares_cover_the_batch_once(processes, micro_batch):
    rows = np.arange(100, 140)
    shares = [recipe.share(rows, rank, processes, micro_batch) for rank in range(processes)]
    np.testing.assert_array_equal(np.concatenate([part for share in shares for part in share]), rows)
    assert max(len(part) for share in shares for part in share) <= micro_batch


def test_one_gpu_accumulates_what_four_do_at_once():
    rows = np.arange(40)
    assert [len(part) for part in recipe.share(rows, 0, 1, 10)] == [10, 10, 10, 10]
    assert [len(part) for part in recipe.share(rows, 3, 4, 10)] == [10]


def test_random_numbers_of_clips_differ_and_come_again():
    first, other_clip, other_epoch, again = (
        recipe.random_of(*key).random() for key in ((0, 1, 5), (0, 1, 6), (0, 2, 5), (0, 1, 5))
    )
    assert first == again and len({first, other_clip, other_epoch}) == 3


def test_uniform_clips_mix_views_and_dense_ones_do_not():
    random = np.random.default_rng(0)
    mixed = np.stack([recipe.draw_clip(3, 16, "uniform", random) for _ in range(200)])
    assert mixed.shape == (200, 16)
    # Each view at each position about as often as the others: 67 of 200, deviation 6.7.
    counts = np.stack([(mixed == view).sum(0) for view in range(3)])
    assert counts.min() > 40 and counts.max() < 95
    whole = np.stack([recipe.draw_clip(3, 16, "dense", random) for _ in range(200)])
    assert (whole == whole[:, :1]).all() and set(whole[:, 0]) == {0, 1, 2}


def test_frames_are_drawn_apart_from_everything_else():
    own, again, augmentation, other = (
        make(*key).random()
        for make, key in (
            (recipe.random_of_frames, (0, 1, 5)),
            (recipe.random_of_frames, (0, 1, 5)),
            (recipe.random_of, (0, 1, 5)),
            (recipe.random_of_frames, (0, 2, 5)),
        )
    )
    assert own == again and len({own, augmentation, other}) == 3
