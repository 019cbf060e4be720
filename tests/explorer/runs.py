"""Finished runs for the explorer's tests, written without a pipeline: a small one with pictures, a large one without.

``python -m tests.explorer.runs FOLDER`` writes the large one: 13,320 clips, 782 concepts, 101 classes, as UCF-101 has.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.backbone.settings import Features
from pipeline.data.entries import shard_of
from pipeline.data.settings import Decode
from pipeline.learning.novelty import Reach
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.store.arrays import ragged, write_arrays
from pipeline.store.plain import write_json
from pipeline.store.tables import write_table

BACKBONE = "pipeline/demo/encoders/backbone"
WIDTH = 176
RECORD = {"stage": "test", "settings_digest": "", "counts": {"ok": 1}}
# Names that a page must show as they are.
HOSTILE = "<img src=x onerror=alert(1)>"
JOINTS, LENGTH = 17, 5
SIZE, FRAMES = 32, 4
SPLITS = ("train", "val", "test")


def _finish(folder: Path, model: ConceptModel, z: np.ndarray, label: np.ndarray, ids: Sequence[str], split: list[str]):
    """Activations, model and figures of a run."""
    digest = write_arrays(
        folder / "bottleneck" / "activations.zarr.zip",
        {
            "z": z.astype(np.float32),
            "label": label.astype(np.int32),
            "distance": np.linspace(0, 12, len(z)),
        },
        {
            "video_id": list(ids),
            "split": split,
            "class_names": model.class_names,
            "names": model.concepts,
            "types": model.types,
        },
        RECORD,
    )
    model.about["activations"] = digest
    model.save(folder / "model.pt")
    write_json(folder / "metrics.json", {"headline": {"name": "top-1", "value": 0.5, "split": "test"}})


def small(folder: Path, n: int = 24, seed: int = 0) -> Path:
    """A run of two motions, two located objects and three classes, with clips, maps, poses and a λ path.

    The class 0, the object 0 and the clip 0 have hostile names; clip 3 is in no cache.
    """
    rng = np.random.default_rng(seed)
    classes = [f"{HOSTILE} class", "wave", "kick"]
    concepts = ["motion 000", "motion 001", f"{HOSTILE} ball", "sea"]
    types = ["motion", "motion", "object", "scene"]
    ids = [f"{HOSTILE} clip", *(f"clip_{row:03d}" for row in range(1, n))]
    label, split = np.arange(n) % 3, [SPLITS[row // 3 % 3] for row in range(n)]
    maps = rng.normal(size=(n, 2, 7, 7, WIDTH)).astype(np.float16)
    features = rng.normal(size=(n, WIDTH)).astype(np.float32)
    medoids = rng.uniform(0.1, 0.9, size=(2, LENGTH, JOINTS, 2)).astype(np.float32)
    about: dict[str, Any] = {
        "dataset": "small",
        "kind": "dance+salf",
        "skeleton": "coco",
        "quality": [0.5] * 4,
        "n_videos": [5, 6],
        "doubt": ["", "learned from 2 training videos", "", ""],
        "medoid_video_id": [ids[1], ids[2]],
        "motion_words": [{"sentence": f"knees bend {k}", "short": f"bend {k}", "codes": []} for k in range(2)],
        "decode": Decode(size=112, n_frames=16, min_frames=2).model_dump(mode="json"),
        "features": Features(model=BACKBONE).model_dump(mode="json"),
        "maps": {
            "model": BACKBONE,
            "revision": "main",
            "sha256": "",
            "cls_token": False,
            "grid": [7, 7],
            "placement": "inset",
            "radius": 32,
            "pooling": "mean",
        },
        "window": None,
        "edits": [],
    }
    layer = {
        "weight": rng.normal(size=(2, WIDTH)).astype(np.float32),
        "mean": np.zeros(4),
        "std": np.array([13.0, 13, 1.2, 1.2]).astype(np.float32).astype(float),
        "map_weight": rng.normal(size=(2, WIDTH)).astype(np.float32),
        "levels": np.array([[-1.0] * 4, [1.0] * 4, [0.25] * 4, [9.0] * 4, [0.9] * 4]),
        "heat": np.array([[0.5, 0.5], [20.0, 20.0]]),
    }
    weight = np.array([[0.75, 0, -0.5, 0.3], [0, 0.6, 0.4, 0], [-0.2, 0, 0, 0.9]]).astype(np.float32).astype(float)
    reach = Reach(np.zeros(WIDTH, np.float32), np.eye(WIDTH, dtype=np.float32), 11.5)
    model = ConceptModel(classes, concepts, types, layer, weight, np.array([0.25, -0.5, 0.25]), medoids, about, reach)
    z = model.activations(features, model.maps(maps))
    z = z.astype(np.float32).astype(float)
    known = [row for row in range(n) if row != 3]
    for shard in range(2):
        own = [row for row in known if shard_of(ids[row], 2) == shard]
        _shard(folder, f"{shard:03d}-of-002.zarr.zip", rng, [ids[row] for row in own], features[own], maps[own])
    _finish(folder, model, z, label, ids, split)
    _path(folder, model)
    found = {"medoids": medoids, "n_videos": np.array([5, 6])}
    described = {"names": concepts[:2], "words": about["motion_words"], "medoid_video_id": about["medoid_video_id"]}
    write_arrays(folder / "motion" / "motion_concepts.zarr.zip", found, described, RECORD)
    words = {"video_id": ids, "types": types[2:], "names": concepts[2:]}
    write_arrays(folder / "context" / "pseudo_labels.zarr.zip", {"similarity": np.zeros((n, 2))}, words, RECORD)
    table = pa.table({"video_id": ids, "split": split})
    write_table(folder / "data" / "index.parquet", table, {"class_names": classes}, RECORD)
    return folder


def _shard(folder: Path, name: str, rng: np.random.Generator, ids: list[str], features: np.ndarray, maps: np.ndarray):
    """One shard of each floor."""
    n, total = len(ids), 12
    described = {"video_id": ids, "fps": [25.0] * n, "height": [48] * n, "width": [64] * n, "skeleton": "coco"}
    index = np.tile(np.array([0, 3, 7, 11], np.int32), (n, 1))
    frames = rng.integers(0, 255, (n, FRAMES, SIZE, SIZE, 3), np.uint8)
    timestamps, offsets = ragged([np.arange(total) / 25.0] * n, (), np.float64)
    # In the middle of the picture, so that they lie in the square that the model sees.
    keypoints = rng.uniform([20, 10], [44, 40], (n * total, JOINTS, 2)).astype(np.float32)
    keypoints[0, 0] = np.nan
    present = np.ones(n * total, bool)
    present[3::total] = False
    write_arrays(folder / "data" / "clips" / name, {"frames": frames, "frame_index": index}, described, RECORD)
    signal = {"timestamps": timestamps, "offsets": offsets}
    write_arrays(folder / "data" / "signal" / name, signal, described, RECORD)
    write_arrays(folder / "backbone" / "features" / name, {"features": features}, described, RECORD)
    write_arrays(folder / "backbone" / "maps" / name, {"maps": maps}, described, RECORD)
    poses = {
        "keypoints": keypoints,
        "confidence": np.full((n * total, JOINTS), 0.8, np.float32),
        "present": present,
        "offsets": offsets,
    }
    write_arrays(folder / "motion" / "poses" / name, poses, described, RECORD)
    key_clips = {
        "poses": rng.uniform(0.1, 0.9, (2 * n, LENGTH, JOINTS, 2)).astype(np.float32),
        "start": np.tile(np.array([1, 6], np.int32), n),
        "row": np.repeat(np.arange(n, dtype=np.int32), 2),
    }
    write_arrays(folder / "motion" / "pose_clips" / name, key_clips, described, RECORD)


def _path(folder: Path, model: ConceptModel) -> None:
    """What the stage `classifier` leaves of its path; at few effective concepts, the model without small weights."""
    lambdas = np.geomspace(0.2, 0.002, 30)
    few = np.where(np.abs(model.weight) > 0.45, model.weight, 0)
    write_arrays(
        folder / "bottleneck" / "classifier.zarr.zip",
        {
            "all/weight": model.weight,
            "all/bias": model.bias,
            "nec_5/weight": few,
            "nec_5/bias": model.bias,
            "path/lambda": lambdas,
            "path/accuracy": np.linspace(0.3, 0.9, 30),
            "path/nnz": np.arange(30),
        },
        {
            "certificates": {"all": {"lambda": float(lambdas[20])}, "nec_5": {"lambda": float(lambdas[7])}},
            "kinds": [model.about["kind"]],
        },
        {**RECORD, "settings": {"alpha": 0.99, "tolerance": 1e-6, "refit": True}},
    )


def large(folder: Path, n: int = 13_320, n_concepts: int = 782, n_classes: int = 101, seed: int = 0) -> Path:
    """A run of UCF-101's size without any picture; most decisions are right, as concepts follow their classes."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % n_classes
    z = rng.normal(size=(n, n_concepts)).astype(np.float32)
    weight = np.zeros((n_classes, n_concepts), np.float32)
    for k in range(n_classes):
        own = rng.choice(n_concepts, 12, replace=False)
        weight[k, own] = rng.uniform(-0.4, 0.8, 12)
        z[np.ix_(label == k, own)] += 1.2 * np.sign(weight[k, own])
    types = [("motion", "object", "scene")[m % 3] for m in range(n_concepts)]
    model = ConceptModel(
        [f"class {k:03d}" for k in range(n_classes)],
        [f"{kind} {m:03d}" for m, kind in enumerate(types)],
        types,
        {
            "weight": np.zeros((n_concepts, 4)),
            "mean": np.zeros(n_concepts),
            "std": np.ones(n_concepts),
            "levels": np.tile([[-0.5], [1.0], [0.25], [30.0], [0.9]], n_concepts),
        },
        weight.astype(float),
        np.zeros(n_classes),
        np.zeros((0, LENGTH, JOINTS, 2), np.float32),
        {"dataset": "large", "kind": "dance", "skeleton": "coco", "edits": [], "doubt": [""] * n_concepts},
    )
    ids = [f"v_{label[row]:03d}_g{row // n_classes:03d}" for row in range(n)]
    _finish(folder, model, z, label, ids, [SPLITS[row // n_classes % 3] for row in range(n)])
    _path(folder, model)
    return folder


if __name__ == "__main__":
    print(large(Path(sys.argv[1])))
