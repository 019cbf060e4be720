"""Experiments on one data set: what depends on videos and encoders alone is made once."""

from __future__ import annotations

import copy
import json

import pytest

from pipeline.config import load, validate
from pipeline.rules.graph import STAGES, home
from pipeline.settings import ConfigError

# Made per data set, whatever is asked of its videos.
OF_VIDEOS = {"decode", "poses", "keyframes", "pose_clips", "dual_encoder", "prompts", "features", "maps"}
PEOPLE = ("daria", "denis", "eli", "ido", "ira", "lena", "lyova", "moshe", "shahar")


@pytest.mark.parametrize(("data_set", "absent"), [("weizmann", set()), ("weizmann_small", {"prompts", "maps"})])
def test_nine_folds_of_weizmann_have_one_set_of_poses(make_workspace, tmp_path, data_set, absent):
    workspace = make_workspace(tmp_path)
    workspace.configure({"data_root": "nowhere"})
    jobs = workspace.planned(*(f"results/{data_set}_without_{name}/model.pt" for name in PEOPLE))
    assert jobs["videos"] == 1 and jobs["index"] == 9 and jobs["model"] == 9
    assert {name: jobs[name] for name in OF_VIDEOS - absent} == dict.fromkeys(OF_VIDEOS - absent, 4)
    assert not absent & jobs.keys()
    assert jobs["motion_concepts"] == jobs["concept_layers"] == jobs["classifier"] == 9


def test_splits_of_ucf101_share_everything_that_reads_no_label(project):
    datasets = load(project / "config.yaml").datasets
    for name in ("ucf101_split2", "ucf101_split3"):
        shared = {stage for stage in STAGES if home(datasets[name], stage) == "ucf101"}
        # A backbone is tuned on the train videos of a split.
        made = {"generate", "generate_graphs", "synthesise"}
        others = {"tracks", "graph", "graph_tables", "nodes", "pcmci_frames", "pcmci_tokens"}
        assert shared == OF_VIDEOS - {"features", "maps"} | {"videos", "pose_sheet"} | made | others
    # Another backbone is another feature, and nothing else.
    tuned = datasets["weizmann_finetuned"]
    assert home(tuned, "poses") == "weizmann" and home(tuned, "features") == home(tuned, "maps") == tuned.name


def folded(workspace, **changes) -> None:
    config = workspace.config()
    config["datasets"]["fold"] = {"dataset": "small", **changes}
    workspace.configure(config)


def test_an_experiment_runs_on_the_caches_of_its_data_set(workspace):
    folded(workspace, data={"index": {"seed": 1}})
    target = "results/fold/model.pt"
    jobs = workspace.jobs(workspace.snakemake(target))
    # The table of videos tells who develops on what; no video is looked at again.
    assert not OF_VIDEOS & set(jobs) and jobs["index"] == jobs["concept_layers"] == jobs["model"] == 1
    assert workspace.planned(target) == {} and workspace.planned("results/small/model.pt") == {}
    assert not (workspace.folder / "results/fold/motion/poses").exists()
    metrics = workspace.metrics("fold")
    assert metrics["dataset"] == "fold" and metrics["n_test"] == workspace.metrics("small")["n_test"]

    refused = workspace.snakemake("-n", "results/fold/motion/poses/000-of-003.zarr.zip", check=False)
    assert "poses of fold is that of small: ask for results/small instead" in refused.stdout + refused.stderr
    told = workspace.command("explain", target, "ball_lift_test_000", "--out", "why").stdout
    assert "where" in told and json.loads((workspace.folder / "why/explanation.json").read_text())["located"]
    assert "3/3" in workspace.command("status", "results/fold").stdout
    assert workspace.stale(target)["reruns"] == []
    assert "nothing is left over" in workspace.command("prune", "results").stdout
    assert workspace.command("thumbnails", "results/fold", "--out", "sheet.png").stdout.startswith("sheet.png")

    # Settings that change what is seen in a video give the experiment a cache of its own, from there on.
    folded(workspace, data={"index": {"seed": 1}}, motion={"pose_clips": {"length": 15}})
    assert workspace.planned(target) == {
        "pose_clips": 3,
        "pose_sheet": 1,
        "motion_concepts": 1,
        "readings": 1,
        "concept_layers": 1,
        "classifier": 1,
        "model": 1,
        "named": 1,
    }


def test_a_video_that_an_experiment_develops_on_is_prompted(workspace):
    """Test clips are prompted by nobody, until an experiment trains on them."""
    before = workspace.planned("results/small/model.pt")
    assert before == {}
    folded(workspace, data={"index": {"test_groups": [], "test_fraction": 0}})
    assert workspace.planned("results/small/model.pt").keys() <= {"videos"}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"dataset": "smal"}, "`smal` is not configured; did you mean `small`"),
        ({"dataset": "fold"}, "`fold` is an experiment on itself"),
        ({"dataset": "small", "data": {"shards": 7}}, "takes its videos from `small`, which says it; remove the key"),
        ({"dataset": "small", "data": {"root": "x"}}, "takes its videos from `small`"),
        ({"dataset": "small", "moton": {}}, "unknown key `datasets.fold.moton`"),
    ],
)
def test_wrong_experiments_are_told(small_config, section, words):
    config = copy.deepcopy(small_config)
    config["datasets"]["fold"] = section
    with pytest.raises(ConfigError, match=words):
        validate(config)


def test_an_experiment_cannot_change_what_is_generated(small_config):
    config = copy.deepcopy(small_config)
    config["datasets"]["fold"] = {"dataset": "small", "demo": {"generate": {"seed": 9}}}
    with pytest.raises(ConfigError, match="changes the videos of `small`; make it a data set of its own"):
        home(validate(config).datasets["fold"], "generate")
