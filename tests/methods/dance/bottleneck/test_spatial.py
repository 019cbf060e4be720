from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.methods.dance.bottleneck import spatial
from pipeline.methods.dance.bottleneck.pooling import concept_maps, pool
from pipeline.methods.dance.bottleneck.spatial import SpatialData, similarity, slices_of_frames, train_spatial_layer


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_loss_1_place_by_place():
    z, target = rng().normal(size=(9, 4, 3)), rng(1).normal(size=(9, 4, 3))
    result = similarity(torch.from_numpy(z), torch.from_numpy(target))
    for place in range(4):
        for concept in range(3):
            q, p = (values[:, place, concept] - values[:, place, concept].mean() for values in (z, target))
            expected = (q**3 @ p**3) / (np.linalg.norm(q**3) * np.linalg.norm(p**3))
            assert result[place, concept].item() == pytest.approx(expected)


def test_pooling_by_hand():
    maps = np.array([[[[0.0], [0.0]], [[0.0], [np.log(3)]]]])[None]  # one clip, one slice, 2 x 2, one concept
    maps = maps.reshape(1, 1, 2, 2, 1)
    assert pool(maps, "max")[0, 0] == pytest.approx(np.log(3))
    assert pool(maps, "mean")[0, 0] == pytest.approx(np.log(3) / 4)
    # Weights 1, 1, 1 and 3 of 6.
    assert pool(maps, "softmax")[0, 0] == pytest.approx(np.log(3) / 2)
    # Over places first, over slices after that.
    two = np.concatenate([maps, np.zeros_like(maps)], 1)
    assert pool(two, "max")[0, 0] == pytest.approx(np.log(3) / 2)


def test_pooling_keeps_a_batch_of_one_and_any_size():
    assert pool(rng().normal(size=(1, 3, 5, 2, 1)), "softmax").shape == (1, 1)
    huge = np.full((1, 1, 2, 2, 1), 1e4)
    assert pool(huge, "softmax")[0, 0] == pytest.approx(1e4)


def test_mean_pooling_of_maps_is_the_layer_of_the_mean():
    maps, weight = rng().normal(size=(4, 2, 3, 3, 5)).astype(np.float32), rng(1).normal(size=(6, 5))
    pooled = pool(concept_maps(maps, weight), "mean")
    np.testing.assert_allclose(pooled, maps.mean((1, 2, 3)) @ weight.T, atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "n_frames", "n_slices", "slices"),
    [
        ([1, 3, 5, 7], 8, 4, [0, 1, 2, 3]),
        ([2, 6], 8, 4, [1, 3]),
        ([0], 1, 1, [0]),
        ([1, 3, 5, 7], 8, 8, [1, 3, 5, 7]),
        ([0, 1, 2], 3, 1, [0, 0, 0]),
    ],
)
def test_slices_hold_their_frames(frames, n_frames, n_slices, slices):
    assert slices_of_frames(frames, n_frames, n_slices).tolist() == slices


