"""Prompts and adapters: what they are, what they leave as it was, and that they can learn an order of frames."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.context.encoders import load_dual_encoder
from pipeline.jobs.stage import StageError
from pipeline.methods.transfer.prompting import Adapter, PromptedCLIP, alike, motion_loss, train
from pipeline.methods.transfer.settings import Prompted

DEMO = "pipeline/demo/encoders/dual_encoder"


@pytest.fixture
def net() -> PromptedCLIP:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return PromptedCLIP(load_dual_encoder(DEMO), 3)


def squares(n: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """A square that wanders, red or blue."""
    clips, label = np.full((n, 3, size, size, 3), 90, np.uint8), np.arange(n) % 2
    random = np.random.default_rng(0)
    for clip, blue in zip(clips, label, strict=True):
        for frame in clip:
            x, y = random.integers(0, size - 10, 2)
            frame[y : y + 10, x : x + 10] = (30, 30, 220) if blue else (220, 30, 30)
    return clips, label


def test_an_adapter_begins_as_nothing():
    x = torch.randn(2, 3, 8)
    assert torch.equal(Adapter(8)(x), x)


def test_texts_begin_as_those_of_the_frozen_encoder(net):
    words = ["a video of rising", "falling"]
    with torch.no_grad():
        assert net.texts(words).numpy() == pytest.approx(load_dual_encoder(DEMO).texts(words), abs=1e-5)


def test_only_prompts_adapters_and_the_scale_are_learned(net):
    clips, label = squares(6)
    before = {key: value.clone() for key, value in net.encoder.model.state_dict().items()}
    train(net, clips, np.arange(6), [["rising", "falling"]], [label], Prompted(epochs=1, batch_size=3), 0)
    assert all(torch.equal(value, before[key]) for key, value in net.encoder.model.state_dict().items())
    learned = sum(p.numel() for p in net.parameters())
    frozen = sum(p.numel() for p in net.encoder.model.parameters())
    assert 0 < learned < frozen / 4 and not any(p.requires_grad for p in net.encoder.model.parameters())


def test_names_of_classes_are_learned(net):
    clips, label = squares(24)
    train(net, clips, np.arange(16), [["rising", "falling"]], [label], Prompted(epochs=6, batch_size=8), 0)
    with torch.no_grad():
        said = (net.videos(torch.from_numpy(clips[16:]))[0] @ net.texts(["rising", "falling"]).T).argmax(1).numpy()
    assert (said == label[16:]).all()


def test_prompts_tell_the_order_of_frames(net):
    """Where all frames have the same prompt, the order of frames is nothing to the network; else it is."""
    clips, _ = squares(2)
    backward = np.ascontiguousarray(clips[:, ::-1])
    for alike_over_time in (True, False):
        with torch.no_grad():
            net.prompts.copy_(torch.randn_like(net.prompts[:, :1] if alike_over_time else net.prompts))
            one, other = (net.videos(torch.from_numpy(own))[0] for own in (clips, backward))
        assert torch.allclose(one, other, atol=1e-5) == alike_over_time


def test_losses_by_hand():
    same = torch.tensor([0, 0, 1])
    assert alike(torch.tensor([[9.0, 9, -99], [9, 9, -99], [-99, -99, 9]]), same).item() == pytest.approx(0, abs=1e-5)
    # A uniform guess among two: each row is log 2 away from one of its own class alone.
    assert alike(torch.zeros(2, 2), torch.tensor([0, 1])).item() == pytest.approx(np.log(2))
    still = functional.normalize(torch.ones(1, 3, 4), dim=2)
    assert motion_loss(still).item() == pytest.approx(1)
    moved = torch.tensor([[[0.0], [1.0], [2.0]]])  # central difference 1, variance 2/3
    assert motion_loss(moved).item() == pytest.approx(1 / (1 + 1 + 2 / 3))


def test_another_dual_encoder_is_refused():
    other = SimpleNamespace(model=SimpleNamespace(config=SimpleNamespace(model_type="xclip")))
    with pytest.raises(StageError, match="prompt is for CLIP"):
        PromptedCLIP(other, 8)
