from __future__ import annotations

import argparse
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageDraw

from pipeline.context.encoders import DualEncoder, load_dual_encoder
from pipeline.context.prompts import PromptGrid, build, circled, grid_masks, prompt_frames, prompted, ring_masks
from pipeline.context.settings import Prompts
from pipeline.jobs.stage import Job
from pipeline.methods.dance.bottleneck.spatial import SpatialData
from pipeline.store.arrays import read_arrays

SHIPPED = "pipeline/demo/encoders/dual_encoder"


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    return load_dual_encoder(SHIPPED)


def pictures(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def drawn(picture: np.ndarray, x: float, y: float, radius: float, width: int) -> np.ndarray:
    """The same prompt as one draws it with PIL on the picture itself."""
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), outline=(255, 0, 0), width=width)
    return np.asarray(image)


@pytest.mark.parametrize(("radius", "width", "placement"), [(32, 2, "stride"), (27, 1, "inset"), (37, 3, "cells")])
def test_composited_circles_are_those_of_pil(encoder, radius, width, placement):
    settings = Prompts(radius=radius, line_width=width, placement=placement, grid=(3, 4))
    grid = PromptGrid(encoder, settings)
    side, pixel_radius = encoder.size, round(radius * encoder.size / 224)
    (picture,) = pictures(1, side)
    prompts = grid.pictures(torch.from_numpy(picture[None]))[0]  # [12, 3, side, side]
    mean, std = (np.array(values)[:, None, None] for values in (encoder.mean, encoder.std))
    levels = (prompts.numpy() * std + mean) * 255
    y_centres = {"stride": [0, 112, 223], "inset": [27, 112, 197], "cells": [37.333, 112, 186.667]}[placement]
    x_centres = {
        "stride": [0, 74, 148, 222],
        "inset": np.linspace(27, 197, 4),
        "cells": [28, 84, 140, 196],
    }[placement]
    centres = [(x, y) for y in y_centres for x in x_centres]
    for level, (x, y) in zip(levels, centres, strict=True):
        x, y = (min(round(value * side / 224), side - 1) for value in (x, y))
        expected = drawn(picture, x, y, pixel_radius, width)
        assert np.abs(level - np.moveaxis(expected, -1, 0)).max() <= 1


def test_circles_are_round_and_as_thick_as_asked():
    (mask,) = ring_masks(101, np.array([[50, 50]]), 32, 2)
    y, x = np.nonzero(mask)
    distance = np.hypot(x - 50, y - 50)
    assert distance.min() > 30 and distance.max() < 33
    # PIL rounds towards a thin line: between one and two pixels in every direction.
    assert 1 < mask.sum() / (2 * np.pi * 31.5) < 2
    assert np.array_equal(mask, mask.T) and np.array_equal(mask, mask[::-1])


def test_circles_at_the_border_are_cut():
    masks = grid_masks(112, Prompts())
    assert masks.shape == (49, 112, 112)
    whole = masks[24].sum()
    assert masks[0].sum() == pytest.approx(whole / 4, rel=0.15)
    assert masks[0][:, 0].any() and masks[0][0].any()


def test_a_circle_changes_nothing_but_its_line():
    picture = torch.randn(2, 3, 8, 8)
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 2, 3] = True
    result = circled(picture, mask, torch.tensor([1.0, 2.0, 3.0]))
    assert result.shape == (2, 1, 3, 8, 8)
    assert result[1, 0, :, 2, 3].tolist() == [1, 2, 3]
    assert torch.equal(result[:, 0][:, :, ~mask[0]], picture[:, :, ~mask[0]])


@pytest.mark.parametrize(
    ("n_frames", "count", "taken"),
    [(16, 8, [1, 3, 5, 7, 9, 11, 13, 15]), (16, 1, [8]), (1, 8, [0]), (16, 4, [2, 6, 10, 14]), (5, 8, [0, 1, 2, 3, 4])],
)
def test_prompted_frames_are_the_middles(n_frames, count, taken):
    assert prompt_frames(n_frames, count).tolist() == taken


