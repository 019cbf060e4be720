"""What reruns when something changes, and what does not."""

from __future__ import annotations

import os
import shutil

import cv2
import pytest

from pipeline.motion.sheet import FRAMES, SIDE
from pipeline.store.tables import read_table

TARGET = "results/small/model.pt"
TARGETS = (TARGET, "results/small/explain/explanations.png")
SHARDS = 3
TAIL = {"classifier": 1, "pictures": 1, "model": 1, "named": 1}
BOTTLENECK = {"concept_layers": 1, **TAIL}
MOTION = {"motion_concepts": 1, "readings": 1, **BOTTLENECK}


def change(workspace, path: str, value) -> None:
    """Set one key of the data set `small`."""
    config = workspace.config()
    section = config["datasets"]["small"]
    *parents, key = path.split(".")
    for parent in parents:
        section = section.setdefault(parent, {})
    assert section.get(key) != value
    section[key] = value
    workspace.configure(config)


def test_finished_run_has_nothing_to_do(workspace):
    assert workspace.planned(*TARGETS) == {}


@pytest.mark.parametrize(
    ("path", "value", "reruns"),
    [
        (
            "motion.keyframes.threshold",
            0.35,
            {"keyframes": SHARDS, "pose_clips": SHARDS, "pose_sheet": 1, **MOTION},
        ),
        ("motion.pose_clips.length", 15, {"pose_clips": SHARDS, "pose_sheet": 1, **MOTION}),
        ("motion.motion_concepts.n_concepts", 6, MOTION),
        ("bottleneck.reading.temperature", 0.1, {"readings": 1, **BOTTLENECK}),
        # The baselines see words, and the same layers and classifier, but no motion.
        ("context.concepts.activation_cutoff", 0.21, {"concepts": 1, "baselines": 1, **BOTTLENECK}),
        ("bottleneck.concept_layers.projection_cutoff", 0.4, {"baselines": 1, **BOTTLENECK}),
        ("bottleneck.classifier.alpha", 0.9, {"baselines": 1, **TAIL}),
        # Nobody waits for pictures.
        ("explain.pictures.top_k", 2, {"pictures": 1}),
    ],
)
def test_one_key_reruns_exactly_what_depends_on_it(workspace, path, value, reruns):
    change(workspace, path, value)
    assert workspace.planned(*TARGETS) == reruns


def test_no_stage_starts_before_stale_tables_are_remade(workspace):
    """Both tables of the videos and a setting between them and the goal change at once; no stage meets an old input."""
    change(workspace, "data.index.validation_fraction", 0.2)
    change(workspace, "motion.motion_concepts.n_concepts", 6)
    goal = "results/small/bottleneck/concept_layers.zarr.zip"
    ran = workspace.jobs(workspace.snakemake(goal))
    assert ran.items() >= {"videos": 1, "index": 1, "motion_concepts": 1, "readings": 1, "concept_layers": 1}.items()
    assert workspace.planned(goal) == {}


def test_swapped_values_are_seen(workspace):
    """Snakemake compares parameter values without their names; one JSON parameter keeps the names."""
    change(workspace, "motion.keyframes.threshold", 0.5)
    change(workspace, "motion.keyframes.threshold_long", 0.3)
    assert workspace.planned(*TARGETS)["keyframes"] == SHARDS


def test_places_and_hardware_rerun_nothing(workspace):
    config = workspace.config()
    config["data_root"] = "elsewhere"
    config["runtime"] = {"device": "cpu", "batch_size": {"poses": 3}}
    workspace.configure(config)
    assert workspace.planned(*TARGETS) == {}


def test_a_lost_artifact_is_made_again_with_what_was_made_from_it(workspace):
    lost = "results/small/motion/motion_concepts.zarr.zip"
    (workspace.folder / lost).unlink()
    assert workspace.planned(lost) == {"motion_concepts": 1}
    # Snakemake does not miss what nobody asks for: the model is newer than everything that it needs.
    assert workspace.planned(*TARGETS) == {}
    (workspace.folder / TARGET).unlink()
    assert workspace.planned(*TARGETS) == MOTION


