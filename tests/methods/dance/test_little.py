"""Sets in which too little is left: every stage gives a result, or one line that says what is missing."""

from __future__ import annotations

import importlib.util
import typing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.methods.dance.bottleneck.concept_layers import warnings_of
from pipeline.methods.dance.bottleneck.recogniser import read_model
from pipeline.methods.dance.explain import summary
from pipeline.methods.dance.settings import Kind

SPECIFICATION = importlib.util.spec_from_file_location("little", Path(__file__).with_name("little.py"))
little = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(little)

LEARNED = ("motion_concepts", "readings", "concepts", "concept_layers", "classifier", "baselines", "model", "retrained")
PLENTY = {"train": [4, 4], "val": [2, 2], "test": [2, 2]}
WORDS = {"object": 2, "scene": 2}


def changed(**layers) -> dict[str, dict]:
    """Settings of the stages with other ones of the concept layers."""
    own = {**little.SETTINGS["concept_layers"], "kinds": ["dance"], **layers}
    return {"concept_layers": own, "retrained": {"concept_layers": own}}


def outcome(folder, counts, words=WORDS, wanted=LEARNED, changes=None, **missing):
    """(stage → line, where something is missing; what was written)."""
    store = little.inputs(np.random.default_rng(0), counts, words, **missing)
    told = little.run(folder, store, wanted, changes or changed())
    return {name: line for name, line in told.items() if line}, store


EVERY_KIND = list(typing.get_args(Kind))
PARTS = st.sampled_from([0.0, 0.5, 1.0, 1.0])


@st.composite
def sets(draw):
    """1 to 3 classes of 0 to 3 videos per split, 0 to 2 concepts per type, and gaps of every kind."""
    n_classes = draw(st.integers(1, 3))
    few = st.integers(0, 3)
    counts = {split: draw(st.lists(few, min_size=n_classes, max_size=n_classes)) for split in ("train", "val", "test")}
    if draw(st.booleans()):  # most sets without this are refused early
        counts["train"] = [max(1, count) for count in counts["train"]]
    counts["val"][0] += not sum(map(sum, counts.values()))
    words = {kind: draw(st.integers(0, 2)) for kind in ("object", "scene")}
    missing = {
        "clips": draw(st.integers(1, 3)),
        "kept": {split: draw(PARTS) for split in counts},
        "embedded": {split: draw(PARTS) for split in counts},
        "flat": draw(st.sampled_from([False] * 9 + [True])),
    }
    kinds = draw(st.sampled_from([["dance"], ["salf"], ["dance+salf", "dance", "salf"], ["read"], EVERY_KIND[::-1]]))
    layers = {
        "kinds": kinds,
        "leakage_rank": draw(st.sampled_from([0, 2])),
        "optimizer": draw(st.sampled_from(["adam", "lbfgs"])),
        "projection_cutoff": draw(st.sampled_from([-1.0, 0.45])),
    }
    found = draw(st.sampled_from([{}, {"method": "kmeans"}, {"method": "som"}, {"nearest": False}]))
    found = {**found, "n_concepts": draw(st.integers(1, 3))} if found else found
    return counts, words, missing, {**changed(**layers), "motion_concepts": found}, draw(st.integers(0, 2**20))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(sets())
def test_whatever_is_missing_is_a_result_or_one_line(tmp_path_factory, drawn):
    counts, words, missing, changes, seed = drawn
    folder = tmp_path_factory.mktemp("set")
    store = little.inputs(np.random.default_rng(seed), counts, words, **missing)
    wanted = LEARNED[2:] if changes["concept_layers"]["kinds"] == ["salf"] else LEARNED
    told = little.run(folder, store, wanted, changes)
    for name, line in told.items():
        assert "\n" not in line and (not line or len(line) > 20), (name, line)
    if told.get("model") == "":
        metrics = little.strict(folder / "metrics.json")
        assert (metrics["top1"] is None) == (not sum(counts["test"]))
        assert 0 <= metrics["val_top1"] <= 1 and isinstance(metrics["warnings"], list)


@pytest.mark.parametrize(
    ("counts", "missing", "stage", "words"),
    [
        ({**PLENTY, "val": [0, 0]}, {}, "concept_layers", "no video of split `val`"),
        ({**PLENTY, "train": [4, 0]}, {}, "concept_layers", "cannot learn the class `class 1`"),
        ({"train": [4], "val": [2], "test": [2]}, {}, "concept_layers", "there is only one: class 0"),
        (
            PLENTY,
            {"kept": {"train": 0.0, "val": 0.0}},
            "motion_concepts",
            "only 0 key clips.*36 clips fell.*min_conf",
        ),
        (PLENTY, {"kept": {"val": 0.0}}, "concept_layers", "0 of 4 videos of the split `val`.*min_confidence"),
        (PLENTY, {"kept": {"train": 0.0}}, "concept_layers", "none of the .* seen in a training video.*min_confidence"),
        ({**PLENTY, "val": [1, 0]}, {}, "concept_layers", "1 of 1 videos of the split `val`.*at least 2.*validation_f"),
        (PLENTY, {"embedded": {"train": 0.0}}, "concepts", "no train video has an embedding"),
        (PLENTY, {"embedded": {"val": 0.0}}, "concept_layers", "0 of 4 videos .*`val` have an embedding.*at least 2"),
        (PLENTY, {"flat": True}, "classifier", "nothing tells the 2 classes apart.*over 8 videos"),
    ],
)
def test_one_line_names_the_count_and_the_key(tmp_path, counts, missing, stage, words):
    told, _ = outcome(tmp_path, counts, **missing)
    assert list(told) == [stage]
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(told[stage])


