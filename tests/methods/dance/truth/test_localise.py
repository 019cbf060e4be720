"""Figures of localisation on maps whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam

from pipeline.context.settings import Prompts
from pipeline.jobs.runtime import Runtime
from pipeline.methods.dance.bottleneck.activations import KindConcepts
from pipeline.methods.dance.explain.regions import View
from pipeline.methods.dance.truth.localise import (
    CUTS,
    Case,
    Drawing,
    Head,
    Interventions,
    Tally,
    centroid,
    concept_named,
    grad_cam,
    integrated_gradients,
    looked_at,
    motion_agreement,
    rectified,
)


def test_a_tally_of_one_picture_counts_by_hand():
    heat = np.zeros((4, 4))
    heat[0, :2] = 1.0, 4.0  # mean 5/16; half of the way to 4 only one is above
    mask = np.zeros((4, 4), bool)
    mask[0, 1] = mask[1, 1] = True
    tally = Tally(tolerance=0)
    tally.add(heat, mask)
    figures = tally.figures(CUTS.index(0.5))
    assert figures["pointing"] == figures["pointing_strict"] == 1
    assert figures["pixel_accuracy"] == 14 / 16
    assert figures["mean_iou"] == pytest.approx((1 / 3 + 13 / 15) / 2)
    assert figures["mean_iou_fitted"] == pytest.approx((1 / 2 + 14 / 15) / 2)
    assert tally.mean_iou()[[0, 5]].tolist() == pytest.approx([3 / 5, 43 / 60])


def test_heat_without_a_zero_is_what_lies_above_the_mean_of_the_clip():
    maps = np.array([[[0.0, 4]], [[2, 2]]]) - 7
    assert rectified(maps).tolist() == [[[0, 2]], [[0, 0]]]


def test_a_near_miss_counts_within_the_tolerance_only():
    heat, mask = np.zeros((9, 9)), np.zeros((9, 9), bool)
    heat[4, 4] = 1
    mask[4, 6] = True
    for tolerance, expected in ((1, 0), (2, 1)):
        tally = Tally(tolerance)
        tally.add(heat, mask)
        assert tally.figures(0)["pointing"] == expected
        assert tally.figures(0)["pointing_strict"] == 0


def test_average_precision_is_a_mean_over_pictures():
    mask = np.array([[True, False], [False, False]])
    tally = Tally(tolerance=0)
    tally.add(np.array([[3.0, 2], [1, 0]]), mask)  # first: precision 1
    tally.add(np.array([[2.0, 3], [1, 0]]), mask)  # second: precision 1/2
    assert tally.figures(0)["mean_average_precision"] == pytest.approx(0.75)


def test_centroids_follow_the_weights():
    weights = np.zeros((5, 7))
    weights[1, 2], weights[3, 2] = 1, 3
    assert centroid(weights).tolist() == [2.0, 2.5]
    assert np.isnan(centroid(np.zeros((2, 2)))).all()


def test_agreement_is_one_for_maps_that_follow_and_ignores_things_that_rest():
    there = np.array([[0.0, 0], [10, 5], [20, 0]])
    resting = np.zeros((3, 2))
    assert motion_agreement([(there / 2 + 40, there), (there[::-1], resting)], 3.0) == pytest.approx(1)
    assert motion_agreement([(-there, there)], 3.0) == pytest.approx(-1)
    assert np.isnan(motion_agreement([(there, resting)], 3.0))


def test_an_object_is_found_by_its_name_or_as_a_word_of_one():
    names, types = ["gym", "open umbrella", "ball"], ["scene", "object", "object"]
    assert concept_named("ball", names, types) == 2
    assert concept_named("umbrella", names, types) == 1
    assert concept_named("gym", names, types) is None


class _Pixels(torch.nn.Module):
    """A backbone whose maps are the means of 2 × 2 pixels: one channel per colour, one slice per frame."""

    device = torch.device("cpu")

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels.flatten(0, 1), 2).unflatten(0, pixels.shape[:2]).movedim(2, -1)

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.mean((1, 2, 3))


def test_gradcam_and_integrated_gradients_of_a_linear_model_have_closed_forms():
    head = Head(_Pixels(), np.array([[0.0, 0, 0], [2.0, -1, 0]]), np.zeros(2))
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2, 3, 4, 4)).astype(np.float32))
    maps = head.backbone.maps(pixels)[0]  # [2, 2, 2, 3]
    n_places = 2 * 2 * 2
    expected = torch.relu(2 * maps[..., 0] - maps[..., 1]) / n_places
    assert np.allclose(grad_cam(head, pixels, [1])[0], expected, atol=1e-6)
    # Gradient times input, because the model is linear and the baseline 0.
    expected = torch.relu(2 * pixels[0, :, 0] - pixels[0, :, 1]) / n_places / 4
    assert np.allclose(integrated_gradients(head, pixels, [1], 4)[0], expected, atol=1e-6)


class _Bent(_Pixels):
    """The same with maps that no straight line describes, as a layer that captum can hook, channels first."""

    def __init__(self):
        super().__init__()
        self.seen = torch.nn.Identity()

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.seen(torch.sin(2 * super().maps(pixels)).movedim(-1, 1)).movedim(1, -1)

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.tanh(super().pooled(maps)) + (maps**2).mean((1, 2, 3))


def test_gradcam_and_integrated_gradients_are_those_of_captum():
    rng = np.random.default_rng(0)
    head = Head(_Bent(), rng.normal(size=(3, 3)), rng.normal(size=3))
    pixels = torch.from_numpy(rng.normal(size=(1, 2, 3, 4, 4)).astype(np.float32))
    places, integrated = grad_cam(head, pixels, [2, 0]), integrated_gradients(head, pixels, [2, 0], 7)
    for row, output in enumerate((2, 0)):
        cam = LayerGradCam(head, head.backbone.seen).attribute(
            pixels.clone().requires_grad_(), target=output, relu_attributions=True, attr_dim_summation=True
        )
        assert np.allclose(places[row], cam.detach()[0, 0], atol=1e-6) and places[row].any()
        summed = IntegratedGradients(head).attribute(pixels, target=output, n_steps=7)
        assert np.allclose(integrated[row], summed[0].sum(1).clamp_min(0), atol=1e-6) and integrated[row].any()


def test_processes_draw_what_one_draws():
    rng = np.random.default_rng(0)
    demo = "pipeline/demo/encoders"
    prompts = Prompts(model=f"{demo}/dual_encoder", grid=[2, 2], n_frames=2)
    texts = {"ball": rng.normal(size=128).astype(np.float32)}
    weight, bias = rng.normal(size=(3, 176)), np.zeros(3)
    drawing = Drawing((f"{demo}/backbone", "main"), weight, bias, 2, ["ball"], ["object"], 1, prompts, (2, 2), texts)
    frames = rng.integers(0, 255, (3, 16, 112, 112, 3), np.uint8)
    masks, maps = np.zeros((8, 112, 112), bool), np.zeros((8, 2, 2, 4), np.float32)
    asked = [(Case(k, f"{k}", "test", k % 2, frames[k], masks, "ball", maps), "ball") for k in range(3)]
    alone, several = (list(looked_at(asked, drawing, Runtime(device="cpu"), count)) for count in (1, 2))
    assert len(alone) == len(several) == 3
    for (similarity, heat), (other, others) in zip(alone, several, strict=True):
        assert similarity.shape == (8, 2, 2) and np.array_equal(similarity, other)
        assert sorted(heat) == sorted(
            f"{m}, {o}" for m in ("GradCAM", "Integrated Gradients") for o in ("class", "concept")
        )
        assert all(np.array_equal(heat[name], others[name]) and heat[name].any() for name in heat)
    assert not np.array_equal(alone[0][0], alone[1][0])


def test_interventions_count_what_they_fix_and_break():
    # One located concept; class 1 where its mean exceeds 0.5.
    layer = {
        "weight": np.zeros((0, 1), np.float32),
        "mean": np.zeros(1),
        "std": np.ones(1),
        "map_weight": np.ones((1, 1), np.float32),
    }
    concepts = KindConcepts("salf", ["ball"], ["object"], layer, [""], "mean", None)
    item = Interventions(
        "salf", concepts, np.array([[-1.0], [1.0]]), np.array([0.5, -0.5]), [4.0], {0: "bar", 1: "ball"}
    )
    view = View(4, 4, np.array([0.25, 0.75]), np.array([0.25, 0.75]))
    masks = np.zeros((1, 4, 4), bool)
    masks[0, :2, :2] = True
    low, high = np.zeros((1, 2, 2, 1), np.float32), np.full((1, 2, 2, 1), 0.6, np.float32)
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    # A whole quarter of the places gets 4: the mean rises by 1.
    for label, maps in ((1, low), (0, low), (1, high)):
        item.add(Case(0, "v", "test", label, frames, masks, "ball", maps), np.zeros(1), maps, view, 0)
    found = {figure: value for _, figure, value in item.rows()}
    assert found == {
        "n_test": 3,
        "test_wrong_before": 1,
        "test_wrong_object_before": 1,
        "test_fixed_by_beta_4": 1,
        "test_broken_by_beta_4": 1,
    }
