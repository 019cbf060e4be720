"""Runs of methods without a view of their own: figures, summary, page and rows."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline.explorer.commands import run_of
from pipeline.methods.explored import Refused, Upload, open_figures, tables
from pipeline.methods.registry import METHODS, function
from pipeline.store.arrays import write_arrays
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.tables import write_table
from tests.explorer.runs import HOSTILE, RECORD


def write_metrics(folder, method: str, metrics=None):
    own = folder / METHODS[method].place
    own.mkdir(parents=True, exist_ok=True)
    (own / "metrics.json").write_text(json.dumps(metrics or {"headline": {"name": "x", "value": 1, "split": "test"}}))
    return own


def read(explored, name):
    return json.loads(explored.read(name, live=True))


def test_numbers_of_a_mapping_of_mappings_are_a_table():
    metrics = {
        "headline": {"name": "mAP", "value": 0.5},
        "figures": {"test": {"a": 1, "b": None, "c": "word"}, "val": {"a": 2.5, "b": 3}},
        "models": {"x": {"top": {"y": {"deep": 1}}}},
        "nothing": {},
        "warnings": ["w"],
    }
    assert list(tables(metrics)) == [
        {
            "title": "figures",
            "columns": ["a", "b"],
            "rows": [{"name": "test", "values": [1, None]}, {"name": "val", "values": [2.5, 3]}],
        },
        {"title": "models · x", "columns": ["y: deep"], "rows": [{"name": "top", "values": [1]}]},
    ]


def test_the_longer_side_is_that_of_the_rows():
    (found,) = tables({"figures": {"test": {name: 1 for name in "abc"}}})
    assert found["columns"] == ["test"] and [row["name"] for row in found["rows"]] == ["a", "b", "c"]


def test_a_run_of_pcmci_has_its_figures_and_its_page(tmp_path):
    networks = {"own": {"iid": {"mAP": 0.9, "false couplings": 0.1}, "do(all)": {"mAP": 0.5, "false couplings": 0.2}}}
    metrics = {"headline": {"name": "mAP", "value": 0.5, "split": "do(all)"}, "networks": networks, "warnings": ["w"]}
    own = write_metrics(tmp_path / "set", "pcmci", metrics)
    (own / "report.html").write_text("a page")
    method, folder = run_of(tmp_path / "set")
    explored = function(method.explore)(folder, method)
    about = read(explored, "data/explore.json")
    assert (about["view"], about["method"], about["data_set"], about["rows"]) == ("figures", "pcmci", "set", None)
    assert about["headline"]["value"] == 0.5 and about["warnings"] == ["w"]
    assert any("own" in line and "0.900" in line for line in about["summary"])
    assert {"name": "iid: mAP", "values": [0.9]} in about["tables"][0]["rows"]
    assert explored.read("pages/report.html", live=False) == b"a page"
    assert list(explored.names()) == ["data/explore.json", "pages/report.html"]
    assert explored.read("data/rows.json", live=True) is None and explored.read("pages/../metrics.json", True) is None
    with pytest.raises(Refused):
        explored.attempt(Upload(tmp_path, "x", 1))


def test_rows_of_proda_say_what_is_said_and_what_is_labelled(tmp_path):
    write_metrics(tmp_path, "proda", {"headline": {"name": "mAP", "value": 1, "split": "test"}, "dataset": "x"} | {
        "videos": {"train": 1, "val": 1}, "figures": {}, "warnings": [],
    })  # fmt: skip
    ids = [f"{HOSTILE}", "b", "c"]
    index = pa.table({"video_id": ids, "split": ["test"] * 3, "labels": [[0, 2], [1], []]})
    write_table(tmp_path / "data" / "index.parquet", index, {}, RECORD)
    scores = np.array([[0.9, 0.1, 0.5], [0.6, 0.4, 0.1], [0.1, 0.2, 0.3]], np.float32)
    described = {"video_id": ids, "class_names": ["p", "q", HOSTILE]}
    write_arrays(tmp_path / "proda/predictions/000-of-001.zarr.zip", {"headline": scores}, described, RECORD)
    explored = function(METHODS["proda"].explore)(tmp_path, METHODS["proda"])
    found = read(explored, "data/rows.json")
    values = {column["name"]: own for column, own in zip(found["columns"], found["values"], strict=True)}
    assert values["clip"] == ids and found["classes"][2] == HOSTILE
    assert values["labels"] == [[0, 2], [1], []] and values["said"] == [[0, 2], [0], []]
    assert values["all right"] == [True, False, True] and values["most probable"] == [0, 0, 2]
    assert "data/rows.json" in explored.names() and read(explored, "data/explore.json")["rows"] == "data/rows.json"


def test_rows_of_transfer_are_over_all_trainings(tmp_path):
    write_metrics(tmp_path, "transfer")
    rows = [
        {"video_id": key, "model": model, "level": level, "role": "known", "background": "plain", "label": 1,
         "predicted": predicted, "seed": seed}
        for key, model, level, seed, predicted in (
            ("a", "linear", "coarse", 0, 1), ("a", "linear", "coarse", 1, 1), ("a", "linear", "coarse", 2, 0),
            ("b", "linear", "coarse", 0, 0), ("a", "other", "coarse", 0, 0), ("a", "linear", "fine", 0, 7),
        )
    ]  # fmt: skip
    path = tmp_path / "transfer" / "predictions.parquet"
    write_table(path, pa.Table.from_pylist(rows), {"class_names": ["p", "q"]}, RECORD)
    explored = function(METHODS["transfer"].explore)(tmp_path, METHODS["transfer"])
    found = read(explored, "data/rows.json")
    values = {column["name"]: own for column, own in zip(found["columns"], found["values"], strict=True)}
    assert values["clip"] == ["a", "b", "a"] and values["model"] == ["linear", "linear", "other"]
    assert values["said most"] == [1, 0, 0] and values["trainings"] == [3, 1, 1]
    assert values["right"] == [pytest.approx(2 / 3, abs=1e-4), 0, 0] and values["label"] == [1, 1, 1]


def test_a_method_without_rows_says_that_there_are_none(tmp_path):
    for method in METHODS.values():
        if method.name != "dance":
            write_metrics(tmp_path / method.name, method.name)
            explored = open_figures(tmp_path / method.name, method)
            assert explored.rows() == b""


def test_figures_that_cannot_be_read_are_told(tmp_path):
    (write_metrics(tmp_path, "pcmci") / "metrics.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"metrics\.json cannot be read"):
        open_figures(tmp_path, METHODS["pcmci"]).read("data/explore.json", live=True)


def test_the_run_that_is_meant_is_found(tmp_path):
    write_metrics(tmp_path / "set", "dance")
    write_metrics(tmp_path / "set", "proda")
    assert run_of(tmp_path / "set") == (METHODS["dance"], tmp_path / "set")
    assert run_of(tmp_path / "set" / "proda") == (METHODS["proda"], tmp_path / "set")
    write_metrics(tmp_path / "graphs", "proda")
    assert run_of(tmp_path / "graphs") == (METHODS["proda"], tmp_path / "graphs")
    write_metrics(tmp_path / "graphs", "pcmci")
    with pytest.raises(StageError, match=r"several methods; .*explore .*graphs/(pcmci|proda)"):
        run_of(tmp_path / "graphs")
    with pytest.raises(StageError, match=r"nothing has no metrics\.json; `snakemake"):
        run_of(tmp_path / "nothing")
    # A data set may be called like a method.
    write_metrics(tmp_path / "transfer", "dance")
    (tmp_path / "transfer" / "data").mkdir()
    assert run_of(tmp_path / "transfer")[0].name == "dance"
