"""Scene graphs and ProDA through Snakemake and the commands, on a few generated videos."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from conceptreel import load
from pipeline.graphs.sources import charades_ag
from pipeline.store.arrays import read_arrays
from pipeline.store.tables import read_table

TARGET = "results/few/proda/model.pt"
ONCE = {"epochs": 1, "recipes": ["mixed"]}
FEW = {
    "data": {
        "shards": 1,
        "index": {"source": "generated_graphs", "check_files": False, "validation_fraction": 0.3},
    },
    "demo": {"graphs": {"train": 40, "test": 16, "shifted": 8}},
    "graphs": {
        "tables": {"source": "generated"},
        "graph": {"nodes": 5},
        "nodes": {"source": "generated"},
    },
    "proda": {
        "frames": 12,
        "asked": 4,
        "network": {"width": 8, "heads": 2},
        "training": {"first": ONCE, "second": ONCE},
    },
}


@pytest.fixture(scope="module")
def few(tmp_path_factory, make_workspace):
    """A finished run."""
    workspace = make_workspace(tmp_path_factory.mktemp("graphs"))
    workspace.configure({"datasets": {"few": FEW}})
    workspace.snakemake(TARGET)
    return workspace


def test_the_headline_is_free_of_labels(few):
    headline = few.planned(TARGET) == {} and json.loads((few.folder / "results/few/proda/metrics.json").read_text())
    assert headline["headline"]["name"] == "label-free mAP" and headline["headline"]["split"] == "test"
    table, _ = read_table(few.folder / "results/few/proda/evaluation.parquet")
    rows = {(row["protocol"], row["figure"]): row for row in table.to_pylist() if row["split"] == "test"}
    assert rows["label_free", "headline"]["value"] == headline["headline"]["value"]
    assert rows["oracle", "prompt_copy"]["baseline"] and not rows["oracle", "a_t"]["baseline"]
    protocols = {protocol for protocol, _ in rows}
    assert protocols == {"label_free", "oracle", "parts", "localisation_25", "table_6", "table_7", "table_8", "table_9"}
    told = few.command("summary", "results/few").stdout
    assert "label-free mAP" in told and f"model     {TARGET}" in told and "report.html" in told
    page = (few.folder / "results/few/proda/report.html").read_text()
    assert "label-free mAP" in page and "<svg" in page


def test_asked_about_actions(few):
    told = few.command("disentangle", TARGET, "test_0001", "--action", "hold_cup", "put_phone", "--out", "answer")
    assert "2 pictures" in told.stdout
    found = json.loads((few.folder / "answer/disentangled.json").read_text())
    assert [own["action"] for own in found["actions"]] == ["hold_cup", "put_phone"]
    assert all(len(own["frames"]) == 12 and 0 <= own["score"] <= 1 for own in found["actions"])
    assert sorted(path.name for path in (few.folder / "answer").iterdir()) == [
        "action_01.png",
        "action_02.png",
        "disentangled.json",
    ]
    explained = few.command("explain", TARGET, "test_0002", "--out", "reasons", "--top", "1").stdout
    assert "1 pictures" in explained and (few.folder / "reasons/action_01.png").is_file()


@pytest.mark.parametrize(
    ("video", "action", "words"),
    [
        ("test_0001", "hold_cap", "there is no action `hold_cap`; did you mean `hold_cup`"),
        ("nowhere", "hold_cup", "there is no file or video `nowhere`"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_writes_nothing(few, video, action, words):
    done = few.command("disentangle", TARGET, video, "--action", action, "--out", "nothing", check=False)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert not (few.folder / "nothing").exists()


def test_a_video_of_a_user_is_refused_where_graphs_were_generated(few):
    (few.folder / "mine.mp4").write_bytes(b"0")
    done = few.command("disentangle", TARGET, "mine.mp4", "--action", "hold_cup", "--out", "nothing", check=False)
    assert done.returncode == 2 and "cannot be found in a video" in done.stderr and done.stderr.count("\n") == 1


def test_other_labels_of_test_videos_leave_predictions_as_they_are(few):
    """The list of the data set is changed, all that follows is made again, and the arrays are equal to the bit."""
    path = few.folder / "results/few/proda/predictions/000-of-001.zarr.zip"
    before, network = read_arrays(path)[0], few.folder / "results/few/proda/network.zarr.zip"
    weights = read_arrays(network)[0]["weights"]
    labels = few.folder / "results/few/demo/graphs.csv"
    lines = labels.read_text().splitlines()
    changed = [
        ",".join([*line.split(",")[:2], "0", "hold_cup", line.split(",")[4]]) if line.startswith("test,") else line
        for line in lines
    ]
    assert changed != lines
    labels.write_text("\n".join(changed) + "\n")
    jobs = few.jobs(few.snakemake(TARGET))
    assert {"index", "proda_train", "proda_predict"} <= jobs.keys()
    assert (read_arrays(network)[0]["weights"] == weights).all()
    after = read_arrays(path)[0]
    assert after.keys() == before.keys() and all((after[name] == before[name]).all() for name in before)


def test_dance_refuses_label_sets(few):
    from pipeline.data.table import VideoTable, objects
    from pipeline.jobs.stage import StageError

    table, attributes = read_table(few.folder / "results/few/data/index.parquet")
    labels = objects([own for own in table["labels"].to_pylist()])
    ids = objects(table["video_id"].to_pylist())
    videos = VideoTable(ids, ids, ids, labels, ids, ids, ids, attributes["class_names"])
    with pytest.raises(StageError, match="choose a method for label sets"):
        videos.single_label("DANCE")


# ---------------------------------------------------------------------------- Charades with Action Genome, as published

ACTIONS = (
    "Holding some clothes",
    "Putting clothes somewhere",
    "Opening a door",
    "Closing a door",
    "Sitting in a chair",
)
THINGS = ("clothes", "door", "chair", "cup/glass/bottle")
FRAME = {"bbox": np.array([[10.0, 10, 60, 90]], np.float32), "bbox_score": np.ones(1), "bbox_size": (100, 100)}


def a_thing(kind: str, visible: bool) -> dict:
    """An object as the pickles have it; what is invisible has neither a box nor relations."""
    relations = {
        "attention_relationship": ["looking_at"],
        "spatial_relationship": ["in_front_of"],
        "contacting_relationship": ["holding"],
    }
    return {
        "class": kind,
        "bbox": (20.0, 30.0, 40.0, 20.0) if visible else None,
        "visible": visible,
        **(relations if visible else dict.fromkeys(relations)),
    }


def write_charades(folder: Path) -> None:
    """Lists and pickles of 16 + 6 videos of 10 s; the first test video has no label, the second no person."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    lines = [f"c{number:03d} {name}\n" for number, name in enumerate(ACTIONS)]
    (folder / "Charades_v1_classes.txt").write_text("".join(lines))
    objects, persons = {}, {}
    for split, count in (("train", 16), ("test", 6)):
        rows = ["id,subject,scene,actions,length\n"]
        for number in range(count):
            key = f"{split.upper()}{number}"
            labels = [] if key == "TEST0" else [number % 5, *([(number + 2) % 5] if number % 2 else [])]
            spans = ";".join(f"c{label:03d} {label}.00 {label + 4}.50" for label in labels)
            rows.append(f"{key},S{number % 4},Kitchen,{spans},10.00\n")
            for frame in range(1, 240, 30):
                name = f"{key}.mp4/{frame:06d}.png"
                nobody = {**FRAME, "bbox": np.zeros((0, 4), np.float32)}
                persons[name] = nobody if key == "TEST1" else FRAME
                objects[name] = [a_thing(kind, draw.random() < 0.7) for kind in THINGS]
        (folder / f"Charades_v1_{split}.csv").write_text("".join(rows))
    for name, value in ((charades_ag.OBJECTS, objects), (charades_ag.PERSONS, persons)):
        (folder / name).write_bytes(pickle.dumps(value))


