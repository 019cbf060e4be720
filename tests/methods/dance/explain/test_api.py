"""Models as Python objects, and the commands on a run: decisions from the cache, edits, stale and foreign files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from conceptreel import load
from pipeline.cli import main
from pipeline.learning.novelty import Reach
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.page import charts
from pipeline.store.arrays import write_arrays
from pipeline.store.atomic import ArtifactError
from pipeline.store.names import NameUnknown

CLASSES = ["jump", "run"]
CONCEPTS = ["motion 000", "rope", "track"]


@pytest.fixture
def run(tmp_path):
    """A run of eight videos: `rope` speaks for jump, `track` for run; one test video of jump shows no rope."""
    folder = tmp_path / "results" / "small"
    z = np.array([[1, 2, 0], [1, 2, 0], [0, 0, 2], [0, 0, 2], [2, 0, 1], [0, 0, 2], [2, 2, 0], [2, 0, 1]], np.float32)
    split = ["train", "train", "train", "train", "val", "val", "test", "test"]
    digest = write_arrays(
        folder / "bottleneck" / "activations.zarr.zip",
        {"z": z, "label": np.array([0, 0, 1, 1, 0, 1, 0, 0], np.int32), "distance": np.arange(8) / 4},
        {"video_id": [f"clip_{i}" for i in range(8)], "split": split, "class_names": CLASSES},
        {"settings_digest": "", "stage": "model"},
    )
    weight = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    about = {"dataset": "small", "skeleton": "coco", "n_videos": [3], "edits": [], "activations": digest}
    # The rope is absent at −1 and present at 2, so that it counts as present from 0.5 on.
    levels = np.array([[-1.0, -1, np.nan], [1, 2, np.nan], [0, 0.5, np.nan], [3, 9, np.nan], [1, 1, np.nan]])
    layer = {"weight": np.eye(3), "mean": np.zeros(3), "std": np.ones(3), "levels": levels}
    medoids = np.random.default_rng(0).random((1, 8, 17, 2), np.float32)
    types, reach = ["motion", "object", "scene"], Reach(np.zeros(3), np.eye(3), 1.6)
    model = ConceptModel(CLASSES, CONCEPTS, types, layer, weight, np.zeros(2), medoids, about, reach)
    model.save(folder / "model.pt")
    return folder


def test_known_videos_are_decided_from_the_cache(run):
    model = load(run / "model.pt")
    decision = model.predict("clip_0")
    assert (decision.class_name, decision.source) == ("jump", "clip_0")
    assert decision.probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert [(row.concept, row.contribution) for row in decision.explain()] == [("rope", 2.0)]
    assert "rope" in str(decision) and "rope" in decision._repr_html_()
    assert model.accuracy("train") == 1.0 and model.accuracy("val") == 0.5
    assert "2 classes, 1 motion, 1 object, 1 scene" in repr(model)


def test_a_feature_is_decided_like_the_cache(run):
    model = load(run / "model.pt")
    np.testing.assert_allclose(
        model.predict(np.array([1.0, 2, 0])).probabilities, model.predict("clip_0").probabilities
    )
    with pytest.raises(ValueError, match=r"\[D\]"):
        model.predict(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="3"):
        model.predict(np.zeros(5))


def test_what_was_not_seen_is_told_with_every_decision(run, capsys):
    """clip_7 lies beyond the limit, clip_0 does not: in text, in a notebook, as JSON, beside pictures."""
    model = load(run / "model.pt")
    known, strange = model.predict("clip_0"), model.predict("clip_7")
    assert strange.unseen == {"distance": 1.75, "limit": 1.6, "flagged": True} and not known.unseen["flagged"]
    assert strange.as_dict(1)["unseen"] == strange.unseen
    assert "UNLIKE ALL TRAINING VIDEOS" in str(strange) and "UNLIKE" in strange.explain("jump", "run")._repr_html_()
    assert "like the training videos: distance 0.0 of at most 1.6" in str(known)
    assert model.predict(np.array([0, 3.0, 4.0])).unseen["distance"] == 5
    assert model.reweight("jump", "rope", 3.0).predict("clip_7").without("rope").unseen == strange.unseen
    model.explain("clip_7", run / "why")
    assert json.loads((run / "why" / "explanation.json").read_text())["unseen"] == strange.unseen
    for command in (["contrast", "clip_7", "jump", "run"], ["edit", "clip_7", "--without", "rope"]):
        call = [command[0], str(run / "model.pt"), *command[1:]]
        assert main(call) == 0 and "UNLIKE" in capsys.readouterr().out
        assert main([*call, "--json"]) == 0 and json.loads(capsys.readouterr().out)["unseen"] == strange.unseen


def test_a_motion_is_named_in_words_wherever_it_speaks(run, capsys):
    words = {"sentence": "the left hand rises; the trunk leans", "short": "the left hand rises", "codes": []}
    model = load(run / "model.pt").reweight("jump", "motion 000", 1.0)
    about = {**model.core.about, "motion_words": [words]}
    ConceptModel(**{**vars(model.core), "about": about}).save(run / "model.pt")
    model = load(run / "model.pt")
    named = "motion 000 (the left hand rises)"
    decision = model.predict("clip_7")
    assert named in str(decision) and named in decision._repr_html_() and named in str(decision.explain("jump", "run"))
    assert decision.as_dict(1)["contributions"][0]["said"] == f"{named} present"
    assert model.core.find_concept("motion 000") == 0 and model.core.named(1) == "rope"
    model.explain("clip_7", run / "why")
    (shown,) = json.loads((run / "why" / "explanation.json").read_text())["motion"]
    assert shown["words"] == words
    assert main(["contrast", str(run / "model.pt"), "clip_7", "jump", "run"]) == 0 and named in capsys.readouterr().out
    assert f"{named} present" in charts.sankey(model.core, 0, 1).data[0].node.label


def test_contrast_and_pictures(run):
    decision = load(run / "model.pt").predict("clip_7")
    (row,) = decision.explain("jump", against="run").rows
    assert (row.concept, row.difference) == ("track", -1.0)
    strip = decision.picture("motion 000")
    assert np.asarray(strip).std() > 10
    assert decision.picture("rope") is None  # a text


def test_deactivated_and_reweighted(run):
    model = load(run / "model.pt")
    off = model.predict("clip_0").without("rope", level="mean")
    assert off.probability == 0.5 and off.deactivated == ("rope",) and "without rope (mean)" in str(off)
    off = model.predict("clip_0").without("rope")
    assert off.z[1] == -1 and off.class_name == "run" and "without rope (absent)" in str(off)
    with pytest.raises(NameUnknown, match="did you mean `mean`"):
        off.without("rope", level="meen")
    edited = model.reweight("jump", "motion 000", 1.0)
    assert edited.predict("clip_7").class_name == "jump" and model.predict("clip_7").class_name == "run"
    assert model.effect(edited, "test").fixed.tolist() == [1]
    assert edited.accuracy("val") == 1.0 and model.edits == [] and len(edited.edits) == 1
    edited.save(run / "new.pt")
    assert load(run / "new.pt").edits == edited.edits and load(run / "model.pt").edits == []
    # The activations are still those of the model, so that the edited file finds its run.
    assert load(run / "new.pt").accuracy("val") == 1.0


def test_failures_and_suggestions(run):
    model = load(run / "model.pt")
    assert [decision.source for decision in model.failures("test")] == ["clip_7"]
    ((pair, edits),) = model.suggest_edits().items()
    assert pair == ("jump", "run")
    assert model.core.concepts[edits[0].concept] == "motion 000" and edits[0].effect.gain == 1
    assert model.suggest_edits("run") == {}


def test_what_there_is_not(run, tmp_path):
    model = load(run / "model.pt")
    with pytest.raises(NameUnknown, match="did you mean `clip_"):
        model.predict("clip_9x")
    with pytest.raises(NameUnknown, match="there is no file or video `%E8"):
        model.predict("%E8%B7%B3" * 30)  # longer than a name of a file may be
    with pytest.raises(NameUnknown, match="did you mean `jump`"):
        model.reweight("jumps", "rope", 1.0)
    with pytest.raises(NameUnknown, match="there is no split"):
        model.accuracy("exam")
    with pytest.raises(NameUnknown, match="stands alone"):
        (tmp_path / "alone").mkdir()
        model.save(tmp_path / "alone" / "model.pt")
        load(tmp_path / "alone" / "model.pt").predict("clip_0")


def test_a_cache_of_another_model_is_refused(run):
    model = load(run / "model.pt")
    changed = {**model.core.about, "activations": "0" * 16}
    ConceptModel(**{**vars(model.core), "about": changed}).save(run / "model.pt")
    with pytest.raises(ArtifactError, match="stale"):
        load(run / "model.pt").predict("clip_0")


def test_signs_in_python_and_in_commands(run, capsys):
    """Present and absent, for and against, with the activation; nobody knows of the track."""
    model = load(run / "model.pt")
    model = model.reweight("jump", "motion 000", -0.5).reweight("run", "rope", -1.0)
    (rope, motion) = model.predict("clip_0").explain("jump").rows
    assert (rope.present, rope.said, rope.speaks) == (True, "rope present", "for")
    assert (motion.present, motion.said, motion.speaks) == (True, "motion 000 present", "against")
    (track,) = model.predict("clip_2").explain("run").rows
    assert (track.present, track.said, track.speaks) == (None, "track", "for")
    absent = model.predict(np.array([-2.0, -1.5, 0])).explain("run")
    assert [(row.said, row.speaks, row.contribution) for row in absent] == [("no rope", "for", 1.5)]
    assert "for      object  no rope   activation -1.50" in str(absent) and "no rope" in absent._repr_html_()
    between = model.predict(np.array([0.0, 0.2, 0])).explain("jump")
    assert between[0].said == "no rope, yet above average"
    model.save(run / "signs.pt")
    assert main(["contrast", str(run / "signs.pt"), "clip_0", "run", "jump", "--json"]) == 0
    reasons = json.loads(capsys.readouterr().out)["reasons"]
    assert [(row["said"], row["speaks"]) for row in reasons] == [
        ("rope present", "against"),
        ("motion 000 present", "for"),
    ]
    assert main(["failures", str(run / "signs.pt"), "--split", "val"]) == 0
    assert "for      scene   track   activation +1.00" in capsys.readouterr().out
    assert main(["edit", str(run / "signs.pt"), "clip_0", "--without", "rope", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["reasons_before"][0]["present"] is True
    assert {row["concept"]: row["present"] for row in answer["reasons_after"]}["rope"] is False


ONE_LINE = [
    (["contrast", "MODEL", "clip_0", "jump", "rum"], "did you mean `run`"),
    (["contrast", "MODEL", "clip_00", "jump", "run"], "did you mean `clip_0`"),
    (["edit", "MODEL", "clip_0", "--without", "ropes"], "did you mean `rope`"),
    (["edit", "MODEL", "--weight", "jmp", "rope", "1"], "did you mean `jump`"),
    (["edit", "MODEL", "--weight", "jump", "rope", "much"], "`much` is no weight"),
    (["edit", "MODEL", "--weight", "jump", "rope", "nan"], "`nan` is no weight"),
    (["edit", "MODEL", "--weight", "jump", "rope", "1", "--save", "MODEL"], "exists and stays as it is"),
    (["edit", "MODEL", "clip_0", "--without", "rope", "--save", "new.pt"], "--save keeps changed weights"),
    (["edit", "MODEL", "--without", "rope"], "name it: edit MODEL INPUT"),
    (
        ["edit", "MODEL", "clip_0", "--without", "track", "--level", "absent"],
        "how active `track` is where it is absent",
    ),
    (["edit", "MODEL"], "nothing to edit"),
    (["edit", "MODEL", "clip_0", "--concept", "rope", "--beta", "1"], "needs --concept, --beta"),
    (["edit", "MODEL", "clip_0", "--concept", "rope", "--beta", "1", "--box", "0", "0", "9", "9"], "has no maps"),
    (["suggest-edits", "MODEL", "--split", "vall"], "did you mean `val`"),
    (["failures", "MODEL", "--split", "exam"], "there is no split `exam`"),
    (["sanity", "MODEL"], "holds no sanity checks"),
]


@pytest.mark.parametrize(("arguments", "words"), ONE_LINE)
def test_bad_input_is_one_line_and_writes_nothing(run, capsys, arguments, words, monkeypatch):
    monkeypatch.chdir(run.parent)
    before = {path: path.read_bytes() for path in run.parent.rglob("*") if path.is_file()}
    assert main([str(run / "model.pt") if item == "MODEL" else item for item in arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert {path: path.read_bytes() for path in run.parent.rglob("*") if path.is_file()} == before


def test_commands_answer(run, capsys, tmp_path):
    def answer(*arguments):
        assert main([str(item) for item in arguments]) == 0
        return json.loads(capsys.readouterr().out)

    model = run / "model.pt"
    found = answer("edit", model, "--weight", "jump", "motion 000", 1, "--save", tmp_path / "new.pt", "--json")
    assert found["splits"]["val"] == {"before": 0.5, "after": 1.0, "fixed": ["clip_4"], "broken": []}
    assert found["edits"][0]["before"] == 0.0 and load(tmp_path / "new.pt").edits == found["edits"]
    found = answer("edit", model, "clip_0", "--without", "rope", "--json")
    assert found["class_before"] == "jump" and found["after"]["jump"] == pytest.approx(1 / (1 + np.e))
    found = answer("edit", model, "clip_0", "--without", "rope", "--level", "mean", "--json")
    assert found["after"]["jump"] == 0.5
    found = answer("edit", model, "clip_7", "--weight", "jump", "motion 000", 1, "--json")
    assert (found["class_before"], found["class_after"]) == ("run", "jump")
    (failure,) = answer("failures", model, "--json")
    assert (failure["video"], failure["true"], failure["margin"]) == ("clip_7", "jump", -1.0)
    (suggestion,) = answer("suggest-edits", model, "--json")
    assert (suggestion["concept"], suggestion["fixed"], suggestion["broken"]) == ("motion 000", ["clip_4"], [])
    assert suggestion["elsewhere"]["test"] == {"fixed": 1, "broken": 0}
    (reason,) = answer("contrast", model, "clip_0", "jump", "run", "--json")["reasons"]
    assert (reason["concept"], reason["difference"]) == ("rope", 2.0)


def test_a_run_that_the_configuration_has_outgrown(run, capsys, monkeypatch, project):
    monkeypatch.chdir(project)
    config = run.parent / "config.yaml"
    config.write_text("datasets: {small: {data: {index: {source: folders}}}}")
    assert main(["failures", str(run / "model.pt"), "--config", str(config)]) == 2
    assert "is stale: it was made with other settings" in capsys.readouterr().err


def test_a_model_of_a_newer_release(run, capsys):
    content = torch.load(run / "model.pt", weights_only=True)
    torch.save({**content, "version": 99}, run / "newer.pt")
    assert main(["failures", str(run / "newer.pt")]) == 2
    assert "has version 99, this release reads" in capsys.readouterr().err
