"""JSON that the standard knows."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from pipeline.store.plain import as_json, defined, write_json

# They write what only they read again, log lines or parts of other files, or they are the one place.
OWN = {
    "backbone/finetuning/checkpoint.py",
    "backbone/finetuning/loop.py",
    "backbone/finetuning/network.py",
    "data/isolated.py",
    "exchange/poses.py",
    "jobs/joblog.py",
    "motion/pose/mmpose.py",
    "motion/pose/mmpose_worker.py",
    "rules/costs.py",
    "ablations/commands.py",
    "store/plain.py",
    "store/provenance.py",
    "store/tables.py",
}


def refuse(word: str):
    raise ValueError(word)


def test_what_is_not_defined_is_null_at_every_depth(tmp_path):
    value = {"a": math.nan, "b": [1.5, (math.inf, {"c": np.float64("nan")})], "d": "NaN", "e": True, "f": 3, "g": None}
    right = {"a": None, "b": [1.5, [None, {"c": None}]], "d": "NaN", "e": True, "f": 3, "g": None}
    assert defined(value) == right
    write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse) == right
    assert json.loads(as_json(math.nan)) is None and as_json({"ü": 1}, None) == '{"ü": 1}'


def test_names_that_are_no_text_are_escaped(tmp_path):
    name = b"b\xff\xc3\xbc.mp4".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "x.json", {name: [name]})
    assert json.loads((tmp_path / "x.json").read_bytes()) == {name: [name]}


def test_what_json_does_not_know_is_a_mistake():
    with pytest.raises(TypeError):
        as_json({"a": np.zeros(2)})


def test_all_json_goes_through_one_place(project):
    """Python's own writer puts NaN into a file that no other reader takes."""
    found = {
        path.relative_to(project / "pipeline").as_posix()
        for path in (project / "pipeline").rglob("*.py")
        if re.search(r"json\.dumps?\(", path.read_text())
    }
    assert found == OWN
