from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from pipeline.backbone.encoders import Backbone, encode, load_backbone
from pipeline.stage import StageError

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def video() -> Backbone:
    torch.manual_seed(0)
    config = transformers.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, tubelet_size=2, **SMALL)
    return Backbone(transformers.VideoMAEModel(config).eval(), MEAN, STD)


@pytest.fixture(scope="module")
def image_model() -> transformers.ViTModel:
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL)
    return transformers.ViTModel(config, add_pooling_layer=False).eval()


def clips(n: int, frames: int = 4, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, frames, side, side, 3), dtype=np.uint8)


def standardised(clip: np.ndarray) -> torch.Tensor:
    return ((torch.from_numpy(clip).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).movedim(-1, -3)


def test_feature_of_a_video_is_the_mean_token_and_tokens_keep_their_places(video):
    clip = clips(1)
    with torch.no_grad():
        hidden = video.model(standardised(clip)).last_hidden_state
    np.testing.assert_allclose(encode(video, clip, 2), hidden.mean(1), atol=1e-5)
    maps = encode(video, clip, 2, "maps")
    assert maps.shape == (1, 2, 2, 2, 16) and video.width == 16
    # Token 5 of 2 x 2 x 2: second slice, first row, second column.
    np.testing.assert_allclose(maps[0, 1, 0, 1], hidden[0, 5], atol=1e-5)


def test_batches_do_not_matter(video):
    np.testing.assert_allclose(encode(video, clips(5), 5), encode(video, clips(5), 2), atol=1e-5)
    assert encode(video, clips(0), 2).shape == (0, 16)


def test_larger_clips_are_resized(video):
    flat = np.full((1, 4, 64, 64, 3), 99, np.uint8)
    np.testing.assert_allclose(encode(video, flat, 1), encode(video, flat[:, :, :32, :32], 1), atol=1e-4)


def test_wrong_number_of_frames_is_told(video):
    with pytest.raises(StageError, match=r"wants 4 frames, the clips have 8; set data\.decode\.n_frames"):
        encode(video, clips(1, frames=8), 1)


@pytest.mark.parametrize("cls_token", [False, True])
def test_tokens_of_an_image_transformer_with_and_without_cls(image_model, cls_token):
    backbone = Backbone(image_model, MEAN, STD, cls_token)
    clip = clips(2, frames=3)
    maps = encode(backbone, clip, 2, "maps")
    assert maps.shape == (2, 3, 4, 4, backbone.width) and backbone.width == 16 * (1 + cls_token)
    with torch.no_grad():
        hidden = image_model(standardised(clip[1, 2])[None]).last_hidden_state[0]  # [17, 16]
    np.testing.assert_allclose(maps[1, 2, 3, 1, :16], hidden[1 + 3 * 4 + 1], atol=1e-5)
    if cls_token:
        np.testing.assert_allclose(maps[1, 2, :, :, 16:], np.broadcast_to(hidden[0], (4, 4, 16)), atol=1e-5)


def test_maps_of_a_convolutional_network():
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", downsample_in_first_stage=False
    )
    backbone = Backbone(transformers.ResNetModel(config).eval(), MEAN, STD)
    clip = clips(1, frames=2, side=40)
    maps = encode(backbone, clip, 1, "maps")
    with torch.no_grad():
        expected = backbone.model(standardised(clip[0])).last_hidden_state  # [2, 12, 5, 5]
    assert maps.shape == (1, 2, 5, 5, 12) and backbone.width == 12
    np.testing.assert_allclose(maps[0], expected.movedim(1, -1), atol=1e-5)
    np.testing.assert_allclose(encode(backbone, clip, 1), expected.mean((0, 2, 3))[None], atol=1e-5)


def test_families_are_recognised_by_their_checkpoint(tmp_path, image_model):
    image_model.save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessor(image_mean=MEAN, image_std=STD).save_pretrained(tmp_path / "vit")
    loaded = load_backbone(str(tmp_path / "vit"))
    np.testing.assert_allclose(
        encode(loaded, clips(1), 1), encode(Backbone(image_model, MEAN, STD), clips(1), 1), atol=1e-5
    )
    assert load_backbone("pipeline/demo/encoders/backbone").kind == "video_transformer"
    assert load_backbone("pipeline/demo/encoders/dual_encoder").kind == "image_transformer"
    with pytest.raises(StageError, match="is a vitpose; backbones known here are videomae"):
        load_backbone("pipeline/demo/encoders/pose")
    with pytest.raises(StageError, match=r"has no readable config\.json"):
        load_backbone(str(tmp_path / "nothing"))
