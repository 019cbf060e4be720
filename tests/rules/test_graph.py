"""The graph of stages as the declarations make it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pipeline.config import load, validate
from pipeline.jobs.declare import Read, Setting, Stage
from pipeline.methods import registry
from pipeline.rules import graph
from pipeline.rules.graph import STAGES, artifacts, closure, possible, reads, settings, settings_digest


def test_every_module_runs_under_the_name_that_is_declared(project):
    for stage in STAGES.values():
        source = project.joinpath(*stage.module.split(".")).with_suffix(".py").read_text()
        assert re.search(rf'^    (stage\.)?run\("{stage.name}", build\)$', source, re.MULTILINE), stage.name
        assert stage.writes, stage.name


def test_stages_stand_behind_what_they_read():
    order = list(STAGES)
    for stage in STAGES.values():
        assert all(order.index(read.stage) < order.index(stage.name) for read in stage.reads.values())


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage("poses", module="toy.poses", writes={"x": "x"}), "pipeline.motion.poses and toy.poses both declare"),
        (
            Stage("toy", module="toy", writes={"x": "x"}, reads={"p": "poses.pose"}),
            "reads p from `poses.pose`, which no",
        ),
        (Stage("toy", module="toy", writes={"x": "x"}, reads={"p": "gone.x"}), "reads p from `gone.x`, which no stage"),
    ],
)
def test_wrong_declarations_are_told(monkeypatch, stage, words):
    toy = registry.Method("toy", "a toy", {}, (stage,), goal="toy", load="toy:load")
    monkeypatch.setattr(graph, "METHODS", {**registry.METHODS, "toy": toy})
    with pytest.raises(ValueError, match=words):
        graph._collected()


def test_what_a_configuration_does_not_have_is_not_read(project):
    datasets = load(project / "config.yaml").datasets
    penn, demo = datasets["penn_action"], datasets["demo"]
    assert set(reads(penn, "features")) == {"videos"} and set(reads(demo, "features")) == {"clips"}
    assert set(reads(datasets["demo_finetuned"], "features")) == {"clips", "finetune", "finetuned"}
    assert "maps" in reads(demo, "concept_layers") and "maps" not in reads(penn, "concept_layers")
    # An image has no motion.
    assert "poses" not in closure(datasets["demo_images"], ["model"])
    assert not {"generate", "evaluate", "localise"} & set(possible(penn))


def test_whether_maps_are_wanted_is_asked_of_the_other_data_set(project):
    datasets = load(project / "config.yaml").datasets
    located, whole = datasets["demo"], datasets["penn_action"]
    assert "maps" in reads(whole, "cross_domain", located) and "maps" not in reads(located, "cross_domain", whole)


def test_digests_follow_what_is_read():
    raw = {"datasets": {"d": {"motion": {"keyframes": {"threshold": 0.3}}}}}
    before = validate(raw).datasets["d"]
    raw["datasets"]["d"]["motion"]["keyframes"]["threshold"] = 0.4
    after = validate(raw).datasets["d"]
    differ = {name for name in STAGES if settings_digest(before, name) != settings_digest(after, name)}
    assert {"keyframes", "pose_clips", "motion_concepts", "concept_layers", "model", "report"} <= differ
    assert not {"videos", "index", "decode", "poses", "features", "prompts", "texts", "baselines"} & differ
    # The index says which class names there are, whatever its splits are: texts are not made anew for each fold.
    assert "index" not in settings(before, "texts")["upstream"] and "index" in settings(before, "concepts")["upstream"]


def test_settings_are_found_by_key_and_named_by_place():
    section = validate({"datasets": {"d": {}}}).datasets["d"]
    model = STAGES["model"].own_settings(section)
    assert set(model) == {"decode", "features", "maps"} and list(model["maps"]["grid"]) == [7, 7]
    assert STAGES["model"].config_key("maps.grid") == "context.prompts.grid"
    part = Setting("backbone.features", key="net", only=("model",))
    assert part.value(section) == {"net": {"model": section.backbone.features.model}}
    assert part.path_of("net.model") == "backbone.features.model" and part.path_of("other") is None


def test_files_of_a_stage():
    section = validate({"datasets": {"d": {"data": {"shards": 2}}}}).datasets["d"]
    assert artifacts(section, "keyframes") == [f"motion/keyframes/00{k}-of-002.parquet" for k in (0, 1)]
    assert artifacts(section, "baseline_model") == []  # by name of a baseline
    assert STAGES["baseline_model"].log == "logs/baseline_model/{kind}.log"
    assert replace(STAGES["poses"], reads={"x": "index.index"}).reads == {"x": Read("index.index")}
