from __future__ import annotations

import pytest
import yaml

from pipeline.config import dataset, load, opened, validate
from pipeline.rules.graph import closure
from pipeline.settings import ConfigError


def test_shipped_configuration_is_valid_and_holds_the_constants_of_the_paper(project):
    config = load(project / "config.yaml")
    # DANCE supplement, section 2.2: (L, S, number of motion concepts).
    for name, constants in {
        "kth": (20, 17, 71),
        "penn_action": (25, 12, 79),
        "haa100": (20, 7, 223),
        "ucf101": (25, 10, 500),
    }.items():
        motion = config.datasets[name].motion
        assert (motion.pose_clips.length, motion.pose_clips.per_video, motion.motion_concepts.n_concepts) == constants
    assert config.datasets["ucf101"].data.decode.sampling == "dense"
    assert config.datasets["kth"].data.decode.sampling == "uniform"
    concepts = config.datasets["ucf101"].context.concepts
    assert (concepts.max_length, concepts.class_similarity, concepts.mutual_similarity) == (30, 0.85, 0.95)


def test_recipes_of_fine_tuning_are_those_of_the_supplement(project):
    """Table 1: base learning rate, batch of four GPUs, drop path, layer-wise decay; Penn Action's equals UCF-101's."""
    config = load(project / "config.yaml")
    for name, (rate, batch, drop_path, decay) in {
        "kth": (5e-4, 40, 0.1, 0.75),
        "haa100": (5e-3, 56, 0.2, 0.8),
        "ucf101": (1e-3, 40, 0.1, 0.75),
    }.items():
        recipe = config.datasets[name].backbone.finetune
        assert (recipe.base_learning_rate, recipe.batch_size) == (rate, batch)
        assert (recipe.drop_path, recipe.layer_decay) == (drop_path, decay)
        assert (recipe.epochs, recipe.warmup_epochs, recipe.weight_decay, recipe.flip) == (50, 5, 0.05, True)
        assert recipe.head == "random"
        assert (recipe.rand_augment_magnitude, recipe.rand_augment_std, recipe.colour_jitter) == (9, 0.5, 0.4)
    assert not config.datasets["demo"].backbone.finetune.enabled


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"datasets": {"d": {"motion": {"keyframes": {"treshold": 1}}}}}, ["keyframes.treshold", "`threshold`"]),
        ({"datasets": {"d": {"moton": {}}}}, ["datasets.d.moton", "`motion`"]),
        ({"dataset": {}}, ["unknown key `dataset`", "`datasets`"]),
        ({"datasets": {"d": {"data": {"shards": 0}}}}, ["data.shards", "greater than or equal to 1", "0"]),
        ({"datasets": {"d": {"motion": {"poses": {"boxes": "none"}}}}}, ["poses.boxes", "whole_frame"]),
        ({"datasets": {"a {b}": {}}}, ["`datasets.a {b}`: names a folder; use up to 100 letters"]),
        ({"datasets": {"d": {"motion": {"zzzzz": {}}}}}, ["zzzzz", "known here", "keyframes"]),
        ({"datasets": {"d": {"backbone": {"finetune": {"crop_scale": [0.5, 0.1]}}}}}, ["crop_scale", "smaller first"]),
        (
            {
                "datasets": {
                    "d": {
                        "backbone": {"finetune": {"enabled": True}, "features": {"source": "tensor"}},
                        "bottleneck": {"concept_layers": {"kinds": ["dance"]}},
                    }
                }
            },
            ["finetune.enabled has no use"],
        ),
        (
            {"datasets": {"d": {"bottleneck": {"concept_layers": {"types": ["motion"]}}}}},
            ["the kind dance+salf locates objects and scenes", "kinds: [dance]"],
        ),
        (
            {"datasets": {"d": {"context": {"texts": {"candidates": {"object": "o.txt"}}}}}},
            ["types has scene, but context.texts.candidates has not"],
        ),
        ({"datasets": {"d": {"motion": {"poses": {"skeleton": "openpoze"}}}}}, ["nor one of coco, jhmdb, kinect"]),
    ],
)
def test_mistakes_are_told_in_the_words_of_the_file(raw, words):
    with pytest.raises(ConfigError) as caught:
        validate(raw)
    for word in words:
        assert word in str(caught.value)


