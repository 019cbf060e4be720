"""Joining rows for the bottleneck."""

from __future__ import annotations

import argparse

import numpy as np
import pyarrow as pa
import pytest

from pipeline.backbone.samples import read_samples
from pipeline.data.index import SEGMENTS
from pipeline.jobs.stage import Job, StageError
from pipeline.methods.dance.bottleneck.activations import kept_motion_concepts

LABELS = {"a": [0], "b": [1], "c": [1], "d": [0], "e": [0]}
SPLITS = {"a": "train", "b": "train", "c": "val", "d": "val", "e": "test"}


@pytest.fixture
def made(tmp_path):
    """Function that writes an index and features, and gives the job that reads them."""

    def job(name: str, module: str, inputs: list, outputs: list) -> Job:
        call = argparse.Namespace(settings="{}", input=inputs, output=outputs, dataset="small", shard="", threads=1)
        return Job(name, module, call)

    def make(without_feature: str = "", **changes: list[int]) -> Job:
        ids, labels = list(LABELS), LABELS | changes
        index, features = str(tmp_path / "index.parquet"), str(tmp_path / "features.zarr.zip")
        table = {
            "video_id": ids,
            "path": ids,
            "first_frame": pa.nulls(5, pa.int32()),
            "end_frame": pa.nulls(5, pa.int32()),
            "labels": pa.array([labels[key] for key in ids], pa.list_(pa.int32())),
            "segments": pa.array([[]] * 5, SEGMENTS),
            "split": list(SPLITS.values()),
            "group": ids,
            "status": ["ok"] * 5,
        }
        writer = job("index", "pipeline.data.index", [], [["index", index]])
        writer.write_table("index", pa.table(table), {"class_names": ["run", "sit"]})
        known = [key for key in reversed(ids) if key not in without_feature]
        values = np.array([[ids.index(key), 1] for key in known], np.float32)
        failed = dict.fromkeys(without_feature, "broken")
        writer = job("features", "pipeline.backbone.features", [], [["features", features]])
        writer.write_arrays("features", {"features": values}, {"video_id": known}, n_ok=len(known), failed=failed)
        return job(
            "classifier", "pipeline.methods.dance.bottleneck.classifier", [["index", index], ["features", features]], []
        )

    return make


def test_features_meet_their_labels(made):
    samples = read_samples(made(without_feature="d"), "DANCE")
    assert samples.videos.video_id.tolist() == ["a", "b", "c", "e"]
    assert samples.features[:, 0].tolist() == [0, 1, 2, 4] and samples.failed == {"d": "broken"}
    assert samples.label.tolist() == [0, 1, 1, 0] and samples.label.dtype == np.int32


def test_label_sets_are_told(made):
    with pytest.raises(StageError) as told:
        read_samples(made(c=[0, 1], e=[]), "DANCE")
    assert str(told.value) == (
        "DANCE decides between mutually exclusive classes; 2 of 5 videos have none or several labels, for example "
        "`c` has 2 (run, sit); give each video one label, or choose a method for label sets"
    )


def test_a_class_without_train_videos_is_told(made):
    with pytest.raises(StageError) as told:
        read_samples(made(b=[0]), "DANCE")
    assert str(told.value) == (
        "DANCE cannot learn the class `sit`: no train video of it has a feature (1 of 2 classes); add videos or take "
        "it off the class list"
    )


def test_medoids_follow_the_concepts_that_the_layers_kept():
    layers = {"names": ["motion 002", "motion 000", "ball"], "types": ["motion", "motion", "object"]}
    discovered = {"names": ["motion 000", "motion 001", "motion 002"]}
    assert kept_motion_concepts(layers, discovered).tolist() == [2, 0]
    only_words = {"names": ["ball"], "types": ["object"], "read_names": [], "read_types": []}
    assert kept_motion_concepts(only_words, discovered).dtype == np.int64
