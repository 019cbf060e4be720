"""From films to a model, stage by stage, with the demo's encoders; and what the model says of a film."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from pipeline.ablations.cache import Cache, run_step
from pipeline.ablations.variants import Variant
from pipeline.config import validate
from pipeline.jobs.runtime import RUNTIME_VARIABLE
from pipeline.jobs.stage import StageError
from pipeline.methods import models
from pipeline.methods.pcmci.comparisons.tables import figures_of, section_of, tables
from pipeline.methods.pcmci.pictures import write
from pipeline.rules.graph import STAGES, closure, reads, settings_json
from pipeline.store.arrays import read_arrays

pytestmark = pytest.mark.slow
COLOURS = {"pour_red": (220, 30, 30), "stir_blue": (30, 30, 220)}
SPLITS = {"train": 4, "val": 1, "test": 2}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Folders of pictures: one label shows red, the other blue, the third kind of film one behind the other."""
    root = tmp_path_factory.mktemp("films")
    random, rows = np.random.default_rng(0), ["video,label"]
    for split, count in SPLITS.items():
        lines = []
        for number in range(count):
            for kind, labels in {"r": ["pour_red"], "b": ["stir_blue"], "rb": list(COLOURS)}.items():
                path = f"{split}_{kind}{number}"
                (root / path).mkdir()
                for frame in range(12):
                    colour = np.array(COLOURS[labels[frame * len(labels) // 12]])
                    noise = random.integers(-20, 20, (64, 64, 3))
                    Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(
                        root / path / f"{frame:02d}.png"
                    )
                lines.append(path)
                rows += [f"{path},{label}" for label in labels]
        (root / f"{split}.txt").write_text("\n".join(lines))
    (root / "labels.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def run(films, project, tmp_path_factory):
    """Outputs of every stage by its name."""
    lists = {split: f"{split}.txt" for split in SPLITS}
    section = validate(
        {
            "datasets": {
                "own": {
                    "data": {
                        "shards": 2,
                        "index": {"lists": lists, "labels": "labels.csv"},
                        "decode": {"size": 64},
                    },
                    "context": {"dual_encoder": {"model": str(project / "pipeline/demo/encoders/dual_encoder")}},
                    "backbone": {"features": {"model": str(project / "pipeline/demo/encoders/backbone")}},
                    "pcmci": {
                        "frames": {"n_frames": 6},
                        "tokens": {"n_clips": 1, "clip_frames": 16},
                        "network": {"width": 32, "feedforward": 32, "temperature": 0.07},
                        "training": {"epochs": 25, "learning_rate": 5e-3, "batch_size": 4},
                    },
                }
            }
        }
    ).datasets["own"]
    folder = tmp_path_factory.mktemp("results") / "own"
    made = {"section": section, "folder": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUNTIME_VARIABLE, json.dumps({"roots": {"own": str(films)}}))
        for name in closure(section, ["pcmci"]):
            stage = STAGES[name]
            for shard in ("000-of-002", "001-of-002") if stage.sharded else ("",):
                there = reads(section, name)
                inputs = {key: made[there[key].stage][there[key].output] if key in there else [] for key in stage.reads}
                outputs = {key: folder / path.replace("{shard}", shard) for key, path in stage.writes.items()}
                for path in outputs.values():
                    path.parent.mkdir(parents=True, exist_ok=True)
                run_step(stage.module, name, "own", settings_json(section, name), inputs, outputs, shard)
                for key, path in outputs.items():
                    made.setdefault(name, {}).setdefault(key, []).append(path)
    return made


def test_rows_are_of_the_whole_film(run):
    parts = [read_arrays(path) for path in run["pcmci_frames"]["frames"]]
    assert sum(len(attributes["video_id"]) for _, attributes in parts) == 3 * sum(SPLITS.values())
    for arrays, attributes in parts:
        assert arrays["frames"].dtype == np.float16 and arrays["frames"].shape[:2] == (len(attributes["video_id"]), 6)
        assert (np.diff(arrays["times"]) > 0).all()
    texts, described = read_arrays(run["pcmci_labels"]["labels"][0])
    assert described["texts"] == ["pour red", "stir blue"] and len(texts["labels"]) == 2


def test_figures_are_of_test_alone(run):
    metrics = json.loads(run["pcmci"]["metrics"][0].read_text())
    assert set(metrics["networks"]["own"]) == {"test"} and metrics["headline"]["split"] == "test"
    assert set(metrics["networks"]) == {"own", "plain"}
    assert metrics["headline"]["value"] == metrics["networks"]["own"]["test"]["mAP"] > 0.6


def test_the_model_looks_at_a_film_as_the_run_did(run, films, tmp_path):
    model = models.load(run["pcmci"]["model"][0])
    seen = model.see(films / "test_rb0")
    for path in run["pcmci_frames"]["frames"]:
        arrays, attributes = read_arrays(path)
        if "test_rb0" in attributes["video_id"]:
            kept = arrays["frames"][attributes["video_id"].index("test_rb0")]
            assert np.allclose(kept, seen.frames, atol=2e-3)
    decision = model.predict(films / "test_rb0")
    assert decision.class_name in COLOURS and len(decision.as_dict(2)["labels"]) == 2
    without = model.intervene(seen, drop=(0.0, float(seen.times[2])))
    assert without.shape == (2,)
    other = model.intervene(seen, {"pour_red": "a blue wall"})
    assert not np.allclose(other, model.logits(seen.tokens[None], seen.frames[None])[0])
    after = model.under(seen, {"pour_red": "a blue wall"})
    assert write(model, "test_rb0", seen, tmp_path, after=after)[0].startswith("test_rb0: ")


def test_another_form_of_tokens_is_compared(run, films):
    """A table about encoders may make tokens again, from every video; another table may not."""
    section, variant = run["section"], Variant("two clips", {"pcmci.tokens": {"n_clips": 2, "clip_frames": 16}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUNTIME_VARIABLE, json.dumps({"roots": {"own": str(films)}}))
        found = {}
        table = tables(section)["encoders"]
        for one in (*table.variants, variant):
            own = section_of(section, one, 0)
            cache = Cache(run["folder"], run["folder"].parent / "cache", section, table.remakes)
            found[one.name] = figures_of(cache, own, one)
        assert set(found["two clips"]) >= {"mAP", "map_sklearn", "false couplings, calibrated"}
        assert len(list((run["folder"].parent / "cache").glob("pcmci_tokens/*/pcmci/tokens/*.zip"))) == 2
        with pytest.raises(StageError, match="cannot change what `pcmci_tokens` makes"):
            figures_of(Cache(run["folder"], run["folder"].parent / "other", section), own, variant)


def test_the_page_shows_test_videos_with_their_frames(run):
    html = run["pcmci"]["report"][0].read_text()
    assert "test_rb0: " in html and "test_rb1: " in html and html.count("data:image/png;base64,") == 1 + 2 * 3
    arrays, described = read_arrays(run["pcmci_train"]["predictions"][0])
    assert arrays["logits"].shape == (3 * SPLITS["test"], 2) and "test_rb0" in described["video_id"]
