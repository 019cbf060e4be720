"""Finding methods, and what their declarations must not do."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pipeline.config import Dataset
from pipeline.methods import registry
from pipeline.methods.dance.method import METHOD as DANCE
from pipeline.settings import Section


def test_every_folder_with_a_method_is_found(project):
    folders = {path.parent.name for path in (project / "pipeline/methods").glob("*/method.py")}
    assert set(registry.METHODS) == folders and "dance" in folders
    for method in registry.METHODS.values():
        assert (project / "pipeline/methods" / method.name / "README.md").is_file()
        assert callable(registry.function(method.load))
        stages = {stage.name: stage for stage in method.stages}
        assert {"model", "metrics"} <= set(stages[method.goal].writes)
        paths = [path for stage in method.stages for path in stage.writes.values()]
        assert all(path.startswith(method.place) for path in paths)


def test_sections_of_floors_are_those_of_the_configuration():
    methods = {name for method in registry.METHODS.values() for name in method.sections}
    assert set(registry.FLOORS) == set(Dataset.model_fields) - methods


@pytest.mark.parametrize(
    ("name", "sections", "words"),
    [
        ("other", {}, "its folder is `toy`, so it cannot be called `other`"),
        ("toy", {"motion": Section}, "a section `motion`, which is a floor's"),
        ("toy", {"explain": Section}, "a section `explain`, which is the method dance's"),
    ],
)
def test_wrong_methods_are_told(monkeypatch, tmp_path, name, sections, words):
    for folder, method in (("dance", DANCE), ("toy", registry.Method(name, "", sections, (), goal="", load=""))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "method.py").touch()
        module = ModuleType(f"pipeline.methods.{folder}.method")
        module.METHOD = method
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(sys.modules, f"pipeline.methods.{folder}", ModuleType(f"pipeline.methods.{folder}"))
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    with pytest.raises(ValueError, match=words):
        registry._found()