def test_algorithm_1_by_brute_force(encoder):
    """Each circled picture through the encoder alone, cosines in a loop, against the batched stage."""
    settings = Prompts(grid=(2, 3))
    frames = pictures(2, encoder.size)
    texts = encoder.texts(["ball", "umbrella", "beach", "gym"])
    regions = PromptGrid(encoder, settings).embed(frames, batch_size=7).reshape(2, 2, 3, -1)
    assert regions.dtype == np.float16
    no_maps = np.zeros((2, 1, 2, 3, 0), np.float16)
    data = SpatialData.of(no_maps, regions[:, None], texts, np.zeros(1, int))
    _, similarity = data.rows(slice(None))
    expected = np.zeros((2, 2, 3, 4))
    side = encoder.size
    for n in range(2):
        for h, y in enumerate((0, 223)):
            for w, x in enumerate((0, 112, 223)):
                x_pixel, y_pixel = (min(round(value * side / 224), side - 1) for value in (x, y))
                prompt = drawn(frames[n], x_pixel, y_pixel, round(32 * side / 224), 2)
                image = encoder.videos(prompt[None, None], 1, 1)[0].astype(np.float64)
                for m, text in enumerate(texts.astype(np.float64)):
                    expected[n, h, w, m] = image @ text / (np.linalg.norm(image) * np.linalg.norm(text))
    np.testing.assert_allclose(similarity.reshape(expected.shape), expected, atol=2e-3)


def test_pictures_are_the_wanted_frames_of_the_wanted_clips():
    clips = np.arange(7 * 5, dtype=np.uint8).reshape(7, 5, 1, 1, 1).repeat(3, -1)
    wanted, taken = np.array([1, 0, 0, 1, 1, 0, 1], bool), np.array([1, 3])
    for block in (1, 2, 7):
        pictures = list(prompted(np.split(clips, range(block, 7, block)), wanted, taken))
        np.testing.assert_array_equal(np.concatenate(pictures), clips[wanted][:, taken].reshape(-1, 1, 1, 3))


def test_only_videos_that_some_experiment_develops_on_are_prompted(tmp_path):
    def job(name: str, module: str, settings: dict, inputs: list[str], output: str) -> Job:
        suffixes = {"videos": ".parquet", "clips": ".zarr.zip", "prompts": ".zarr.zip"}
        paths = {key: tmp_path / f"{key}{suffix}" for key, suffix in suffixes.items()}
        call = argparse.Namespace(
            settings=json.dumps(settings),
            input=[[key, str(paths[key])] for key in inputs],
            output=[[output, str(paths[output])]],
            dataset="small",
            shard="",
            threads=1,
        )
        return Job(name, module, call)

    ids = ["a", "b", "c"]
    table = pa.table(
        {
            "video_id": ids,
            "path": ids,
            "first_frame": pa.nulls(3, pa.int32()),
            "end_frame": pa.nulls(3, pa.int32()),
            "listed": ["train", "test", "test"],
            "status": ["ok"] * 3,
            "developed": [True, False, True],
        }
    )
    job("videos", "pipeline.data.videos", {}, [], "videos").write_table("videos", table)
    clips = np.stack([pictures(2, 32) for _ in ids])
    failed = {"d": "broken"}
    job("decode", "pipeline.data.decode", {}, [], "clips").write_arrays(
        "clips", {"frames": clips}, {"video_id": ids}, n_ok=3, failed=failed
    )
    settings = Prompts(model=SHIPPED, n_frames=1, grid=(2, 1)).model_dump(mode="json")
    build(job("prompts", "pipeline.context.prompts", settings, ["videos", "clips"], "prompts"))
    arrays, about = read_arrays(tmp_path / "prompts.zarr.zip")
    assert about["video_id"] == ["a", "c"] and about["failed"] == []
    assert arrays["regions"].shape[:4] == (2, 1, 2, 1)


def test_no_frames_no_rows(encoder):
    assert PromptGrid(encoder, Prompts()).embed(np.zeros((0, 9, 9, 3), np.uint8), 8).shape == (
        0,
        49,
        encoder.model.config.projection_dim,
    )
