"""Every operation against PIL, picture by picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from pipeline.backbone.finetuning import operations

FILL = (124, 116, 104)


def pictures() -> np.ndarray:
    """uint8 ``[2, 3, 24, 32, 3]``: noise, soft colours, a frame without any contrast, few levels."""
    random = np.random.default_rng(0)
    clips = random.integers(0, 256, (2, 3, 24, 32, 3), dtype=np.uint8)
    y, x = np.mgrid[:24, :32]
    clips[0, 1] = np.stack([40 + 3 * x, 200 - 4 * y, 90 + x + y], -1)
    clips[0, 2] = 77
    clips[1, 2] = clips[1, 2] // 64 * 40 + 20
    return clips


def as_clips(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).movedim(-1, 2)


def apply(operation: Callable, strengths: list[float], *rest) -> np.ndarray:
    result = operation(as_clips(pictures()), torch.tensor(strengths), *rest)
    assert result.dtype == torch.uint8
    return result.movedim(2, -1).numpy()


def expected(reference: Callable[[Image.Image, float], Image.Image], strengths: list[float]) -> np.ndarray:
    return np.array(
        [
            [np.asarray(reference(Image.fromarray(frame), strength)) for frame in clip]
            for clip, strength in zip(pictures(), strengths, strict=True)
        ]
    )


def difference(given: np.ndarray, wanted: np.ndarray) -> int:
    return int(np.abs(given.astype(int) - wanted).max())


def solarise_add(picture: Image.Image, added: float) -> Image.Image:
    return picture.point([min(255, value + int(added)) if value < 128 else value for value in range(256)] * 3)


@pytest.mark.parametrize(
    ("operation", "reference", "strengths"),
    [
        (operations.autocontrast, lambda picture, _: ImageOps.autocontrast(picture), [0, 0]),
        (operations.equalise, lambda picture, _: ImageOps.equalize(picture), [0, 0]),
        (operations.invert, lambda picture, _: ImageOps.invert(picture), [0, 0]),
        (operations.posterise, lambda picture, bits: ImageOps.posterize(picture, int(bits)), [1, 4]),
        (operations.posterise, lambda picture, bits: ImageOps.posterize(picture, int(bits)), [2, 8]),
        (operations.solarise, ImageOps.solarize, [26, 256]),
        (operations.solarise_add, solarise_add, [99, 30]),
    ],
)
def test_operations_on_levels_equal_pil(operation, reference, strengths):
    np.testing.assert_array_equal(apply(operation, strengths), expected(reference, strengths))


@pytest.mark.parametrize(
    ("operation", "reference"),
    [
        (operations.brightness, ImageEnhance.Brightness),
        (operations.colour, ImageEnhance.Color),
        (operations.contrast, ImageEnhance.Contrast),
        (operations.sharpness, ImageEnhance.Sharpness),
    ],
)
@pytest.mark.parametrize("strengths", [[0.19, 1.81], [1.0, 0.6], [0.0, 1.4]])
def test_enhancements_are_within_a_grey_level_of_pil(operation, reference, strengths):
    given = apply(operation, strengths)
    assert difference(given, expected(lambda picture, factor: reference(picture).enhance(factor), strengths)) <= 1


def shear_x(picture: Image.Image, factor: float) -> Image.Image:
    return picture.transform(picture.size, Image.AFFINE, (1, factor, 0, 0, 1, 0), Image.BILINEAR, fillcolor=FILL)


def shear_y(picture: Image.Image, factor: float) -> Image.Image:
    return picture.transform(picture.size, Image.AFFINE, (1, 0, 0, factor, 1, 0), Image.BILINEAR, fillcolor=FILL)


def translate_x(picture: Image.Image, part: float) -> Image.Image:
    shift = part * picture.width
    return picture.transform(picture.size, Image.AFFINE, (1, 0, shift, 0, 1, 0), Image.BILINEAR, fillcolor=FILL)


def translate_y(picture: Image.Image, part: float) -> Image.Image:
    shift = part * picture.height
    return picture.transform(picture.size, Image.AFFINE, (1, 0, 0, 0, 1, shift), Image.BILINEAR, fillcolor=FILL)


def rotate(picture: Image.Image, degrees: float) -> Image.Image:
    return picture.rotate(degrees, Image.BILINEAR, fillcolor=FILL)


@pytest.mark.parametrize(
    ("operation", "reference", "strengths"),
    [
        (operations.shear_x, shear_x, [0.27, -0.13]),
        (operations.shear_y, shear_y, [-0.27, 0.05]),
        (operations.translate_x, translate_x, [0.405, -0.11]),
        (operations.translate_y, translate_y, [-0.405, 0.0]),
        (operations.rotate, rotate, [27.0, -8.5]),
    ],
)
def test_movements_are_within_a_grey_level_of_pil(operation, reference, strengths):
    given = apply(operation, strengths, torch.tensor(FILL))
    wanted = expected(reference, strengths)
    # Where a pixel's centre falls on the border itself, rounding decides between picture and fill.
    off = np.abs(given.astype(int) - wanted).max(-1) > 1
    assert off.mean() < 0.002
    assert (given == FILL).all(-1).any()


@pytest.mark.parametrize("box", [(0, 0, 24, 32), (3, 5, 20, 15), (10, 2, 7, 30)])
def test_crops_are_within_a_grey_level_of_pil(box):
    top, left, height, width = box
    clip = pictures()[1]
    given = operations.crop_and_resize(as_clips(clip[None])[0], box, 16, flip=True).movedim(1, -1).numpy()
    wanted = [
        ImageOps.mirror(
            Image.fromarray(frame).crop((left, top, left + width, top + height)).resize((16, 16), Image.BILINEAR)
        )
        for frame in clip
    ]
    assert difference(given, np.array([np.asarray(picture) for picture in wanted])) <= 1