def made(n: int, seed: int, width: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips with two concepts: each place shows one, both or none of them, and the feature tells by its own way."""
    random = rng(seed)
    shown = random.random((n, 2, 3, 3, 2)) < 0.3
    regions = np.concatenate([shown, np.ones((*shown.shape[:-1], 1))], -1)  # never zero, so that it has a direction
    mixing = rng(99).normal(size=(3, width))
    maps = regions @ mixing + 0.05 * random.normal(size=(*shown.shape[:-1], width))
    # Every place has an offset of its own, as position embeddings give.
    maps = maps + 2 * rng(98).normal(size=(3, 3, width))
    return maps.astype(np.float16), regions.astype(np.float16), shown


def test_places_of_concepts_are_found():
    texts = np.eye(3)[:2]
    slices = np.array([0, 1])
    maps, regions, _ = made(60, 0)
    train = SpatialData.of(maps, regions, texts, slices)
    maps_val, regions_val, shown = made(40, 1)
    layer = train_spatial_layer(
        train, SpatialData.of(maps_val, regions_val, texts, slices), max_steps=200, eval_every=20
    )
    assert (layer.quality > 0.8).all()
    found = concept_maps(maps_val, layer.weight)
    found = found - found.mean((0, 1))  # the offset of a place is left open by the loss
    for concept in range(2):
        inside, outside = found[..., concept][shown[..., concept]], found[..., concept][~shown[..., concept]]
        assert np.quantile(inside, 0.05) > np.quantile(outside, 0.95)
    # Scaled to 1 within a place.
    spread = concept_maps(maps, layer.weight).std((0, 1))
    np.testing.assert_allclose(np.sqrt((spread**2).mean((0, 1))), 1, rtol=0.02)


def test_a_projected_layer_is_one_that_was_trained_on_projected_maps():
    texts, slices = np.eye(3)[:2], np.array([0, 1])
    hidden, direction = rng(5).normal(size=(2, 6))
    projection = np.eye(6) - np.outer(hidden, direction) / (hidden @ direction)  # oblique
    own = [made(30, seed)[:2] for seed in (0, 1)]
    options = {"max_steps": 30, "eval_every": 10}
    layer = train_spatial_layer(
        *(SpatialData.of(maps, regions, texts, slices) for maps, regions in own), projection=projection, **options
    )
    told = train_spatial_layer(
        *(SpatialData.of(maps.astype(np.float64) @ projection.T, regions, texts, slices) for maps, regions in own),
        **options,
    )
    np.testing.assert_allclose(layer.weight, told.weight @ projection, atol=1e-3 * np.abs(told.weight).max())
    np.testing.assert_allclose(layer.val_loss, told.val_loss, atol=1e-4)
    np.testing.assert_allclose(layer.quality, told.quality, atol=1e-4)
    # What is hidden moves no map.
    np.testing.assert_allclose(layer.weight @ hidden, 0, atol=1e-4)


def test_training_follows_its_seed_and_restores_the_best():
    texts, slices = np.eye(3)[:2], np.array([0, 1])
    data = [SpatialData.of(*made(30, seed)[:2], texts, slices) for seed in (0, 1)]
    first, second = (train_spatial_layer(*data, max_steps=60, eval_every=10, batch_size=16) for _ in range(2))
    np.testing.assert_array_equal(first.weight, second.weight)
    assert first.val_loss[list(first.steps).index(first.n_steps)] == first.val_loss.min()
    assert first.val_loss.min() < first.val_loss[0]


def test_similarities_are_formed_from_texts_at_need():
    maps, regions, _ = made(3, 0)
    texts = rng().normal(size=(4, 3))
    data = SpatialData.of(maps, regions, texts, np.array([0, 1]))
    _, target = data.rows(torch.tensor([5]))  # clip 2, second frame
    region = regions[2, 1].reshape(9, 3).astype(np.float64)
    np.testing.assert_allclose(target[0], region @ texts.T / np.linalg.norm(region, axis=1, keepdims=True), atol=1e-4)


def test_blocks_make_no_difference(monkeypatch):
    monkeypatch.setattr(spatial, "BLOCK", 3)
    maps, regions = rng().normal(size=(7, 1, 2, 2, 4)), rng(1).normal(size=(7, 1, 2, 2, 5))
    data = SpatialData.of(maps, regions, rng(2).normal(size=(3, 5)), np.zeros(1, int))
    blocks = list(data.blocks())
    assert [len(part) for part, _ in blocks] == [3, 3, 1]
    for parts, whole in zip(zip(*blocks, strict=True), data.rows(slice(None)), strict=True):
        torch.testing.assert_close(torch.cat(parts), whole)


def test_a_concept_that_never_varies_does_no_harm():
    maps, regions, _ = made(30, 0)
    texts = np.array([[1.0, 0, 0], [0, 0, 0]])
    data = SpatialData.of(maps, regions, texts, np.array([0, 1]))
    layer = train_spatial_layer(data, data, max_steps=20, eval_every=10)
    assert np.isfinite(layer.weight).all() and layer.quality[1] == 0


def test_too_few_pictures_are_told():
    maps, regions, _ = made(1, 0)
    one = SpatialData.of(maps[:, :1], regions[:, :1], np.eye(3), np.array([0]))
    with pytest.raises(ValueError, match="at least 2 of them"):
        train_spatial_layer(one, one)


def test_pooling_without_a_concept():
    for pooling in ("mean", "softmax", "max"):
        assert pool(np.zeros((2, 3, 4, 5, 0), np.float32), pooling).shape == (2, 0)
