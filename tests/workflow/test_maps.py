"""Models that locate their concepts: what runs, what reruns, what comes out."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.methods.dance.bottleneck.recogniser import read_model
from pipeline.store.arrays import read_arrays

TARGETS = (
    "results/small/model.pt",
    "results/small/demo/localisation.parquet",
    "results/small/explain/explanations.png",
)
SHARDS = 3
TAIL = {"classifier": 1, "pictures": 1, "model": 1, "named": 1, "localise": 1}
BOTTLENECK = {"concept_layers": 1, **TAIL}


@pytest.fixture(scope="session")
def located_config(small_config) -> dict:
    """Clips of the small run, all model kinds, a grid that is not square; no baselines."""
    demo = json.loads(json.dumps(small_config["datasets"]["small"]))
    demo["context"]["prompts"] |= {"grid": [4, 5], "n_frames": 2}
    demo["bottleneck"]["concept_layers"] |= {"kinds": ["dance+salf", "dance", "salf"], "map_cutoff": -1.0}
    demo["bottleneck"]["baselines"] = {"kinds": []}
    demo["explain"] = {"localise": {"integration_steps": 2}}
    return {"datasets": {"small": demo}}


@pytest.fixture(scope="session")
def located(tmp_path_factory, finished, make_workspace, located_config):
    """A finished run; do not change it, take `copied`."""
    folder = tmp_path_factory.mktemp("located") / "run"
    shutil.copytree(finished.folder, folder, symlinks=True)
    workspace = make_workspace(folder)
    workspace.configure(located_config)
    workspace.snakemake(*TARGETS)
    return workspace


@pytest.fixture
def copied(located, make_workspace, tmp_path):
    shutil.copytree(located.folder, tmp_path / "run", symlinks=True)
    return make_workspace(tmp_path / "run")


def change(workspace, edit) -> None:
    config = workspace.config()
    edit(config["datasets"]["small"])
    workspace.configure(config)


def test_all_kinds_are_reported_side_by_side(located):
    metrics = located.metrics("small")
    assert metrics["kind"] == "dance+salf" and list(metrics["kinds"]) == ["dance+salf", "dance", "salf"]
    assert metrics["kinds"]["salf"]["n_concepts"]["motion"] == 0
    for kind in ("dance+salf", "salf"):
        assert metrics["kinds"][kind]["pooling"] in ("mean", "softmax", "max")
    assert "pooling" not in metrics["kinds"]["dance"]
    assert metrics["top1"] == metrics["kinds"]["dance+salf"]["top1"] >= 0.25
    assert metrics["kinds"]["dance"]["top1_by_type"]["motion"] == metrics["top1_by_type"]["motion"]


def test_the_model_is_of_the_first_kind_and_agrees_with_the_caches(located):
    results = located.folder / "results" / "small"
    model = read_model(results / "model.pt")
    index = {row["video_id"]: row for row in pq.read_table(results / "data/index.parquet").to_pylist()}
    right = []
    for shard in range(SHARDS):
        name = f"{shard:03d}-of-{SHARDS:03d}.zarr.zip"
        features, described = read_arrays(results / "backbone/features" / name)
        maps, about = read_arrays(results / "backbone/maps" / name)
        prompts, prompted = read_arrays(results / "context/prompts" / name)
        assert described["video_id"] == about["video_id"]
        assert prompted["video_id"] == [key for key in about["video_id"] if index[key]["split"] in ("train", "val")]
        assert len(prompts["regions"]) == len(prompted["video_id"])
        assert maps["maps"].dtype == prompts["regions"].dtype == np.float16
        assert maps["maps"].shape[2:4] == (4, 5) and prompts["regions"].shape[1:4] == (2, 4, 5)
        for row, video_id in enumerate(described["video_id"]):
            if index[video_id]["split"] == "test":
                found = model.predict(features["features"][row][None], maps=model.maps(maps["maps"][row][None]))
                right.append([found[0].class_name] == index[video_id]["class_names"])
    assert np.mean(right) == pytest.approx(located.metrics("small")["top1"])


def test_localisation_compares_methods_on_the_same_pictures(located):
    rows = pq.read_table(located.folder / TARGETS[1]).to_pylist()
    table = {(row["method"], row["figure"]): row["value"] for row in rows}
    methods = {method for method, figure in table if figure == "mean_iou"}
    assert methods == {
        "concept maps",
        "prompts themselves",
        "middle of the picture",
        "GradCAM, class",
        "GradCAM, concept",
        "Integrated Gradients, class",
        "Integrated Gradients, concept",
    }
    for method in methods:
        for figure in ("pointing", "pointing_strict", "pixel_accuracy", "mean_iou", "mean_average_precision"):
            assert 0 <= table[method, figure] <= 1
        assert table[method, "pointing_strict"] <= table[method, "pointing"]
        assert 0 <= table[method, "apart_pointing_strict"] <= table[method, "apart_pointing"] <= 1
    assert table["middle of the picture", "apart_pointing"] == 0


def test_predict_sees_what_the_caches_hold(located):
    video = sorted((located.folder / "results/small/demo/videos").glob("*_test_000.mp4"))[0]
    answer = json.loads(located.command("predict", TARGETS[0], str(video), "--json").stdout)[0]
    done = located.command("explain", TARGETS[0], str(video), "--out", str(located.folder / "out"))
    assert answer["class"] in done.stdout
    assert json.loads((located.folder / "out/explanation.json").read_text())["probability"] == answer["probability"]
    shutil.rmtree(located.folder / "out")


def test_another_list_of_concepts_encodes_no_picture_again(copied):
    words = copied.folder / "objects.txt"
    words.write_text("ball\nbarbell\numbrella\nkite\n")
    change(copied, lambda demo: demo["context"]["texts"]["candidates"].update(object=str(words)))
    assert copied.planned(*TARGETS) == {"texts": 1, "concepts": 1, **BOTTLENECK}


@pytest.mark.parametrize(
    ("edit", "reruns"),
    [
        (lambda demo: demo["context"]["prompts"].update(line_width=3), {"prompts": SHARDS, **BOTTLENECK}),
        (
            lambda demo: demo["context"]["prompts"].update(grid=[3, 3]),
            {"prompts": SHARDS, "maps": SHARDS, **BOTTLENECK},
        ),
        (lambda demo: demo["bottleneck"]["concept_layers"].update(map_cutoff=0.0), BOTTLENECK),
        (lambda demo: demo["bottleneck"]["classifier"].update(pooling=["max"]), TAIL),
        (lambda demo: demo["explain"]["localise"].update(tolerance=2), {"localise": 1}),
    ],
)
def test_one_key_reruns_exactly_what_depends_on_it(copied, edit, reruns):
    assert copied.planned(*TARGETS) == {}
    change(copied, edit)
    assert copied.planned(*TARGETS) == reruns


def test_a_model_without_maps_prompts_nothing_and_one_without_motion_poses_nothing(
    make_workspace, tmp_path, located_config
):
    workspace = make_workspace(tmp_path)
    for kinds, absent in ((["dance"], {"prompts", "maps"}), (["salf"], {"poses", "keyframes", "motion_concepts"})):
        workspace.configure(located_config)
        change(workspace, lambda demo, kinds=kinds: demo["bottleneck"]["concept_layers"].update(kinds=kinds))
        assert not absent & set(workspace.planned(TARGETS[0]))


def test_imported_features_have_no_maps(make_workspace, tmp_path, located_config):
    workspace = make_workspace(tmp_path)
    workspace.configure(located_config)
    change(workspace, lambda demo: demo["backbone"]["features"].update(source="tensor"))
    done = workspace.snakemake("-n", TARGETS[0], check=False)
    assert done.returncode != 0 and "kinds can only be [dance]" in done.stdout + done.stderr
