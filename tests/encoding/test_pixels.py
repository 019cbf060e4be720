"""Preprocessing against the processors that the encoders were published with.

Those of image models run here with PIL; the video models' own need torchvision, so they are written out with PIL from
their published settings. Differences are told in grey levels of the input picture (0…255).
"""

from __future__ import annotations

import importlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.encoding.pixels import Preprocessing, evenly, resize
from pipeline.jobs.stage import StageError

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

# family → settings of its published processor, side of the network, and the class that applies them.
FAMILIES = {
    "videomae": (
        {**IMAGENET, "size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "resample": 2},
        224,
        "videomae.image_processing_pil_videomae.VideoMAEImageProcessorPil",
    ),
    "timesformer": (
        {
            "image_mean": [0.45] * 3, "image_std": [0.225] * 3, "size": {"shortest_edge": 224},
            "crop_size": {"height": 224, "width": 224}, "resample": 2,
        },
        224,
        "videomae.image_processing_pil_videomae.VideoMAEImageProcessorPil",
    ),
    "xclip": (  # published in the first format: a number for the shorter side
        {**IMAGENET, "size": 224, "do_center_crop": True, "resample": 2},
        224,
        "videomae.image_processing_pil_videomae.VideoMAEImageProcessorPil",
    ),
    "clip": (
        {"image_mean": CLIP_MEAN, "image_std": CLIP_STD, "size": 224, "crop_size": 224, "resample": 3},
        224,
        "clip.image_processing_pil_clip.CLIPImageProcessorPil",
    ),
    "vit": ({**IMAGENET, "size": 224, "resample": 2}, 224, "vit.image_processing_pil_vit.ViTImageProcessorPil"),
    "resnet": (
        {**IMAGENET, "size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3},
        224,
        "convnext.image_processing_pil_convnext.ConvNextImageProcessorPil",
    ),
    "rt_detr": (
        {"size": {"height": 640, "width": 640}, "do_normalize": False, "resample": 2},
        640,
        "rt_detr.image_processing_pil_rt_detr.RTDetrImageProcessorPil",
    ),
    "vjepa2": ({**IMAGENET, "size": {"shortest_edge": 292}, "crop_size": 256, "resample": 2}, 256, ""),
    "videoprism": ({"do_normalize": False, "size": {"height": 288, "width": 288}, "resample": 3}, 288, ""),
    "viclip": ({**IMAGENET, "size": {"height": 224, "width": 224}, "resample": 3}, 224, ""),
}  # fmt: skip
# Largest and mean difference in grey levels; docs/encoders.md quotes them.
LARGEST, MEAN = 2.01, 0.2
SIZES = ((240, 320), (120, 160), (288, 180))
# Pillow 13 begins with the columns where that costs less, older ones and ours never do; each begins by rounding.
PORTRAIT = (288, 180)
LARGEST_PORTRAIT, MEAN_PORTRAIT = 16, 0.3


def picture(height: int, width: int) -> np.ndarray:
    """Soft shapes, sharp edges and noise: what resampling can get wrong."""
    rng = np.random.default_rng(height * width)
    soft = cv2.resize(rng.uniform(0, 255, (6, 8, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    soft[height // 3 : height // 2, width // 4 : width // 2] = (250, 10, 120)
    return np.clip(soft + rng.normal(0, 12, soft.shape), 0, 255).astype(np.uint8)


def by_pil(frame: np.ndarray, settings: dict) -> np.ndarray:
    """A processor of stock settings, written out: float32 ``[3, h, w]``."""
    image, size = Image.fromarray(frame), settings["size"]
    if "height" in size:
        image = image.resize((size["width"], size["height"]), settings["resample"])
    else:
        short = min(image.size)
        image = image.resize([int(size["shortest_edge"] * side / short) for side in image.size], settings["resample"])
        crop = settings["crop_size"]
        left, top = (image.width - crop) // 2, (image.height - crop) // 2
        image = image.crop((left, top, left + crop, top + crop))
    pixels = np.asarray(image, np.float32) / 255
    if settings.get("do_normalize", True):
        pixels = (pixels - settings["image_mean"]) / settings["image_std"]
    return np.moveaxis(pixels, -1, 0)


def reference(family: str, frame: np.ndarray) -> np.ndarray:
    settings, side, processor = FAMILIES[family]
    if not processor:
        return by_pil(frame, settings)
    module, name = processor.rsplit(".", 1)
    made = getattr(importlib.import_module(f"transformers.models.{module}"), name)(**settings)
    return np.asarray(made(images=[frame], return_tensors="np")["pixel_values"]).squeeze().reshape(3, side, side)


def difference(family: str, frame: np.ndarray) -> np.ndarray:
    """Absolute difference in grey levels ``[3, h, w]``."""
    settings, side, _ = FAMILIES[family]
    ours = Preprocessing.of(settings, side)(torch.from_numpy(frame), margin=True).numpy()
    std = np.array(settings["image_std"] if settings.get("do_normalize", True) else [1, 1, 1])
    return np.abs(ours - reference(family, frame)) * std[:, None, None] * 255


@pytest.mark.parametrize("family", FAMILIES)
def test_pixels_are_those_of_the_published_processor(family):
    for height, width in SIZES:
        largest, mean = (LARGEST_PORTRAIT, MEAN_PORTRAIT) if (height, width) == PORTRAIT else (LARGEST, MEAN)
        found = difference(family, picture(height, width))
        assert found.max() <= largest and found.mean() <= mean, (height, width, found.max(), found.mean())


def test_the_documented_tolerance_is_the_one_that_is_tested(project):
    text = (project / "docs/encoders.md").read_text()
    assert f"at most {LARGEST:.0f} grey levels" in text and f"{MEAN:g} on average" in text


def test_a_batch_of_one_equals_a_batch_of_many():
    prepare = Preprocessing.of(*FAMILIES["clip"][:2])
    frames = torch.from_numpy(np.stack([picture(240, 320) // part for part in (1, 2, 3)]))
    many = prepare(frames[None])
    assert many.shape == (1, 3, 3, 224, 224)
    for row in range(3):
        torch.testing.assert_close(prepare(frames[row]), many[0, row])


def test_without_margin_the_picture_keeps_its_border():
    """Feature maps must cover all of a clip, which was cropped when it was decoded."""
    frame = np.zeros((256, 256, 3), np.uint8)
    frame[:8] = 255
    prepare = Preprocessing.of({**FAMILIES["resnet"][0], "image_mean": [0] * 3, "image_std": [1] * 3}, 224)
    assert prepare(torch.from_numpy(frame))[:, 0].min() > 0.9
    assert prepare(torch.from_numpy(frame), margin=True)[:, 0].max() == 0


def test_pictures_of_the_right_size_are_not_touched():
    frame = torch.from_numpy(picture(32, 48))
    assert (resize(frame[None], (32, 48))[0] == frame).all()
    expected = ((frame.float() / 255 - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)).movedim(-1, 0)
    prepare = Preprocessing(tuple(CLIP_MEAN), tuple(CLIP_STD), (32, 48))
    torch.testing.assert_close(prepare(frame), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        Preprocessing(tuple(CLIP_MEAN), tuple(CLIP_STD), None)(frame), expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("settings", "stretch", "margin", "how"),
    [
        ({"size": 224, "crop_size": 224, "resample": 3}, False, 1, "bicubic"),  # CLIP's first format
        ({"size": 224, "resample": 2}, True, 1, "bilinear"),  # ViT's
        ({"size": 224, "do_center_crop": True, "resample": 2}, False, 1, "bilinear"),  # X-CLIP's, VideoMAE's
        ({"size": 224, "crop_pct": 0.875, "resample": 3}, False, 1 / 0.875, "bicubic"),  # ResNet's
        ({"size": {"shortest_edge": 292}, "crop_size": {"height": 256, "width": 256}}, False, 292 / 256, "bilinear"),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}, False, 1 / 0.875, "bicubic"),
        ({"size": {"shortest_edge": 384}, "crop_pct": 1.0}, False, 1, "bilinear"),
        ({}, False, 1, "bilinear"),
    ],
)
def test_settings_of_all_formats_are_understood(settings, stretch, margin, how):
    found = Preprocessing.of(settings, 256)
    assert (found.stretch, found.margin, found.how, found.size) == (stretch, pytest.approx(margin), how, (256, 256))


def test_frames_are_taken_evenly():
    assert evenly(16, 8).tolist() == [0, 2, 4, 6, 9, 11, 13, 15]
    assert evenly(5, 5).tolist() == [0, 1, 2, 3, 4] and evenly(9, 1).tolist() == [0]


def test_tiny_pictures_are_told():
    from pipeline.encoding.pixels import check_patch

    with pytest.raises(StageError, match=r"12 × 20 pixels, smaller than one patch \(16\) of the backbone"):
        check_patch((2, 4, 12, 20, 3), 16, "backbone")
