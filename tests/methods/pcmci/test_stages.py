"""Stages of PCMCI: what reruns, what is refused, and a small run on the structural causal model."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.ablations.variants import changed
from pipeline.cli import main
from pipeline.config import load, validate
from pipeline.jobs.stage import Job, parser
from pipeline.methods import models
from pipeline.methods.pcmci import evaluate, train
from pipeline.methods.pcmci.comparisons.tables import section_of, tables
from pipeline.methods.pcmci.controls import CHANGES
from pipeline.methods.pcmci.controls import changed as with_control
from pipeline.methods.pcmci.labels import texts_of
from pipeline.methods.pcmci.page import page
from pipeline.methods.pcmci.settings import PCMCI
from pipeline.rules.graph import closure, home, settings_digest, settings_json
from pipeline.settings import ConfigError
from pipeline.store.names import NameUnknown
from pipeline.store.tables import read_table

SMALL = {
    "source": "world",
    "world": {"train": 60, "test": 30, "frames": 6},
    "network": {"width": 96, "feedforward": 16, "temperature": 0.07},
    "training": {"epochs": 1, "learning_rate": 2e-3},
    "controls": ["plain", "shuffled", "oracle"],
}


def section(**pcmci):
    return validate({"datasets": {"own": {"pcmci": pcmci}}}).datasets["own"]


def rerun(before, after):
    return {
        name for name in closure(before, ["pcmci"]) if settings_digest(before, name) != settings_digest(after, name)
    }


def test_another_text_of_a_label_encodes_no_video():
    before = section()
    after = changed(before, {"pcmci.labels.texts": {"tea": "somebody makes tea"}})
    assert {"pcmci_frames", "pcmci_tokens"} <= set(closure(before, ["pcmci"]))
    assert rerun(before, after) == {"pcmci_labels", "pcmci_train", "pcmci"}
    prompt = changed(before, {"pcmci.labels.prompt": "a video of {}"})
    assert rerun(before, prompt) == {"pcmci_labels", "pcmci_train", "pcmci"}


def test_each_encoder_reruns_alone():
    before = section()
    frames = changed(before, {"context.dual_encoder.model": "other"})
    assert rerun(before, frames) == {"pcmci_frames", "pcmci_labels", "pcmci_train", "pcmci"}
    tokens = changed(before, {"pcmci.tokens.n_clips": 4})
    assert rerun(before, tokens) == {"pcmci_tokens", "pcmci_train", "pcmci"}
    assert rerun(before, changed(before, {"data.decode.n_frames": 8})) == set()


def test_no_picture_is_stored(project):
    """Frames of long videos go to the encoders alone: nothing needs the clips of the stage `decode`."""
    datasets = load(project / "config.yaml").datasets
    for name in ("breakfast", "breakfast_activities", "coin", "coin_tasks"):
        made = closure(datasets[name], ["pcmci"])
        assert "pcmci_frames" in made and not {"decode", "features", "dual_encoder"} & set(made)


def test_activities_and_actions_share_what_encoders_saw(project):
    datasets = load(project / "config.yaml").datasets
    for actions, activity in (("breakfast", "breakfast_activities"), ("coin", "coin_tasks")):
        assert datasets[activity].pcmci.training.target == "activity"
        for name in ("pcmci_frames", "pcmci_tokens"):
            assert home(datasets[activity], name) == actions
            assert settings_digest(datasets[activity], name) == settings_digest(datasets[actions], name)


def test_concepts_are_those_of_the_floors():
    assert "pcmci_concepts" not in closure(section(), ["pcmci"])
    made = closure(section(concepts=["motion", "words"]), ["pcmci"])
    assert {"pcmci_concepts", "motion_concepts", "concepts"} <= set(made) and "concept_layers" not in made
    assert "motion_concepts" not in closure(section(concepts=["words"]), ["pcmci"])
    assert rerun(section(concepts=["words"]), section(concepts=["motion"])) == {"pcmci_concepts", "pcmci"}


def test_the_world_needs_no_video(project):
    datasets = load(project / "config.yaml").datasets
    assert closure(datasets["interventions_demo"], ["pcmci"]) == ["pcmci_train", "pcmci"]
    assert closure(datasets["breakfast_rows"], ["pcmci"]) == ["index", "pcmci_train", "pcmci"]


@pytest.mark.parametrize(
    ("pcmci", "words"),
    [
        ({"network": {"stages": ["ICH", "ICH"]}}, "names a stage twice"),
        ({"network": {"heads": 7}}, "no multiple of the 7 heads"),
        ({"network": {"temperature": 0}}, "greater than 0"),
        ({"network": {"regularisation": -1}}, "greater than 0"),
        ({"network": {"stages": ["ICX"]}}, "'ICH', 'ICI' or 'IVC'"),
        ({"controls": ["oracle"]}, "of videos there are none"),
        ({"controls": ["shuffled"]}, "pcmci.controls has shuffled"),
        ({"training": {"explain_codependency": True, "target": "activity"}}, "activities exclude each other"),
        ({"labels": {"prompt": "no place"}}, "pattern"),
    ],
)
def test_settings_that_do_not_fit_are_told(pcmci, words):
    with pytest.raises(ConfigError, match=words):
        section(**pcmci)


def test_texts_of_labels():
    assert texts_of(["pour_milk", "tea"], "a {} video", {"tea": "makes tea"}) == ["a pour milk video", "makes tea"]
    with pytest.raises(NameUnknown, match="did you mean `pour_milk`"):
        texts_of(["pour_milk"], "{}", {"pour_mlk": "x"})


def test_every_control_is_a_network():
    own = PCMCI()
    for name in CHANGES:
        PCMCI.model_validate(with_control(own, name).model_dump())
    assert with_control(own, "plain").network.stages == []


def test_every_comparison_is_a_configuration():
    own = section(source="world")
    for table in tables(own).values():
        for variant in table.variants:
            found = section_of(own, variant, 2)
            assert found.pcmci.world.seed == found.pcmci.training.seed == 2


def test_tables_are_of_what_there_is():
    """Interventions only of the world, encoders only of videos; published figures stand beside the data set's own."""
    world, videos = tables(section(source="world")), tables(section())
    assert {"transport", "controls"} <= set(world) - set(videos) and set(videos) - set(world) == {"encoders"}
    assert videos["encoders"].remakes == ("pcmci_tokens",)
    papers = {variant.name: variant.paper.get("breakfast") for variant in videos["stages"].variants}
    assert papers == {"none": 80.23, "ICH": 84.17, "ICI": 83.64, "IVC": 88.31, "HI": 85.59, "HIV": 90.51}
    own = changed(section(), {"ablations": {"encoders": {"other": {"backbone.features.model": "x"}}}})
    assert [variant.name for variant in tables(own)["encoders"].variants] == ["as configured", "other"]


