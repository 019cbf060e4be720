"""Sentences of the language baselines."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.config import Dataset
from pipeline.context.sentences import read_sentences
from pipeline.context.settings import Sentences
from pipeline.jobs.stage import StageError
from pipeline.methods.dance.settings import Baselines


def job(root):
    return SimpleNamespace(root=root, note_file=lambda name, path: path)


def test_sentences_come_without_headings_and_repeats(tmp_path):
    (tmp_path / "t.txt").write_text("# all\n\n## jump\na rise, then a fall\na short rest\n## run\na short rest\n")
    found = read_sentences(job(tmp_path), Sentences(files={"temporal": "t.txt"}))
    assert [(item.type, item.text) for item in found] == [
        ("temporal", "a rise, then a fall"),
        ("temporal", "a short rest"),
    ]


def test_the_demo_ships_its_sentences_class_by_class(tmp_path, project):
    files = {kind: f"pipeline/demo/candidates/{kind}.txt" for kind in ("temporal", "spatio_temporal")}
    found = read_sentences(job(tmp_path), Sentences(files=files))
    assert {item.type for item in found} == set(files)
    from pipeline.demo.classes import CLASSES

    for name in files.values():
        headings = [line[3:] for line in (project / name).read_text().splitlines() if line.startswith("## ")]
        assert headings == [entry.name for entry in CLASSES]
    # Temporal sentences name neither objects nor scenes.
    words = {word for item in found if item.type == "temporal" for word in item.text.split()}
    assert not words & {"ball", "barbell", "umbrella", "gym", "beach", "street", "parasol"}


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(StageError, match=r"none.txt does not exist; context.sentences.files"):
        read_sentences(job(tmp_path), Sentences(files={"temporal": "none.txt"}))


def test_a_language_baseline_needs_its_sentences():
    with pytest.raises(ValueError, match=r"lf-cbm-entangled needs spatio_temporal in context\.sentences\.files"):
        Dataset.model_validate({"bottleneck": {"baselines": {"kinds": ["lf-cbm-entangled"]}}})
    with pytest.raises(ValueError, match="`attributes` needs a file"):
        Baselines(kinds=["attributes"])
