"""The same code on a GPU gives what it gives on a CPU; skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.backbone.encoders import encode, load_backbone
from pipeline.context.encoders import KINDS, load_dual_encoder
from pipeline.demo.clips import render, sample_spec
from pipeline.encoding.batches import encode_rows
from pipeline.jobs.runtime import Runtime
from pipeline.motion.pose.detector import PersonDetector
from pipeline.motion.pose.estimate import Estimation
from pipeline.motion.pose.vitpose import PoseEstimator
from pipeline.motion.settings import Poses

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
BACKBONES = ("videomae", "videomae_tuned", "vjepa2", "vjepa2_tuned", "timesformer", "clip", "vit", "resnet", "convnext")


def on_both(function: Callable[[Runtime], Any]) -> list:
    """Result of a function on the CPU and on the GPU, in float32, and on the GPU in bfloat16."""
    places = (("cpu", "float32"), ("cuda", "float32"), ("cuda", "bfloat16"))
    return [function(Runtime(device=device, precision=precision)) for device, precision in places]


def assert_alike(results: list[np.ndarray]) -> None:
    rows = [result.reshape(len(result), -1) for result in results]
    for other in rows[1:]:
        cosine = (rows[0] * other).sum(1) / np.linalg.norm(rows[0], axis=1) / np.linalg.norm(other, axis=1)
        assert cosine.min() > 0.999


def clips(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 4, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", BACKBONES)
def test_backbones(kind, tmp_path, checkpoint_folders):
    folder = str(checkpoint_folders.backbone(kind, tmp_path / kind))
    for what in ("features", "maps"):
        assert_alike(on_both(lambda run, what=what: encode(load_backbone(folder, runtime=run), clips(64), 2, what)))


@pytest.mark.parametrize("kind", KINDS)
def test_dual_encoders(kind, tmp_path, checkpoint_folders):
    folder = str(checkpoint_folders.dual_encoder(kind, tmp_path / kind))
    assert_alike(on_both(lambda run: load_dual_encoder(folder, runtime=run).videos(clips(40), 4, 8)))
    assert_alike(on_both(lambda run: load_dual_encoder(folder, runtime=run).texts(["a ball", "a dog on the beach"])))


@pytest.mark.parametrize("boxes", ["whole_frame", "refined", "annotations"])
def test_poses(boxes):
    videos = {str(k): render(sample_spec(20_000_000 + k), frame_indices=list(range(3 + k))).frames for k in range(3)}
    annotated = {
        name: np.array([[f, 5, 5, 120, 126, 1] for f in range(len(frames))], float) for name, frames in videos.items()
    }

    def opened(name):
        frames = videos[name]
        steps = range(0, len(frames), 2)
        height, width = frames.shape[1:3]
        read = SimpleNamespace(height=height, width=width, batches=lambda size: ((k, frames[k : k + 2]) for k in steps))
        return nullcontext(read)

    def run(runtime):
        settings = Poses(boxes=boxes, boxes_path="x.csv" if boxes == "annotations" else "")
        estimator = PoseEstimator("pipeline/demo/encoders/pose", runtime=runtime)
        estimation = Estimation(estimator, settings, 4, annotated=annotated)
        found = dict(estimation.run([(name, name) for name in videos], [opened]))
        return np.concatenate([found[name]["keypoints"] for name in sorted(found)])

    first, second, half = on_both(run)
    assert np.abs(first - second).max() < 0.5  # pixels of 128
    assert np.median(np.abs(first - half)) < 0.5


def test_detector(tmp_path, checkpoint_folders):
    folder = str(checkpoint_folders.detector(tmp_path / "detector"))
    frames = torch.from_numpy(clips(64)[:, 0])

    def run(runtime):
        detector = PersonDetector(folder, runtime=runtime)
        return detector(detector.pixels(frames))[..., 4].cpu().numpy()

    assert_alike(on_both(run))


def test_a_batch_larger_than_the_memory_is_halved():
    """No stand-in here: the network asks for more than the GPU has, for every batch of more than two rows."""
    total = torch.cuda.get_device_properties(0).total_memory

    def run(rows):
        held = torch.empty(total if len(rows) > 2 else 1, dtype=torch.uint8, device=rows.device)
        return rows.float() + 0 * len(held)

    rows = np.arange(16, dtype=np.uint8).reshape(8, 2)
    np.testing.assert_array_equal(encode_rows(rows, run, 8, torch.device("cuda"), "rows"), rows)