def job_of(name, module, folder, inputs=()):
    own = section(**SMALL)
    call = ["--dataset", "own", "--settings", settings_json(own, name)]
    for key in ("index", "frames", "tokens", "labels" if name == "pcmci_train" else "concepts"):
        call += ["--input", key]
    for key, path in inputs:
        call += ["--input", key, str(path)]
    for key, path in {
        "pcmci_train": {
            "network": "network.zarr.zip",
            "evaluation": "evaluation.parquet",
            "couplings": "couplings.parquet",
            "predictions": "predictions.zarr.zip",
            "matrices": "matrices.zarr.zip",
        },
        "pcmci": {"model": "model.pt", "metrics": "metrics.json", "report": "report.html"},
    }[name].items():
        call += ["--output", key, str(folder / path)]
    return Job(name, module, parser().parse_args(call))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "pcmci"
    folder.mkdir()
    train.build(job_of("pcmci_train", "pipeline.methods.pcmci.train", folder))
    names = ("network.zarr.zip", "evaluation.parquet", "couplings.parquet", "matrices.zarr.zip")
    inputs = [(name.partition(".")[0], folder / name) for name in names]
    evaluate.build(job_of("pcmci", "pipeline.methods.pcmci.evaluate", folder, inputs))
    return folder


def test_a_run_names_its_headline_and_its_controls(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["networks"]) == {"own", "plain", "shuffled", "oracle", "zero-shot", "activity alone", "chance"}
    own = metrics["networks"]["own"]
    assert metrics["headline"] == {"name": "mAP", "value": own["do(all)"]["mAP"], "split": "do(all)"}
    assert set(own) == {"iid", "do(H)", "do(C)", "do(I)", "do(all)"} and "effect of do(object)" in own["do(all)"]
    # Nobody looks at a video, and told the activity one is above chance where labels follow from it alone.
    alone, chance = (metrics["networks"][name] for name in ("activity alone", "chance"))
    assert alone["iid"]["mAP"] > 3 * chance["iid"]["mAP"] and alone["do(I)"]["mAP"] < 2 * chance["do(I)"]["mAP"]


def test_a_model_of_a_run_decides_from_features(run):
    model = models.load(run / "model.pt")
    assert model.method == "pcmci" and len(model.class_names) == 48
    logits = model.logits(np.ones((2, 6, 96)), np.ones((2, 6, 96)))
    assert logits.shape == (2, 48) and np.isfinite(logits).all()


def test_couplings_are_told_by_name(run, capsys):
    assert main(["couplings", str(run.parent)]) == 0
    told = capsys.readouterr().out
    assert "false couplings" in told and "do(all)" in told
    table, attributes = read_table(run / "couplings.parquet")
    assert {row["network"] for row in attributes["sets"]} == {"own", "plain", "shuffled", "oracle"}
    assert set(table.column_names) == {"network", "do", "label", "given", "predicted", "true"}
    assert all(
        q > 0.6 >= true for q, true in zip(table["predicted"].to_pylist(), table["true"].to_pylist(), strict=True)
    )
    assert main(["couplings", str(run)]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_the_page_has_the_figures_and_no_markup_of_names(run):
    metrics = json.loads((run / "metrics.json").read_text())
    html = (run / "report.html").read_text()
    assert f"{metrics['networks']['plain']['do(I)']['mAP']:.4f}" in html and "effect of do(object)" in html
    pair = {"network": "own", "do": "iid", "label": "<script>", "given": "a & b", "predicted": 0.9, "true": 0.1}
    # Test videos with their pictures, and what they would be without a part of them.
    assert html.count("data:image/png;base64,") == 1 + 2 * 3 and "without " in html and "under do(all)" in html
    concept = {"label": "<script>", "type": "motion", "concept": "<i>", "r": 0.5, "videos": 9}
    hostile = page({**metrics, "warnings": ["<b>"]}, [pair] * 70, concepts=[concept])
    assert "&lt;i&gt; (0.50)" in hostile and "<i>" not in hostile
    assert "<script>" not in hostile and "&lt;script&gt;" in hostile and "a &amp; b" in hostile
    assert "<p>warning: &lt;b&gt;" in hostile and "and 10 more" in hostile