def test_touched_artifacts_are_refused_where_they_are_read(workspace):
    """After `--touch` Snakemake believes that stale files are current; the stage that reads them does not."""
    change(workspace, "motion.pose_clips.length", 15)
    workspace.snakemake("--touch", *TARGETS)
    lost = "results/small/motion/motion_concepts.zarr.zip"
    (workspace.folder / lost).unlink()
    done = workspace.snakemake(lost, check=False)
    assert done.returncode != 0
    log = (workspace.folder / "results/small/logs/motion_concepts.log").read_text()
    assert "made with other settings" in log and "pose_clips" in log


def test_changed_code_reruns_its_stage_and_what_follows(workspace):
    """The classifier's solver changes: nothing before the classifier runs again."""
    copy = workspace.copy_project()
    # The copied encoders are other files with the same content: inputs have changed names, which is told as such.
    workspace.snakemake("--touch", *TARGETS)
    solver = copy / "pipeline/learning/glm.py"
    text = solver.read_text()
    solver.write_text(text.replace("import numpy as np", "import numpy as np  # a comment decides nothing", 1))
    (copy / "pipeline/exchange/pickles.py").write_text(
        (copy / "pipeline/exchange/pickles.py").read_text() + "\n# here\n"
    )
    assert workspace.planned(*TARGETS) == {}
    assert text.count("step = 0.5**halving") == 1
    solver.write_text(text.replace("step = 0.5**halving", "step = 0.25**halving"))
    assert set(workspace.planned(*TARGETS)) == {"baselines", *TAIL}


def own_data_set(workspace, finished, n_videos: int) -> None:
    videos = sorted((finished.folder / "results/small/demo/videos").glob("*_train_*.mp4"))[:n_videos]
    root = workspace.folder / "data/mine"
    root.mkdir(parents=True, exist_ok=True)
    for video in videos:
        if not (root / video.name).exists():
            shutil.copy2(video, root / video.name)
    (root / "train.csv").write_text("".join(f"{video.name},{video.name.split('_train')[0]}\n" for video in videos))
    workspace.configure(
        {
            "datasets": {
                "mine": {
                    "data": {
                        "root": "mine",
                        "shards": SHARDS,
                        "index": {"lists": {"train": "train.csv"}, "validation_by": "video"},
                        "decode": {"size": 112},
                    }
                }
            }
        }
    )


def test_an_added_video_reruns_one_shard(finished, make_workspace, tmp_path):
    workspace = make_workspace(tmp_path)
    own_data_set(workspace, finished, 12)
    targets = [f"results/mine/motion/keyframes/{k:03d}-of-{SHARDS:03d}.parquet" for k in range(SHARDS)]
    workspace.snakemake(*targets)
    assert workspace.planned(*targets) == {}
    own_data_set(workspace, finished, 13)
    # The new table is looked at before the shards are: a dry run can only tell the first step.
    assert workspace.planned(*targets) == {"videos": 1}
    (job,) = workspace.stale(targets[0])["reruns"]
    added = sorted((tmp_path / "data/mine").glob("*.mp4"))[-1].name
    assert [cause["what"] for cause in job["causes"]] == [added] and job["stage"] == "videos"
    assert workspace.jobs(workspace.snakemake(*targets)) == {"videos": 1, "decode": 1, "keyframes": 1}
    assert workspace.planned(*targets) == {}
    # A replaced file reruns its own shard; ids have not changed, so the table stays.
    video = sorted((tmp_path / "data/mine").glob("*.mp4"))[0]
    os.utime(video, (0, 0))
    assert workspace.planned(*targets) == {"decode": 1, "keyframes": 1}
    (answer,) = filter(lambda answer: answer["reruns"], map(workspace.stale, targets))
    assert [job["stage"] for job in answer["reruns"]] == ["decode", "keyframes"]
    decode, keyframes = answer["reruns"]
    assert [(cause["what"], cause["how"]) for cause in decode["causes"]] == [(video.name, "replaced")]
    assert keyframes["follows"] == ["decode"] and not keyframes["causes"]


def test_poses_are_judged_on_the_way_to_the_model(workspace):
    """Nobody asks for the sheet; figures rest on it, so it is there."""
    results = workspace.folder / "results/small"
    table, attributes = read_table(results / "motion/quality.parquet")
    assert workspace.metrics("small")["poses"] == attributes["words"]
    assert attributes["words"].startswith("person found in ") and table.num_rows > 0
    assert cv2.imread(str(results / "explain/poses.png")).shape[1] == FRAMES * SIDE
    assert "poses: person found in" in workspace.command("summary", "results/small").stdout
