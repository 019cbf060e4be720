"""What the cache of a run tells of its videos."""

from __future__ import annotations

import numpy as np

from pipeline.data.entries import shard_of
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.cached import look
from pipeline.store.arrays import ragged, write_arrays


def test_times_are_those_of_the_frames_and_not_of_an_even_rate(tmp_path):
    """A video of variable rate beside another one in its shard."""
    ids = [key for key in map(str, range(40)) if shard_of(key, 2) == 1][:2]
    stamps = [np.array([0, 0.1, 0.2, 0.9]), np.array([0, 0.04, 2.0, 2.04, 7.5])]
    record = {"settings_digest": "", "stage": "decode"}
    timestamps, offsets = ragged(stamps, (), np.float64)
    described = {"video_id": ids, "fps": [4 / 0.9, 4 / 7.5], "height": [48, 48], "width": [64, 64]}
    shard = "001-of-002.zarr.zip"
    clips = {"frames": np.zeros((2, 3, 8, 8, 3), np.uint8), "frame_index": np.array([[0, 1, 3], [1, 2, 4]], np.int32)}
    write_arrays(tmp_path / "data" / "clips" / shard, clips, described, record)
    write_arrays(
        tmp_path / "data" / "signal" / shard, {"timestamps": timestamps, "offsets": offsets}, described, record
    )
    features = {"features": np.zeros((2, 2), np.float32)}
    write_arrays(tmp_path / "backbone" / "features" / shard, features, {"video_id": ids}, record)
    layer = {"weight": np.eye(2), "mean": np.zeros(2), "std": np.ones(2)}
    model = ConceptModel(
        ["a", "b"], ["c0", "c1"], ["object"] * 2, layer, np.eye(2), np.zeros(2), np.zeros((0, 2, 1, 2)), {}
    )
    for key, times in zip(ids, ([0, 0.1, 0.9], [0.04, 2.0, 7.5]), strict=True):
        np.testing.assert_array_equal(look(tmp_path, model, key, np.zeros(2)).times, times)
