"""A tiny VideoMAE on disk, and folders of trainings on clips whose class can be seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from pipeline.backbone.finetuning.loop import FRAMES, VIEWS, Plan
from pipeline.backbone.settings import Finetune

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIDE, N_FRAMES = 32, 4
SHORT = Finetune(
    enabled=True, epochs=3, warmup_epochs=1, batch_size=8, base_learning_rate=0.1, layer_decay=0.9, crop_scale=(0.5, 1)
)


@pytest.fixture
def short_recipe() -> Finetune:
    """Three epochs of two steps; what a folder of `make_training_folder` is trained with."""
    return SHORT


@pytest.fixture(scope="session")
def tiny_videomae(tmp_path_factory) -> str:
    """Folder of a VideoMAE of two blocks with random weights."""
    torch.manual_seed(0)
    config = transformers.VideoMAEConfig(
        image_size=SIDE,
        patch_size=16,
        num_frames=N_FRAMES,
        tubelet_size=2,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        use_mean_pooling=False,
    )
    folder = tmp_path_factory.mktemp("tiny_videomae")
    transformers.VideoMAEModel(config).save_pretrained(folder)
    transformers.VideoMAEImageProcessor(size={"shortest_edge": SIDE}, image_mean=MEAN, image_std=STD).save_pretrained(
        folder
    )
    return str(folder)


def red_and_blue(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips uint8 ``[n, T, H, W, 3]`` that are rather red or rather blue, and which they are: 0 or 1."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % 2
    clips = random.integers(0, 100, (n, N_FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    for clip, label in zip(clips, labels, strict=True):
        clip[..., 2 * label] += 120
    return clips, labels


@pytest.fixture
def make_training_folder(tmp_path, tiny_videomae) -> Callable[..., Path]:
    """Name and changes of the plan → a folder in which `Training` can run: 19 train and 6 validation clips.

    With ``views``, uint8 ``[19, n_views, T, H, W, 3]``, the clips of an epoch are drawn from these; True makes some.
    """

    def make(name: str = "work", views: np.ndarray | bool = False, **changes) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        clips, labels = red_and_blue(25)
        np.save(folder / FRAMES, clips)
        splits = {
            split: {"rows": rows, "labels": labels[rows].tolist()}
            for split, rows in (("val", list(range(6))), ("train", list(range(6, 25))))
        }
        if views is not False:
            if views is True:
                noise = np.random.default_rng(1).integers(0, 40, (19, 3, *clips.shape[1:]), dtype=np.uint8)
                views = clips[6:, None] // 2 + noise
            np.save(folder / VIEWS, views[::-1])  # in another order than the clips
            splits["train"]["views"] = list(range(19))[::-1]
        plan = {
            "digest": "plan",
            "model": tiny_videomae,
            "revision": "main",
            "settings": SHORT,
            "class_names": ["red", "blue"],
            "splits": splits,
            "sampling": "uniform",
            "micro_batch": 3,
            "threads": 1,
        }
        Plan(**{**plan, **changes}).save(folder)
        return folder

    return make