@pytest.mark.parametrize("splits", ["val", "train"])
def test_videos_without_prompts_are_told(tmp_path, splits):
    told, store = outcome(
        tmp_path, PLENTY, changes=changed(kinds=["salf"]), wanted=LEARNED[2:5], embedded={"test": 1.0}
    )
    assert not told
    (regions, about) = store["prompts"][0]
    keep = [
        row for row, key in enumerate(about["video_id"]) if store["index"][0]["split"][int(key[1:])].as_py() != splits
    ]
    store["prompts"] = [
        ({"regions": regions["regions"][keep]}, {**about, "video_id": [about["video_id"][row] for row in keep]})
    ]
    told = little.run(tmp_path, store, ("concept_layers",), changed(kinds=["salf"]))
    assert f"videos of the split `{splits}` have prompts" in told["concept_layers"]


def test_no_candidate_at_all_is_told(tmp_path):
    told, _ = outcome(tmp_path, PLENTY, {"object": 0, "scene": 0})
    assert list(told) == ["concepts"] and "no candidate for concepts" in told["concepts"]


def test_a_dead_layer_is_told_in_metrics_summary_and_report(tmp_path):
    """With one video per class validation likes the motion layer best before its first step: all its weights are 0."""
    wanted = ("motion_concepts", "concepts", "concept_layers", "classifier", "model", "report")
    told, store = outcome(tmp_path, {"train": [1, 1], "val": [1, 1], "test": [1, 1]}, wanted=wanted)
    assert not told
    arrays, about = store["concept_layers"][0]
    is_motion = np.array(about["types"]) == "motion"
    assert is_motion.sum() == 3 and not arrays["weight"][is_motion].any()
    sentence = "3 of 3 motion concepts are dead: "
    rows = [row for row in store["concept_table"][0].to_pylist() if row["type"] == "motion"]
    assert all(row["kept"] and row["reason"].startswith("dead") for row in rows)
    assert any(line.startswith(sentence) for line in about["provenance"]["warnings"]["concept_layers"])
    metrics = little.strict(tmp_path / "metrics.json")
    assert any(line.startswith(sentence) for line in metrics["warnings"])
    assert any(line.startswith(f"warning: {sentence}") for line in summary.lines(tmp_path, metrics))
    assert sentence in (tmp_path / "report.html").read_text()


def test_a_living_layer_has_no_warning(tmp_path):
    wanted = ("motion_concepts", "concepts", "concept_layers", "classifier", "model")
    told, _ = outcome(tmp_path, {"train": [12, 12], "val": [6, 6], "test": [4, 4]}, wanted=wanted)
    metrics = little.strict(tmp_path / "metrics.json")
    assert not told and metrics["top1"] is not None
    noise = [line for line in metrics["warnings"] if "object concept" in line or "scene concept" in line]
    assert noise == metrics["warnings"]  # words here are noise, and are said to be
    assert metrics["n_doubtful"] == {"dead": 0, "undivided": 4, "few_positives": 0, "unread": 0}
    assert metrics["n_without_motion"] == 0
    right = metrics["right"]
    assert right["count"] == round(metrics["top1"] * 8) and right["of"] == 8
    low, high = right["interval"]
    lines = summary.lines(tmp_path, metrics)
    assert any(f"{right['count']} of 8, 95 % interval {low:.3f} to {high:.3f}" in line for line in lines)
    assert sum(line.startswith("warning: ") and "doubtful" in line for line in lines) == 2


def test_without_a_test_video_there_are_no_test_figures(tmp_path):
    told, _ = outcome(tmp_path, {**PLENTY, "test": [0, 0]}, wanted=(*LEARNED, "pictures", "report"))
    assert not told
    metrics = little.strict(tmp_path / "metrics.json")
    assert metrics["headline"] == {"name": "top-1", "value": None, "split": "test"} and metrics["n_test"] == 0
    assert metrics["backbone_top1"] is None and set(metrics["top1_by_type"].values()) == {None}
    assert any("no test video" in sentence for sentence in metrics["warnings"])
    lines = summary.lines(tmp_path, metrics)
    assert f"validation accuracy (top-1)  {metrics['val_top1']:.3f}   there is no test video" in lines
    assert not any("None" in line or "nan" in line for line in lines)
    page = (tmp_path / "report.html").read_text()
    page = page[page.index("<main>") :]
    assert "no test video has a feature" in (tmp_path / "report.html").read_text()
    assert ">nan<" not in page and ">None<" not in page


