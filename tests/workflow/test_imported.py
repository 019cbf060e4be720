"""A model from files of others alone: no video on disk, every import in another form."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import scipy.io

from pipeline.store.arrays import read_arrays
from pipeline.store.provenance import digest_of_file
from pipeline.store.tables import read_table

pytestmark = pytest.mark.slow

CLASSES, PER_SPLIT, F, J = ("wave", "bow", "turn"), {"train": 8, "test": 3}, 12, 17
OBJECTS, SCENES = ("ball", "stick", "chair"), ("yard", "hall", "beach")


@pytest.fixture(scope="module")
def imported(make_workspace, tmp_path_factory):
    """Three classes that differ in their features and in the way their skeletons move."""
    workspace = make_workspace(tmp_path_factory.mktemp("imported"))
    root = workspace.folder / "data" / "mine"
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    videos = {
        split: [(f"{name}/clip {row} ({split}).mp4", label) for row in range(n) for label, name in enumerate(CLASSES)]
        for split, n in PER_SPLIT.items()
    }
    for split, entries in videos.items():
        (root / f"{split}.csv").write_text("".join(f"{path},{label}\r\n" for path, label in entries))
    everyone = [entry for entries in videos.values() for entry in entries]
    labels = np.array([label for _, label in everyone])
    (root / "classes.txt").write_text("\n".join(CLASSES))
    (root / "object.txt").write_text("\n".join(OBJECTS))
    (root / "scene.txt").write_text("\n".join(SCENES))

    def noisy(centres, scale=0.05):
        return (centres[labels] + scale * rng.normal(size=(len(labels), centres.shape[1]))).astype(np.float32)

    # One file for both splits, its rows in no order but named.
    features = noisy(rng.normal(size=(3, 10)))
    order = rng.permutation(len(everyone))
    np.savez(root / "features.npz", x=features[order], video_id=np.array([everyone[row][0] for row in order]))
    # One MATLAB file per split, rows in the order of its list.
    texts = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    embeddings = noisy(texts[:3] + texts[3:])
    n_train = len(videos["train"])
    scipy.io.savemat(root / "train.mat", {"embeddings": embeddings[:n_train]})
    scipy.io.savemat(root / "test.mat", {"embeddings": embeddings[n_train:]})
    np.save(root / "object.npy", texts[:3].astype(np.float32))
    np.savez(root / "scene.npz", x=texts[[5, 3, 4]].astype(np.float32), names=["beach", "yard", "hall"])

    # Joints swing along a direction of their class; a small second person stands beside.
    body = rng.uniform(20, 200, (J, 2))
    swings = rng.normal(size=(3, J, 2)) * 15
    phase = np.sin(np.linspace(0, 2 * np.pi, F))[:, None, None]
    keypoints = body + phase * swings[labels][:, None] + rng.normal(size=(len(labels), F, J, 2))
    annotations = [
        {
            "frame_dir": path.removesuffix(".mp4"),
            "label": label,
            "total_frames": F,
            "img_shape": (240, 320),
            "keypoint": np.stack([keypoints[row] / 20, keypoints[row]]).astype(np.float16),
            "keypoint_score": np.full((2, F, J), 0.9, np.float16),
        }
        for row, (path, label) in enumerate(everyone)
    ]
    (root / "poses.pkl").write_bytes(pickle.dumps({"split": {}, "annotations": annotations}))
    index = json.loads(json.dumps([path for path, _ in everyone]))
    from pipeline.data.entries import video_id

    (root / "keyframes.txt").write_text("".join(f"{video_id(path)} 4 8\n" for path in index))
    section = {
        "data": {
            "root": "mine",
            "shards": 2,
            "index": {
                "lists": {"train": "train.csv", "test": "test.csv"},
                "class_list": "classes.txt",
                "check_files": False,
                "validation_by": "video",
            },
        },
        "motion": {
            "poses": {"source": "mmaction", "path": "poses.pkl"},
            "keyframes": {"source": "list", "path": "keyframes.txt"},
            "pose_clips": {"length": 8, "per_video": 2, "min_cosine": 0.5},
            "motion_concepts": {"n_concepts": 3},
        },
        "context": {
            "dual_encoder": {"source": "tensor", "path": {"train": "train.mat", "test": "test.mat"}},
            "texts": {
                "source": "tensor",
                "candidates": {"object": "object.txt", "scene": "scene.txt"},
                "path": {"object": "object.npy", "scene": "scene.npz"},
            },
        },
        "backbone": {"features": {"source": "tensor", "path": {"all": "features.npz"}}},
        "bottleneck": {
            "concept_layers": {"kinds": ["dance"], "max_steps": 200},
            "classifier": {"n_lambdas": 20},
        },
    }
    # Motion alone, without a file of key frames, candidates or embeddings; and objects alone, without poses.
    motion = {
        "dataset": "mine",
        "motion": {"keyframes": {"source": "poses", "path": ""}},
        "context": {"texts": {"candidates": {}, "path": {}}, "dual_encoder": {"path": {"all": "none.npz"}}},
        "bottleneck": {"concept_layers": {"types": ["motion"]}},
    }
    objects = {"dataset": "mine", "bottleneck": {"concept_layers": {"types": ["object"]}}}
    workspace.configure({"datasets": {"mine": section, "motion": motion, "objects": objects}})
    workspace.snakemake("results/mine/model.pt")
    return workspace, root, everyone, features, keypoints


def test_the_model_decides_from_imported_files_alone(imported):
    workspace, *_ = imported
    metrics = workspace.metrics("mine")
    assert (metrics["n_train"] + metrics["n_val"], metrics["n_test"]) == (24, 9)
    assert metrics["top1"] == 1.0
    assert all(metrics["n_concepts"][kind] > 0 for kind in ("motion", "object", "scene"))
    shown = workspace.command(
        "predict-features", "results/mine/model.pt", "data/mine/features.npz", "--list", "data/mine/test.csv"
    ).stdout
    assert "accuracy  1.000000 (9 of 9)" in shown


def test_without_a_test_split_everything_still_answers(imported):
    """What was the test list is validation: figures of test are null, and a report is made all the same."""
    workspace, *_ = imported
    section = json.loads(json.dumps(workspace.config()["datasets"]["mine"]))
    section["data"]["index"]["lists"] = {"train": "train.csv", "val": "test.csv"}
    section["context"]["dual_encoder"]["path"] = {"train": "train.mat", "val": "test.mat"}
    section["explain"] = {"retrained": {"seeds": 1, "shuffles": 1}}
    mistaken = {"moton": {}}  # nobody asks for it
    configuration = workspace.config()
    workspace.configure({"datasets": {**configuration["datasets"], "untested": section, "mistaken": mistaken}})
    done = workspace.snakemake("results/untested/report.html")
    assert "warning: config.yaml" in done.stderr and "did you mean `motion`" in done.stderr

    def refuse(word: str):
        raise AssertionError(word)

    text = (workspace.folder / "results/untested/metrics.json").read_text()
    metrics = json.loads(text, parse_constant=refuse)
    assert metrics["headline"]["value"] is None and metrics["n_test"] == 0 and metrics["n_val"] == 9
    assert any("no test video" in sentence for sentence in metrics["warnings"])
    shown = workspace.command("summary", "results/untested").stdout
    assert "there is no test video" in shown and "warning: " in shown and "None" not in shown
    assert "warning: model: no test video" in workspace.command("inspect", "results/untested").stdout
    model = "results/untested/model.pt"
    assert workspace.command("failures", model).stdout.startswith("val: top-1")
    assert workspace.command("evaluate", model, "results/untested", "--split", "val").returncode == 0
    refused = workspace.command("evaluate", model, "results/untested", check=False)
    assert refused.returncode == 2 and "has no split `test`; it has train, val" in refused.stderr
    for name in ("prune", "inspect", "status"):
        assert workspace.command(name, "results/untested").returncode == 0
    workspace.configure(configuration)


def test_what_a_run_with_another_configuration_file_made_is_not_pruned(imported):
    workspace, *_ = imported
    other = {"datasets": {"elsewhere": workspace.config()["datasets"]["mine"]}}
    path = workspace.folder / "other.yaml"
    path.write_text(json.dumps(other))
    target = "results/elsewhere/context/texts.zarr.zip"
    workspace.snakemake("--configfile", str(path), "--", target)
    shown = workspace.command("prune", "results", "--delete").stdout
    assert "stay: runs with another configuration" in shown and (workspace.folder / target).is_file()
    workspace.command("prune", "results", "--everything", "--delete")
    assert not (workspace.folder / target).exists()
    assert (workspace.folder / "results/mine/model.pt").is_file()


def test_motion_alone_needs_no_words(imported):
    workspace, *_ = imported
    targets = [f"results/motion/{name}" for name in ("model.pt", "report.html", "explain/explanations.png")]
    jobs = workspace.jobs(workspace.snakemake(*targets))
    assert "keyframes" in jobs
    assert not jobs.keys() & {"texts", "dual_encoder", "concepts", "decode", "poses", "features"}
    metrics = workspace.metrics("motion")
    assert metrics["n_concepts"]["motion"] > 0 == metrics["n_concepts"]["object"] == metrics["n_concepts"]["scene"]
    assert metrics["top1"] >= 8 / 9 and set(metrics["top1_by_type"]) == {"motion", "all"}
    page = (workspace.folder / "results/motion/report.html").read_text()
    assert 'id="motion"' in page and 'id="words"' not in page and "Objects and scenes" not in page
    shown = workspace.command("summary", "results/motion").stdout
    assert "motion" in shown and "object" not in shown and "scene" not in shown
    keyframes, _ = read_table(next((workspace.folder / "results/motion/motion/keyframes").iterdir()))
    assert all(0 < frame < F for frames in keyframes["frames"].to_pylist() for frame in frames)


def test_objects_alone_need_no_poses(imported):
    workspace, *_ = imported
    jobs = workspace.jobs(workspace.snakemake("results/objects/model.pt", "results/objects/report.html"))
    assert "concept_layers" in jobs and not jobs.keys() & {"poses", "keyframes", "pose_clips", "motion_concepts"}
    metrics = workspace.metrics("objects")
    assert metrics["n_concepts"]["object"] > 0 == metrics["n_concepts"]["motion"] == metrics["n_concepts"]["scene"]
    page = (workspace.folder / "results/objects/report.html").read_text()
    assert 'id="words"' in page and 'id="motion"' not in page


def test_every_import_became_an_artifact_with_the_hash_of_its_file(imported):
    from pipeline.data.entries import video_id

    workspace, root, everyone, features, keypoints = imported
    results = workspace.folder / "results/mine"
    row_of = {video_id(path): row for row, (path, _) in enumerate(everyone)}
    seen = set()
    for path in sorted((results / "backbone/features").iterdir()):
        arrays, attributes = read_arrays(path)
        inputs = attributes["provenance"]["inputs"]
        assert inputs["features_all/features.npz"] == digest_of_file(root / "features.npz")
        for key, value in zip(attributes["video_id"], arrays["features"], strict=True):
            np.testing.assert_array_equal(value, features[row_of[key]])
            seen.add(key)
    assert seen == set(row_of)
    for path in sorted((results / "motion/poses").iterdir()):
        arrays, attributes = read_arrays(path)
        assert attributes["provenance"]["inputs"]["imported/poses.pkl"] == digest_of_file(root / "poses.pkl")
        first = attributes["video_id"][0]
        np.testing.assert_allclose(
            arrays["keypoints"][:F], keypoints[row_of[first]].astype(np.float16).astype(np.float32)
        )
    _, attributes = read_arrays(results / "context/texts.zarr.zip")
    assert attributes["provenance"]["inputs"]["texts_scene/scene.npz"] == digest_of_file(root / "scene.npz")
    table, _ = read_table(results / "context/concepts.parquet")
    assert table.num_rows == 6


def test_a_changed_file_reruns_what_depends_on_it_and_a_bad_one_stops_with_a_line(imported):
    workspace, root, *_ = imported
    content = dict(np.load(root / "features.npz"))
    content["x"][3, 2] = np.nan
    np.savez(root / "features.npz", **content)
    planned = workspace.planned("results/mine/model.pt")
    assert planned["features"] == 2 and "poses" not in planned and "dual_encoder" not in planned
    done = workspace.snakemake("results/mine/model.pt", check=False)
    assert done.returncode != 0
    logs = "".join(path.read_text() for path in (workspace.folder / "results/mine/logs/features").rglob("*.log"))
    assert "row 3" in logs and "holds NaN or infinity" in logs and "Traceback" not in logs
