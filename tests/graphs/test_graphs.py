"""The floor of scene graphs: tables, arrays, sources, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.demo.graphs import CONTACT, NEAR, VERBS, class_names, draw_graphs, plan_graphs
from pipeline.demo.settings import Graphs as Generated
from pipeline.graphs import geometry, rows
from pipeline.graphs.build import Box, Relation, build, vocabulary
from pipeline.graphs.nodes import crop, imported, of_classes
from pipeline.graphs.scene import joined
from pipeline.graphs.settings import Detect, Graph
from pipeline.graphs.sources import cad120, charades_ag
from pipeline.jobs.stage import StageError

SMALL = Generated(train=12, test=8, shifted=8)
HERE = (0.1, 0.1, 0.2, 0.2)


def box(frame, node, kind, corners=HERE):
    return Box(frame, frame / 10, node, kind, corners)


# ------------------------------------------------------------------------------------------------------- generated set


def test_shifted_videos_never_have_the_usual_verb():
    planned = plan_graphs(Generated(train=200, test=8, shifted=50))
    usual = {split: [] for split in ("train", "shifted")}
    for own in planned:
        if own.split in usual:
            usual[own.split] += [verb == thing % len(VERBS) for thing, verb in own.actions]
    assert not any(usual["shifted"]) and 0.5 < np.mean(usual["train"]) < 0.7


def test_take_and_put_are_near_and_contact_in_two_orders():
    quiet = SMALL.model_copy(update={"flips": 0.0, "missing": 0.0, "near": 0.0, "contact": 0.0})
    orders = {"take": (NEAR, CONTACT), "put": (CONTACT, NEAR), "hold": (CONTACT, CONTACT)}
    seen = set()
    for planned, drawn in draw_graphs(quiet):
        for label, first, end in drawn.spans:
            verb = class_names(quiet)[label].split("_")[0]
            slot = int(np.flatnonzero(drawn.owned[label].any(0))[0])
            middle = first + (end - first) // 2
            before, after = orders[verb]
            assert drawn.relations[first:middle, slot, before].all() and drawn.relations[middle:end, slot, after].all()
            seen.add(verb)
        assert planned.labels() == tuple(sorted(label for label, _, _ in drawn.spans))
    assert seen == set(orders)


# --------------------------------------------------------------------------------------------------------- one video


def test_the_person_comes_first_and_the_longest_seen_are_kept():
    boxes = [box(f, "cup_1", "cup") for f in range(5)] + [box(f, "p", "person") for f in range(3)]
    boxes += [box(0, "book_1", "book"), *(box(f, "shoe_1", "shoe") for f in range(4))]
    classes = vocabulary([item.kind for item in boxes], "person")
    found = build("v", boxes, [], classes, ["near"], Graph(nodes=3))
    assert [classes[kind] for kind in found.scene.node_class[0]] == ["person", "cup", "shoe"]
    assert found.left_out == 1 and found.has_person
    assert found.scene.present.sum(0).tolist() == [3, 5, 4]


def test_without_a_person_the_first_node_is_masked():
    found = build("v", [box(0, "a", "cup")], [], ["person", "cup"], ["near"], Graph(nodes=3))
    assert not found.has_person and found.scene.node_class[0].tolist() == [-1, 1, -1]
    assert not found.scene.present[:, 0].any() and not found.scene.relations.any()


@pytest.mark.parametrize(("topology", "count"), [("star", 4), ("full", 6), ("listed", 2)])
def test_topologies(topology, count):
    boxes = [box(0, name, kind) for name, kind in (("p", "person"), ("a", "cup"), ("b", "table"))]
    related = [Relation(0, "a", "b", "on")]
    settings = Graph(nodes=3, topology=topology)
    scene = build("v", boxes, related, ["person", "cup", "table"], ["on"], settings).scene
    edges = [tuple(edge) for edge in scene.edges[0] if (edge >= 0).all()]
    assert len(edges) == count == len(set(edges)) and {(b, a) for a, b in edges} == set(edges)
    carried = {edge for number, edge in enumerate(map(tuple, scene.edges[0])) if scene.relations[0, number].any()}
    assert carried == ({(1, 2), (2, 1)} if topology != "star" else set())


def test_relations_of_what_is_not_seen_do_not_hold():
    boxes = [box(0, "p", "person"), box(1, "p", "person"), box(1, "a", "cup")]
    related = [Relation(0, "p", "a", "holding"), Relation(1, "p", "a", "holding")]
    scene = build("v", boxes, related, ["person", "cup"], ["holding"], Graph(nodes=2)).scene
    assert scene.relations.any((1, 2)).tolist() == [False, True]


def test_long_videos_keep_frames_evenly():
    boxes = [box(f, "p", "person") for f in range(100)]
    scene = build("v", boxes, [], ["person"], ["none"], Graph(nodes=2, max_frames=5)).scene
    assert np.allclose(scene.times, np.array([0, 25, 50, 74, 99]) / 10, atol=0.11)


def test_frames_are_even_or_drawn_and_repeat_where_there_are_few():
    def video(key, length):
        boxes = [box(f, "p", "person") for f in range(length)]
        return build(key, boxes, [], ["person"], ["none"], Graph(nodes=2)).scene

    scenes = joined([video("a", 3), video("b", 12)])
    even = scenes.frames(np.array([0, 1]), 6)
    assert even[0].tolist() == [0, 0, 1, 1, 2, 2] and even[1].tolist() == [4, 6, 8, 10, 12, 14]
    drawn = scenes.frames(np.array([0, 1]), 6, np.random.default_rng(0))
    assert drawn[0].tolist() == even[0].tolist() and (np.diff(drawn[1]) > 0).all()
    assert ((drawn[1] - 3) // 2 == np.arange(6)).all()
    assert scenes.take(np.array([1])).video_id == ["b"] and len(scenes.take(np.array([1])).times) == 12


def test_geometry():
    cup, table, far = (0.4, 0.3, 0.5, 0.4), (0.2, 0.4, 0.8, 0.9), (0.95, 0.1, 1.0, 0.2)
    told = dict(zip(geometry.NAMES, geometry.relations(np.array(cup), np.array(table)), strict=True))
    assert told == {"near": 0, "contact": 1, "above": 1, "below": 0, "inside": 0, "around": 0}
    inside = dict(zip(geometry.NAMES, geometry.relations(np.array((0.3, 0.5, 0.4, 0.6)), np.array(table)), strict=True))
    assert inside["inside"] and inside["contact"] and not inside["above"]
    assert not geometry.relations(np.array(cup), np.array(far)).any()
    swapped = geometry.relations(np.array(table), np.array(cup))
    assert swapped[geometry.NAMES.index("below")] and not swapped[geometry.NAMES.index("above")]


def test_features_of_classes_and_crops():
    scene = build(
        "v", [box(0, "p", "person"), box(1, "a", "cup")], [], ["person", "cup"], ["none"], Graph(nodes=2)
    ).scene
    features = of_classes(scene, 2)
    assert features[0].tolist() == [[1, 0], [1, 0], [0, 0]] and features[1].tolist() == [[0, 1], [0, 0], [0, 1]]
    frame = np.arange(100 * 50 * 3, dtype=np.uint32).reshape(100, 50, 3)
    assert crop(frame, np.array([0.2, 0.5, 0.4, 0.6]), 0).shape == (10, 10, 3)
    assert crop(frame, np.array([0, 0, 1, 1]), 10).shape == frame.shape
    assert crop(frame, np.array([1, 1, 1, 1]), 0).size


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((1, 2, 4)), "the graph needs"),
        (np.full((1, 3, 4), np.nan), "NaN"),
        (np.array([[["a"]]]), "the graph needs"),
        (None, "no array of features"),
    ],
)
def test_imported_features_that_do_not_fit(tmp_path, values, words):
    scene = build("v", [box(0, "p", "person")], [], ["person"], ["none"], Graph(nodes=2)).scene
    if values is None:
        (tmp_path / "v.npy").write_bytes(pickle.dumps({"a": 1}))
    else:
        np.save(tmp_path / "v.npy", values)
    with pytest.raises(StageError, match=words):
        list(imported(tmp_path, scene))


# ----------------------------------------------------------------------------------------------------- written tables


def written(folder: Path, name: str, records: list[dict]) -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text("\n".join(map(json.dumps, records)) + "\n")
    return path


ROW = {"video_id": "v", "frame": 3, "node": "cup_1", "class": "cup", "x1": 0.1, "y1": 0.1, "x2": 0.2, "y2": 0.3}


@pytest.mark.parametrize("name", ["boxes.parquet", "boxes.jsonl"])
def test_tables_of_any_detector(tmp_path, name):
    table = rows.read_file(written(tmp_path, name, [ROW, {**ROW, "node": "cup_2", "x2": 0.4}]), rows.BOXES, "mine")
    assert table.schema == rows.BOXES and table["node"].to_pylist() == ["cup_1", "cup_2"]
    assert table["score"].to_pylist() == [1, 1] and set(table["source"].to_pylist()) == {"mine"}


def test_nodes_of_detectors_that_do_not_track(tmp_path):
    bare = {key: value for key, value in ROW.items() if key != "node"}
    records = [{**bare, "frame": f, "x1": 0.1 + shift, "x2": 0.2 + shift} for f in range(3) for shift in (0.0, 0.5)]
    table = rows.read_file(written(tmp_path, "boxes.jsonl", records), rows.BOXES, "mine", needs_nodes=False)
    assert set(rows.with_nodes(table, "class")["node"].to_pylist()) == {"cup"}
    tracked = rows.with_nodes(table, "overlap")["node"].to_pylist()
    assert tracked == ["cup_1", "cup_2"] * 3
    with pytest.raises(StageError, match="lacks the column `node`"):
        rows.read_file(tmp_path / "boxes.jsonl", rows.BOXES, "mine")


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([{key: value for key, value in ROW.items() if key != "class"}], "lacks the column `class`"),
        ([{**ROW, "x1": float("nan")}], "`x1` holds NaN"),
        ([{**ROW, "frame": "three"}], "another type"),
        ([{**ROW, "frame": None}], "without a value"),
        (["text"], "neither Parquet nor JSON lines"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, records, words):
    path = tmp_path / "boxes.jsonl"
    path.write_text("\n".join(map(json.dumps, records)) + "\n")
    with pytest.raises(StageError, match=words) as told:
        rows.read_file(path, rows.BOXES, "mine")
    assert "\n" not in str(told.value)


def test_boxes_that_show_nothing_are_invisible():
    corners = [
        (0.1, 0.1, 0.3, 0.3),
        (None, 0.1, 0.3, 0.3),
        (0.3, 0.1, 0.3, 0.4),
        (-0.5, 0.0, 1.7, 0.5),
        (1.2, 0, 1.4, 1),
    ]
    columns = {name: [own[at] for own in corners] for at, name in enumerate(rows.CORNERS)}
    size = len(corners)
    columns |= {"video_id": ["v"] * size, "frame": list(range(size)), "node": ["a"] * size, "class": ["cup"] * size}
    kept, invisible = rows.visible(rows.table(rows.BOXES, columns))
    assert kept["frame"].to_pylist() == [0, 3] and invisible == 3
    assert [kept[name][1].as_py() for name in rows.CORNERS] == [0, 0, 1, 0.5]


def test_segments_are_cut_and_dropped():
    spans = [(0, 5), (8, 12), (7, 7), (-1, 2)]
    found, clipped, dropped = rows.mended_segments(
        [{"video_id": "v", "class": "c", "start_s": a, "end_s": b, "length_s": 10.0} for a, b in spans]
    )
    kept = list(zip(found["start_s"].to_pylist(), found["end_s"].to_pylist(), strict=True))
    assert kept == [(0, 5), (8, 10), (0, 2)] and (clipped, dropped) == (1, 1)


# -------------------------------------------------------------------------------------------------- Action Genome, CAD

LIST = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"


def charades(folder: Path, objects, persons) -> Path:
    (folder / "Charades_v1_classes.txt").write_text("c000 Holding some clothes\nc001 Putting clothes somewhere\n")
    for split in ("train", "test"):
        line = f"{split},S1,Kitchen,6,7,Yes,,,,c000 0.00 5.00;c001 4.00 99.00;c001 8.00 3.00,10.00\n"
        (folder / f"Charades_v1_{split}.csv").write_text(LIST + line)
    for name, value in ((charades_ag.OBJECTS, objects), (charades_ag.PERSONS, persons)):
        (folder / name).write_bytes(pickle.dumps(value))
    return folder


def item(**changes):
    return {
        "class": "cup/glass/bottle",
        "bbox": (10.0, 20.0, 30.0, 40.0),
        "visible": True,
        "attention_relationship": ["looking_at"],
        "spatial_relationship": ["in_front_of", "beneath"],
        "contacting_relationship": ["holding"],
        "metadata": {"tag": "", "set": "train"},
    } | changes


PERSON = {"bbox": np.array([[0, 0, 50, 100]], np.float32), "bbox_score": np.ones(1), "bbox_size": (100, 200)}
NOTHING = item(
    visible=False, bbox=None, attention_relationship=None, spatial_relationship=None, contacting_relationship=None
)


def test_the_layout_of_action_genome(tmp_path):
    frame = "train.mp4/000031.png"
    root = charades(tmp_path, {frame: [item(), NOTHING | {"class": "bed"}]}, {frame: PERSON})
    found = charades_ag.read(root, 30.0, "")
    boxes = found.boxes.to_pylist()
    assert [(own["class"], own["frame"], own["time_s"]) for own in boxes] == [
        ("person", 30, 1.0),
        ("cup/glass/bottle", 30, 1.0),
    ]
    assert np.allclose([boxes[1][name] for name in rows.CORNERS], [0.1, 0.1, 0.4, 0.3])
    assert np.allclose([boxes[0][name] for name in rows.CORNERS], [0, 0, 0.5, 0.5])
    assert found.relations["relation"].to_pylist() == ["looking_at", "in_front_of", "beneath", "holding"]
    kept = [(own["class"], own["start_s"], own["end_s"]) for own in found.segments.to_pylist()][:2]
    assert kept == [("Holding some clothes", 0, 5), ("Putting clothes somewhere", 4, 10)]


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize(
    ("objects", "persons", "fps", "words"),
    [
        (Bomb(), {}, 30.0, "would have to be executed"),
        ({"train.mp4/000001.png": [Bomb()]}, {}, 30.0, "would have to be executed"),
        ([1], {}, 30.0, "no dictionary of frames"),
        ({"train.mp4/000001.png": [{"class": "cup"}]}, {"train.mp4/000001.png": PERSON}, 30.0, "not the layout"),
        ({"train.mp4/first.png": [item()]}, {"train.mp4/first.png": PERSON}, 30.0, "not the layout"),
        ({"train.mp4/000001.png": [item()]}, {"train.mp4/000001.png": PERSON}, 0.0, "graphs.tables.fps"),
    ],
)
def test_foreign_pickles_are_refused(tmp_path, objects, persons, fps, words):
    with pytest.raises(StageError, match=words) as told:
        charades_ag.read(charades(tmp_path, objects, persons), fps, "")
    assert "\n" not in str(told.value)


def test_real_cad120(real_data):
    folder = real_data / "cad120_graphs"
    found = cad120.read(folder, detector_relations=False, every=25)
    assert len(set(found.boxes["video_id"].to_pylist())) == 124
    assert len(found.segments) == 390 and len(set(found.segments["class"].to_pylist())) == 9
    assert len(set(found.segments["video_id"].to_pylist())) == 98  # two have `null` alone
    assert set(found.relations["relation"].to_pylist()) <= set(cad120.KINDS)
    kinds = set(found.boxes["class"].to_pylist())
    assert {"person", "hand", "head", "cup"} <= kinds
    detected = cad120.read(folder, detector_relations=True, every=25)
    assert 0 < len(detected.relations) < len(found.relations) and set(detected.relations["source"].to_pylist()) == {
        "detector"
    }


def test_boxes_of_one_class_that_follow_each_other_are_one_node():
    from pipeline.graphs.detect import linked

    looks = [
        np.array([[0.1, 0.1, 0.3, 0.3, 0.9, 1], [0.6 + 0.01 * t, 0.6, 0.8 + 0.01 * t, 0.8, 0.9 if t != 2 else 0.3, 1]])
        for t in range(4)
    ]
    looks[1] = np.concatenate([looks[1], [[0.1, 0.1, 0.3, 0.3, 0.2, 0]]])
    found = linked(looks, np.arange(4) / 2, np.arange(4) * 12, ["person", "cup"], Detect())
    nodes = {name: [own.frame for own in found if own.node == name] for name in {own.node for own in found}}
    assert nodes == {"cup_1": [0, 12, 24, 36], "cup_2": [0, 12, 24, 36]}
    assert {own.time for own in found} == {0, 0.5, 1, 1.5}