class Blind:
    """A predictor that sees the same in every clip."""

    def __init__(self, model, runtime):
        self.n_concepts, self.reader = len(model.concepts), None

    def activations(self, frames, batch_size, read=None):
        return np.zeros((len(frames), self.n_concepts))


def test_sanity_checks_fall_back_to_validation_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.methods.dance.explain.predict.VideoPredictor", Blind)
    told, store = outcome(tmp_path, {**PLENTY, "test": [0, 0]}, wanted=LEARNED[:-1])
    frames = np.zeros((12, 2, 4, 4, 3), np.uint8)
    store["clips"] = [({"frames": frames}, {"video_id": [f"v{number:03d}" for number in range(12)], "failed": []})]
    assert not told and little.run(tmp_path, store, ("sanity",)) == {"sanity": ""}
    table, about = store["sanity_table"]
    assert set(table["split"].to_pylist()) == {"val"}
    assert about["provenance"]["warnings"]["sanity"] == ["there is no test video: the sanity checks are of validation"]
    # A split that somebody named and that is not there is a mistake.
    told = little.run(tmp_path, store, ("sanity",), {"sanity": {"splits": ["shifted"]}})
    assert "no video is in ['shifted']; there are ['train', 'val']" in told["sanity"]


def test_runs_that_cannot_be_trained_again_are_told(tmp_path):
    """All videos of a class are of one group: none can become validation instead."""
    told, store = outcome(tmp_path, PLENTY, wanted=LEARNED[:-1])
    table, about = store["index"]
    groups = [str(label) for (label,) in table["labels"].to_pylist()]
    store["index"] = (table.set_column(table.schema.get_field_index("group"), "group", [groups]), about)
    told |= little.run(tmp_path, store, ("retrained",), changed())
    assert not any(told.values())
    ((arrays, about),) = store["retrained"]
    (warning,) = about["provenance"]["warnings"]["retrained"]
    assert warning.startswith("the run `seed 1` has no figures: ") and about["runs"] == ["shuffled 1"]
    assert len(arrays["weight"]) == 1


def test_warnings_name_types_layers_and_counts():
    rows = [
        {"layer": "global", "type": "motion", "kept": True, "reason": "dead: it says the same of every training video"},
        {"layer": "global", "type": "motion", "kept": True, "reason": ""},
        {"layer": "map", "type": "object", "kept": True, "reason": ""},
        {"layer": "", "type": "scene", "kept": False, "reason": "activation: below"},
    ]
    first, second = warnings_of(rows)
    assert first.startswith("no scene concept is left")
    assert second.startswith("1 of 2 motion concepts are dead") and "motion_weight_decay" in second
    assert warnings_of(rows[1:3]) == []


@pytest.mark.parametrize("kinds", [["dance", "read", "read+dance"], ["read", "dance"], ["read+dance"]])
def test_models_that_read_are_made_beside_or_instead_of_others(tmp_path, kinds):
    counts = {"train": [8, 8], "val": [4, 4], "test": [4, 4]}
    told, _ = outcome(tmp_path, counts, wanted=(*LEARNED, "pictures", "report"), changes=changed(kinds=kinds))
    assert not told
    metrics = little.strict(tmp_path / "metrics.json")
    assert metrics["kind"] == kinds[0] and set(kinds) <= set(metrics["kinds"])
    model = read_model(tmp_path / "model.pt")
    assert bool(model.n_read) == ("reading" in model.about) == kinds[0].startswith("read")
    if "read" in kinds:
        assert set(metrics["alone"]["motion"]) == {"read", "dance"}
        assert metrics["kinds"]["read"]["leakage"]["object"]["ctl"] == 0
    page = (tmp_path / "report.html").read_text()
    assert "Leakage: what concepts tell beyond" in page


def test_another_kind_that_cannot_be_made_is_left_out_with_a_warning(tmp_path):
    """All poses are the same and no word passes: nothing that is read tells the classes apart."""
    store = little.inputs(np.random.default_rng(0), {"train": [8, 8], "val": [4, 4], "test": [4, 4]}, {"scene": 1})
    wanted = ("motion_concepts", "readings", "concepts")
    assert not any(little.run(tmp_path, store, wanted).values())
    store["readings"][0][0]["readings"][:] = 0.5
    store["pseudo_labels"][0][0]["similarity"][:] = 0.5
    told = little.run(tmp_path, store, ("concept_layers", "classifier", "model"), changed(kinds=["dance", "read"]))
    assert not any(told.values())
    metrics = little.strict(tmp_path / "metrics.json")
    assert "read" not in metrics["kinds"]
    assert any(line.startswith("the model kind read is left out: nothing tells") for line in metrics["warnings"])