def test_charades_with_action_genome(tmp_path, make_workspace):
    """Label sets from none to several, real segments, and the figures of all protocols, by the published section."""
    workspace = make_workspace(tmp_path)
    write_charades(tmp_path / "data/charades")
    small = {
        "asked": 3,
        "network": {"width": 8, "heads": 2},
        "training": {"first": {"epochs": 1, "recipes": ["paper"]}, "second": ONCE},
    }
    section = {
        "data": {"shards": 2, "index": {"validation_fraction": 0.25}},
        "graphs": {"tables": {"fps": 24, "fps_file": ""}, "nodes": {"source": "classes"}},
        "proda": small,
    }
    workspace.configure({"data_root": "data", "datasets": {"charades": section}})
    workspace.snakemake("results/charades/proda/model.pt")
    rows = read_table(tmp_path / "results/charades/proda/evaluation.parquet")[0].to_pylist()
    assert {row["graph_source"] for row in rows} == {"charades_ag"} and {row["split"] for row in rows} == {"test"}
    found = {(row["protocol"], row["figure"]): row["value"] for row in rows}
    for figure in (("localisation_25", "asked_x_s"), ("table_7", "a_s_2"), ("table_9", "s_theta0.5_iou0.5")):
        assert 0 <= found[figure] <= 1
    model = load(tmp_path / "results/charades/proda/model.pt")
    answer = model.predict("TEST3").disentangle(["Closing a door", "Holding some clothes"]).as_dict()
    assert [own["segments"] for own in answer["actions"]] == [[[3.0, 7.5]], [[0.0, 4.5]]]
    assert model.predict("TEST1").disentangle(["Closing a door"]).scene.present[:, 0].sum() == 0
