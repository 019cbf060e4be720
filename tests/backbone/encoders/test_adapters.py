"""Every backbone through the real loader, with a tiny checkpoint in the published form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from pipeline.backbone.encoders import encode, load_backbone
from pipeline.backbone.encoders.efficientnet import changes
from pipeline.demo.clips import render, sample_spec
from pipeline.encoding.checkpoints import weights_digest
from pipeline.jobs.runtime import Runtime
from pipeline.store.atomic import StageError

SHIPPED = "pipeline/demo/encoders/backbone"
# kind → (width, slices, side of the maps) for clips of 4 frames and 64 × 64 pixels, see tests/checkpoint_folders.py
KINDS = {
    "videomae": (32, 2, 4),
    "videomae_tuned": (32, 2, 4),
    "vjepa2": (48, 2, 4),
    "vjepa2_tuned": (48, 2, 4),
    "timesformer": (32, 4, 4),
    "clip": (32, 4, 4),
    "vit": (32, 4, 4),
    "resnet": (24, 4, 2),
    "convnext": (24, 4, 2),
    "efficientnet_lite": (96, 4, 2),
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory, checkpoint_folders):
    root = tmp_path_factory.mktemp("backbones")
    return {kind: checkpoint_folders.backbone(kind, root / kind) for kind in KINDS}


def clips(n: int, frames: int = 4, side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, frames, side, side, 3), dtype=np.uint8)


def standardised(clip: np.ndarray) -> torch.Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((torch.from_numpy(clip).float() / 255 - mean) / std).movedim(-1, -3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_one_equals_a_batch_of_many(folders, kind):
    width, slices, side = KINDS[kind]
    backbone = load_backbone(str(folders[kind]))
    many = encode(backbone, clips(3), 3)
    assert many.shape == (3, width) == (3, backbone.width) and many.std() > 0.05
    np.testing.assert_allclose(encode(backbone, clips(3), 1), many, atol=1e-5)
    maps = encode(backbone, clips(3), 2, "maps")
    assert maps.shape == (3, slices, side, side, backbone.map_width)
    np.testing.assert_allclose(encode(backbone, clips(3), 1, "maps"), maps, atol=1e-5)
    assert encode(backbone, clips(0), 2).shape == (0, width)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_close_to_float32(folders, kind):
    full = encode(load_backbone(str(folders[kind])), clips(3), 3)
    half = encode(load_backbone(str(folders[kind]), runtime=Runtime(precision="bfloat16")), clips(3), 3)
    assert half.dtype == np.float32 and (half != full).any()
    cosine = (half * full).sum(1) / np.linalg.norm(half, axis=1) / np.linalg.norm(full, axis=1)
    assert cosine.min() > 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_a_hub_id_and_a_folder_give_the_same(folders, kind, checkpoint_folders, hub_cache):
    name = checkpoint_folders.as_hub(folders[kind], hub_cache, f"someone/{kind}")
    np.testing.assert_array_equal(
        encode(load_backbone(name), clips(1), 1), encode(load_backbone(str(folders[kind])), clips(1), 1)
    )


# TensorFlow's padding moves what a place sees by half a place; only trained weights look back to its middle.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "efficientnet_lite"])
def test_maps_keep_the_places_of_the_picture(folders, kind):
    """A change in one corner of one frame is largest where the maps show that corner."""
    _, slices, side = KINDS[kind]
    backbone = load_backbone(str(folders[kind]))
    clip = clips(1)
    patch = 64 // side
    for frame, row, column in ((0, 0, 1), (2, 1, 0), (3, side - 1, 0)):
        changed = clip.copy()
        changed[0, frame, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] ^= 255
        change = np.linalg.norm(encode(backbone, changed, 1, "maps") - encode(backbone, clip, 1, "maps"), axis=-1)[0]
        where = tuple(int(place) for place in np.unravel_index(change.argmax(), change.shape))
        assert where == (frame * slices // 4, row, column)


@pytest.mark.parametrize("kind", ["videomae", "timesformer"])
def test_longer_clips_are_sampled_evenly_and_shorter_ones_are_refused(folders, kind):
    backbone = load_backbone(str(folders[kind]))
    long = clips(1, frames=10)
    np.testing.assert_allclose(encode(backbone, long, 1), encode(backbone, long[:, [0, 3, 6, 9]], 1), atol=1e-5)
    with pytest.raises(StageError, match=r"needs 4 frames, the clips have 3; set data\.decode\.n_frames"):
        encode(backbone, clips(1, frames=3), 1)


def test_vjepa2_takes_any_even_number_of_frames(folders):
    backbone = load_backbone(str(folders["vjepa2"]))
    assert encode(backbone, clips(1, frames=2), 1, "maps").shape[1] == 1
    assert encode(backbone, clips(1, frames=3), 1, "maps").shape[1] == 1
    assert encode(backbone, clips(1, frames=16), 1, "maps").shape[1] == 2  # its clips have 4 frames
    with pytest.raises(StageError, match="needs 2 frames"):
        encode(backbone, clips(1, frames=1), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_smaller_than_a_patch_are_refused(folders, kind):
    with pytest.raises(StageError, match=r"smaller than one patch .* set data\.decode\.size"):
        encode(load_backbone(str(folders[kind])), clips(1, side=12), 1)


def test_feature_of_videomae_is_the_mean_token(folders):
    backbone = load_backbone(str(folders["videomae"]))
    with torch.no_grad():
        hidden = backbone.model(standardised(clips(1))).last_hidden_state
    np.testing.assert_allclose(encode(backbone, clips(1), 2), hidden.mean(1), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("videomae_tuned", transformers.VideoMAEForVideoClassification),
        ("timesformer", transformers.TimesformerForVideoClassification),
    ],
)
def test_feature_is_what_the_classifier_of_the_network_sees(folders, kind, network):
    backbone = load_backbone(str(folders[kind]))
    model = network.from_pretrained(folders[kind]).eval()
    with torch.no_grad():
        logits = model(standardised(clips(2))).logits
        ours = model.classifier(torch.from_numpy(encode(backbone, clips(2), 2)))
    np.testing.assert_allclose(ours, logits, atol=1e-5)


def test_published_features_went_through_a_normalisation(real_data):
    """Weighted by one over its gains, the output of a LayerNorm sums to the same number in every row."""
    path = real_data / "penn_action/features/penn-action_train_vmae_vit_base_patch16_224.pt"
    if not path.is_file():
        pytest.skip("no published features")
    rows = torch.load(path, weights_only=True).double()
    values = torch.linalg.svdvals(rows - rows.mean(0))
    assert values[-1] < 1e-4 and values[-2] > 0.1


def test_feature_of_an_image_network_is_the_mean_over_frames(folders):
    for kind in ("clip", "vit", "resnet"):
        backbone = load_backbone(str(folders[kind]))
        single = [encode(backbone, clips(1)[:, k : k + 1], 1) for k in range(4)]
        np.testing.assert_allclose(encode(backbone, clips(1), 1), np.mean(single, 0), atol=1e-5)
    model = transformers.CLIPModel.from_pretrained(folders["clip"]).eval()
    with torch.no_grad():
        pooled = model.vision_model(standardised(clips(1)[0])).pooler_output.mean(0)
    np.testing.assert_allclose(encode(load_backbone(str(folders["clip"])), clips(1), 1)[0], pooled, atol=1e-5)


def test_frames_and_what_changes_between_them(folders):
    """Mean and deviation of frames, then of changes; a clip that stands still has no changes, and no deviation."""
    backbone = load_backbone(str(folders["efficientnet_lite"]))
    clip = clips(2, frames=12)
    features = encode(backbone, clip, 2)
    at = [0, 4, 7, 11]
    assert backbone.seen(12) == at
    maps = encode(backbone, clip, 2, "maps")
    np.testing.assert_allclose(features[:, :24], maps.mean((1, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(features[:, 24:48], maps.mean((2, 3)).std(1), atol=1e-5)
    still = encode(backbone, np.repeat(clip[:, :1], 12, 1), 2)
    np.testing.assert_allclose(still[:, 24:48], 0, atol=1e-5)
    np.testing.assert_allclose(still[0, 48:], still[1, 48:], atol=1e-5)
    assert np.abs(features[:, 48:] - still[:, 48:]).max() > 0.01


def test_changes_are_brightness_before_and_after():
    grey = torch.tensor([0.0, 0.1, 0.3, 0.2])  # of four frames
    pixels = grey[None, :, None, None, None].expand(1, 4, 3, 2, 2)
    found = changes(pixels, [0, 2], 1)[0, :, :, 0, 0]  # [2, 3]
    # The first frame is its own before.
    np.testing.assert_allclose((found + 1) / 3, [[0, 0.1, 0.1], [0.2, 0.1, 0.1]], atol=1e-6)
    assert changes(pixels * 10, [2], 1).max() == 1


def test_maps_of_the_published_efficientnet_are_those_of_its_original_code(fetched, project):
    """Batch norms were folded; see `tests/reference/make_efficientnet.py`."""
    picture = np.asarray(Image.open(project / "tests/reference/person.png").convert("RGB"))[8:120, 8:120]
    picture = picture.repeat(2, 0).repeat(2, 1)
    backbone = load_backbone(fetched("efficientnet-lite0"))
    maps = encode(backbone, picture[None, None], 1, "maps")[0, 0]
    assert maps.shape == (7, 7, 1280)
    expected = np.load(project / "tests/reference/efficientnet.npz")
    np.testing.assert_allclose(maps.mean((0, 1)), expected["channels"], atol=1e-4)
    np.testing.assert_allclose(maps.mean(2), expected["places"], atol=1e-4)


def test_tokens_of_an_image_transformer_with_cls(folders):
    plain, doubled = (load_backbone(str(folders["vit"]), cls_token=flag) for flag in (False, True))
    maps = encode(doubled, clips(2), 2, "maps")
    assert maps.shape == (2, 4, 4, 4, 64) == (2, 4, 4, 4, doubled.map_width)
    np.testing.assert_allclose(maps[..., :32], encode(plain, clips(2), 2, "maps"), atol=1e-5)
    # The CLS token is the picture's feature.
    np.testing.assert_allclose(
        maps[1, 2, :, :, 32:], np.broadcast_to(encode(plain, clips(2)[1:, 2:3], 1), (4, 4, 32)), atol=1e-5
    )
    for kind in ("videomae", "timesformer", "resnet"):
        with pytest.raises(StageError, match="no CLS token for its positions"):
            load_backbone(str(folders[kind]), cls_token=True)


def test_larger_clips_are_resized(folders):
    backbone = load_backbone(str(folders["videomae"]))
    flat = np.full((1, 4, 128, 128, 3), 99, np.uint8)
    np.testing.assert_allclose(encode(backbone, flat, 1), encode(backbone, flat[:, :, :64, :64], 1), atol=1e-4)


def test_families_are_recognised_by_their_checkpoint(tmp_path):
    assert load_backbone(SHIPPED).kind == "video_transformer"
    assert load_backbone("pipeline/demo/encoders/dual_encoder").kind == "image_transformer"
    with pytest.raises(StageError, match="is a vitpose; supported backbones are videomae, vjepa2, timesformer"):
        load_backbone("pipeline/demo/encoders/pose")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StageError, match=r"has no readable config\.json"):
        load_backbone(str(tmp_path / "empty"))


def test_the_demo_features_are_what_they_always_were():
    """Numbers of the code before there was more than one architecture; the demo's figures rest on them."""
    if not weights_digest(SHIPPED).startswith("fcd5f0f68387090e"):
        pytest.skip("the demo's encoder was trained again since these numbers were noted")
    clip = render(sample_spec(20_000_000), frame_indices=list(range(0, 32, 2))).frames[:, 8:120, 8:120]
    feature = encode(load_backbone(SHIPPED), clip[None], 1)[0]
    np.testing.assert_allclose(feature[:6], FIRST_RELEASE, atol=1e-3)


FIRST_RELEASE = [1.78775, 3.38388, 11.08483, 9.51075, -0.13012, 5.44272]
