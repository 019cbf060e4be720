"""What a model that locates its concepts makes of clips must not depend on how it was asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.backbone.encoders import encode, load_backbone
from pipeline.backbone.maps import on_grid
from pipeline.backbone.settings import Features
from pipeline.data.settings import Decode
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.predict import VideoPredictor

GRID, PLACEMENT, RADIUS = (2, 2), "cells", 32
N_WHOLE, N_MAPS = 3, 2


@pytest.mark.parametrize("kind", ["videomae", "videomae_tuned", "vit"])
def test_features_of_many_clips_are_those_that_the_model_was_trained_on(kind, checkpoint_folders, tmp_path):
    folder = str(checkpoint_folders.backbone(kind, tmp_path / kind))
    backbone = load_backbone(folder)
    random = np.random.default_rng(0)
    clips = random.integers(0, 256, (3, 4, 64, 64, 3), dtype=np.uint8)
    layer = {
        "weight": random.normal(size=(N_WHOLE, backbone.width)),
        "map_weight": random.normal(size=(N_MAPS, backbone.width)),
        "mean": np.zeros(N_WHOLE + N_MAPS),
        "std": np.ones(N_WHOLE + N_MAPS),
    }
    places = {"grid": GRID, "placement": PLACEMENT, "radius": RADIUS, "cls_token": False, "pooling": "mean"}
    about = {
        "decode": Decode().model_dump(mode="json"),
        "features": Features(model=folder).model_dump(mode="json"),
        "maps": places,
    }
    names, types = [f"c{number}" for number in range(5)], ["motion"] * N_WHOLE + ["object"] * N_MAPS
    weight, bias = random.normal(size=(2, 5)), np.zeros(2)
    model = ConceptModel(["a", "b"], names, types, layer, weight, bias, np.zeros((0, 2, 1, 2)), about)
    maps = on_grid(torch.from_numpy(encode(backbone, clips, 3, "maps")), GRID, PLACEMENT, RADIUS).numpy()
    expected = model.activations(encode(backbone, clips, 3), model.maps(maps))
    np.testing.assert_allclose(VideoPredictor(model).activations(clips, 2), expected, atol=1e-4)