def test_a_mistake_in_one_section_stops_no_other(tmp_path):
    raw = {"datasets": {"good": {}, "typo": {"moton": {}}, "list": [1], "fold": {"dataset": "good"}}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    datasets = load(tmp_path / "config.yaml").datasets
    assert datasets["good"].name == "good" and datasets["fold"].base is datasets["good"]
    with pytest.raises(ConfigError, match=r"typo\.moton"):
        _ = datasets["typo"]
    with pytest.raises(ConfigError, match="a mapping is wanted"):
        datasets.get("list")
    assert set(datasets.broken()) == {"typo", "list"}
    assert {"good", "fold", "demo"} <= set(datasets.sound()) and not {"typo", "list"} & set(datasets.sound())
    with pytest.raises(ConfigError, match="moton"):
        validate(raw)
    with pytest.raises(ConfigError, match="devise"):
        opened({"runtime": {"devise": "cpu"}})


@pytest.mark.parametrize(
    ("kinds", "allowed"), [(["dance", "read"], True), (["read"], False), (["dance", "read+dance"], False)]
)
def test_imported_motion_labels_cannot_be_read(kinds, allowed):
    raw = {
        "motion": {"motion_concepts": {"source": "imported", "path": {"train": "a.json"}}},
        "bottleneck": {"concept_layers": {"kinds": kinds}},
        "context": {"texts": {"candidates": {"object": "o.txt", "scene": "s.txt"}}},
    }
    if allowed:
        section = validate({"datasets": {"d": raw}}).datasets["d"]
        assert "readings" not in closure(section, ["model"])
    else:
        with pytest.raises(ConfigError, match="imported motion labels do not have"):
            validate({"datasets": {"d": raw}})


@pytest.mark.parametrize("types", [["motion"], ["object"], ["scene", "motion"], ["motion", "object", "scene"]])
def test_only_what_the_types_need_is_asked_for(types):
    """Stages behind a model, for every kind that can have these types."""
    words = {"object": "o.txt", "scene": "s.txt"}
    for kind in ("dance", "salf", "dance+salf", "read", "read+dance", "read+salf"):
        if kind.endswith("salf") and types == ["motion"]:
            continue
        layers = {"kinds": [kind], "types": types}
        texts = {"candidates": {name: path for name, path in words.items() if name in types}}
        raw = {"bottleneck": {"concept_layers": layers}, "context": {"texts": texts}}
        asked = set(closure(validate({"datasets": {"d": raw}}).datasets["d"], ["report"]))
        assert ({"poses", "motion_concepts"} <= asked) == ("motion" in types and kind != "salf")
        assert ({"texts", "dual_encoder", "concepts"} <= asked) == (types != ["motion"])
        assert ({"prompts", "maps"} <= asked) == kind.endswith("salf")
        assert ("readings" in asked) == ("motion" in types and kind.startswith("read"))
        assert {"poses", "motion_concepts"} <= asked or not {"poses", "motion_concepts", "pose_clips"} & asked
        assert types != ["motion"] or not {"texts", "dual_encoder", "concepts", "candidates"} & asked


def test_unknown_data_set_names_the_nearest(project):
    with pytest.raises(ConfigError, match="did you mean `ucf101`"):
        dataset(load(project / "config.yaml"), "ucf-101")


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1,")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="mapping"):
        load(tmp_path / "list.yaml")


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe", b"a: " + b"9" * 9000, b"a: 2001-99-99", b"[" * 9000, b"a: !!bool x", LAUGHS.encode(), b"a: \0"],
)
def test_hostile_text_is_one_short_error(tmp_path, text):
    (tmp_path / "hostile.yaml").write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "hostile.yaml")
    assert len(str(caught.value)) < 5000
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_reference_follows_the_schema(project):
    from pipeline.config import describe

    assert (project / "docs" / "configuration.md").read_text() == describe(), (
        "run `python -m pipeline.config > docs/configuration.md`"
    )


def test_a_profile_stands_below_what_a_section_says(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "datasets:\n"
        "  mine: { profile: small, motion: { pose_clips: { length: 12 } } }\n"
        "  fold: { dataset: mine, data: { index: { seed: 1 } } }\n"
        "  wrong: { profile: large }\n"
    )
    datasets = load(path).datasets
    for name in ("mine", "fold"):
        motion = datasets[name].motion
        assert (motion.poses.model, motion.pose_clips.length, motion.pose_clips.per_video) == (
            "small/movenet-thunder",
            12,
            7,
        )
        assert datasets[name].backbone.features.model == "small/efficientnet-lite0"
    with pytest.raises(ConfigError, match=r"datasets\.wrong\.profile"):
        _ = datasets["wrong"]
