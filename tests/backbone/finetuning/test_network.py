from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers

from pipeline.backbone.encoders import encode, load_backbone
from pipeline.backbone.finetuning.network import DropPath, build_classifier, save_checkpoint
from pipeline.jobs.stage import StageError


def clips(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 4, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def built(tiny_videomae):
    return build_classifier(tiny_videomae, "main", ["a", "b", "c"], 0)


def test_the_classifier_is_the_backbone_and_a_head_that_knows_nothing(built, tiny_videomae):
    backbone, model, _ = built
    plain = load_backbone(tiny_videomae)
    pixels = backbone.pixels(clips(2))
    with torch.no_grad():
        hidden = plain.model.layernorm(model.videomae(pixels).last_hidden_state)
        np.testing.assert_allclose(hidden, plain.model(pixels).last_hidden_state, atol=1e-5)
        probabilities = model(pixels).logits.softmax(1)
    np.testing.assert_allclose(probabilities, 1 / 3, atol=1e-3)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(("settings", "fill"), [({}, [124, 116, 104]), ({"do_normalize": False}, [0, 0, 0])])
def test_pixels_are_standardised_as_the_backbone_does_it(tiny_videomae, tmp_path, settings, fill):
    folder = shutil.copytree(tiny_videomae, tmp_path / "backbone")
    processor = folder / "preprocessor_config.json"
    processor.write_text(json.dumps({**json.loads(processor.read_text()), **settings}))
    backbone, _, standardise = build_classifier(str(folder), "main", ["a", "b"], 0)
    pictures = torch.from_numpy(clips(2)).movedim(-1, 2)
    torch.testing.assert_close(standardise(pictures), backbone.pixels(clips(2)), atol=1e-5, rtol=0)
    assert standardise.fill.tolist() == fill


def test_dropped_branches_leave_the_residual_stream(built):
    backbone, model, _ = built
    dropper = DropPath(model, 0.5)
    pixels = backbone.pixels(clips(3))
    embedded = model.videomae.embeddings(pixels, None)
    with torch.no_grad():
        whole = model.videomae(pixels).last_hidden_state
        uniform = torch.ones(3, 2, 2)
        uniform[1] = 0  # the first block's rate is 0: it is never dropped
        dropper.set(uniform)
        hidden = model.videomae(pixels).last_hidden_state
        dropper.set(None)
        after_first = model.videomae.encoder.layer[0](embedded)
        torch.testing.assert_close(hidden[1], after_first[1])
        assert not torch.allclose(hidden[0], whole[0], atol=1e-3)  # kept branches are twice as strong
        torch.testing.assert_close(model.videomae(pixels).last_hidden_state, whole)


def test_dropping_keeps_the_mean(built):
    _, model, _ = built
    dropper = DropPath(model, 0.4)
    dropper.set(torch.rand(20000, 2, 2, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(dropper._factor.mean((0, 2)), torch.ones(2), atol=0.02, rtol=0)
    assert dropper._factor[:, 1].unique().tolist() == pytest.approx([0, 1 / 0.6])


def test_saved_checkpoint_opens_like_any_other(built, tiny_videomae, tmp_path):
    _, model, _ = built
    with torch.no_grad():
        model.classifier.weight.normal_(generator=torch.Generator().manual_seed(1))
    save_checkpoint(model, tiny_videomae, "main", tmp_path / "tuned")
    opened = transformers.VideoMAEForVideoClassification.from_pretrained(tmp_path / "tuned").eval()
    backbone = load_backbone(str(tmp_path / "tuned"))
    pixels = backbone.pixels(clips(2))
    with torch.no_grad():
        torch.testing.assert_close(opened(pixels).logits, model.eval()(pixels).logits)
    assert opened.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert encode(backbone, clips(2), 2).shape == (2, 16)
    assert sorted(path.name for path in (tmp_path / "tuned").iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]


def test_other_architectures_are_refused():
    with pytest.raises(StageError, match=r"is a clip_vision_model; fine-tuning supports only VideoMAE"):
        build_classifier("pipeline/demo/encoders/dual_encoder", "main", ["a"], 0)
