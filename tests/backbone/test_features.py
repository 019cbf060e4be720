from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEModel

from pipeline.backbone.features import encode
from pipeline.stage import StageError

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def model() -> VideoMAEModel:
    torch.manual_seed(0)
    config = VideoMAEConfig(
        image_size=32,
        patch_size=16,
        num_frames=4,
        tubelet_size=2,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    return VideoMAEModel(config).eval()


def clips(n: int, frames: int = 4, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, frames, side, side, 3), dtype=np.uint8)


def test_feature_is_the_mean_token(model):
    clip = clips(1)
    result = encode(model, clip, MEAN, STD, 2, tokens=True)
    pixels = (torch.from_numpy(clip).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    with torch.no_grad():
        hidden = model(pixels.permute(0, 1, 4, 2, 3)).last_hidden_state
    np.testing.assert_allclose(result["features"], hidden.mean(1), atol=1e-5)
    assert result["tokens"].shape == (1, 2, 2, 2, 16)
    np.testing.assert_allclose(result["tokens"][0, 1, 0, 1], hidden[0, 5], atol=2e-3)


def test_batches_do_not_matter(model):
    many = encode(model, clips(5), MEAN, STD, 5, tokens=False)["features"]
    few = encode(model, clips(5), MEAN, STD, 2, tokens=False)["features"]
    np.testing.assert_allclose(many, few, atol=1e-5)
    assert encode(model, clips(0), MEAN, STD, 2, tokens=False)["features"].shape == (0, 16)


def test_larger_clips_are_resized(model):
    flat = np.full((1, 4, 64, 64, 3), 99, np.uint8)
    np.testing.assert_allclose(
        encode(model, flat, MEAN, STD, 1, tokens=False)["features"],
        encode(model, flat[:, :, :32, :32], MEAN, STD, 1, tokens=False)["features"],
        atol=1e-4,
    )


def test_wrong_number_of_frames_is_told(model):
    with pytest.raises(StageError, match=r"wants 4 frames, the clips have 8; set data\.decode\.n_frames"):
        encode(model, clips(1, frames=8), MEAN, STD, 1, tokens=False)
