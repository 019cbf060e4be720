"""The comparisons as changes of a configuration."""

from __future__ import annotations

import pytest

from pipeline.ablations.variants import Variant, changed
from pipeline.config import Dataset, load
from pipeline.methods.dance.comparisons.tables import section_of, seeded, tables
from pipeline.rules.graph import settings_digest
from pipeline.settings import ConfigError


@pytest.fixture(scope="module")
def configured(project):
    return load(project / "config.yaml").datasets


def test_changes_reach_the_named_setting_and_nothing_else():
    before = Dataset()
    candidates = {"object": "o.txt", "scene": "s.txt"}
    after = changed(before, {"motion.pose_clips.length": 10, "context.texts.candidates": candidates})
    assert after.motion.pose_clips.length == 10 and after.context.texts.candidates == candidates
    assert after.motion.pose_clips.per_video == before.motion.pose_clips.per_video
    assert before.motion.pose_clips.length == 25
    differ = {name for name in ("index", "poses", "pose_clips", "motion_concepts", "features", "concept_layers")}
    differ = {name for name in differ if settings_digest(before, name) != settings_digest(after, name)}
    assert differ == {"pose_clips", "motion_concepts", "concept_layers"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"motion.pose_clips.lenght": 10}, "did you mean `length`"),
        ({"motion.pose_clip.length": 10}, "there is no setting `motion.pose_clip.length`"),
        ({"motion.pose_clips.length": 1}, "greater than or equal to 2"),
        ({"length": 3}, "unknown key"),
    ],
)
def test_wrong_changes_are_told(changes, message):
    with pytest.raises(ConfigError, match=message):
        changed(Dataset(), changes, "variant `x`")


def test_the_first_seed_is_the_run_itself(configured):
    section = configured["penn_action"]
    assert seeded(section, 0).model_dump() == section.model_dump()
    assert settings_digest(seeded(section, 1), "index") != settings_digest(section, "index")
    # What does not see validation videos is made once for all seeds.
    for name in ("poses", "keyframes", "pose_clips", "features", "dual_encoder", "texts"):
        assert settings_digest(seeded(section, 1), name) == settings_digest(section, name), name
    drawn = changed(section, {"motion.pose_clips.selection": "random", "motion.motion_concepts.method": "kmeans"})
    assert seeded(drawn, 3).motion.pose_clips.seed == seeded(drawn, 3).motion.motion_concepts.seed == 3


def test_every_variant_of_every_configured_data_set_is_a_valid_configuration(configured):
    for section in configured.values():
        for table in tables(section).values():
            names = [variant.name for variant in table.variants]
            assert len(names) == len(set(names)) >= 2
            for variant in table.variants:
                kind = "read+dance" if variant.name.startswith("read: ") else "dance"
                assert section_of(section, variant, 1).bottleneck.concept_layers.kinds == [kind]


def test_tables_differ_in_what_they_say_they_compare(configured):
    found = tables(configured["penn_action"])
    stage_of = {
        "clustering": "motion_concepts",
        "keyframes": "pose_clips",
        "clips": "pose_clips",
        "number": "motion_concepts",
        "pose_filters": "pose_clips",
        "backbones": "features",
        "reading_motion": "concept_layers",
    }
    for name, stage in stage_of.items():
        digests = [
            settings_digest(section_of(configured["penn_action"], variant, 0), stage)
            for variant in found[name].variants
        ]
        # L = 25 and S = 12 are the run's own; no variant of the grid of Table 4 is.
        assert len(set(digests)) == len(digests), name
    texts = [str(section_of(configured["penn_action"], variant, 0).context) for variant in found["filters"].variants]
    assert len(set(texts)) == 2


def test_paper_figures_of_the_supplement(configured):
    found = tables(configured["penn_action"])
    number = {variant.name: variant.paper.get("penn_action") for variant in found["number"].variants}
    assert number == {"partition 1": 98.1, "partition 2": 98.1, "partition 3": 97.9, "partition 4": None}
    grid = {variant.name: variant.paper["ucf101"] for variant in found["clips"].variants}
    assert grid["S = 10, L = 25"] == 87.5 and grid["S = 5, L = 50"] == 86.8 and len(grid) == 9
    models = {variant.head: variant.paper for variant in tables(configured["demo"])["baselines"].variants}
    assert models["lf-cbm-entangled"]["penn_action"] == 96.3 and models["backbone"]["ucf101"] == 88.4


def test_a_configuration_can_add_variants_and_tables():
    own = {
        "backbones": {"CLIP": {"backbone.features.model": "clip"}},
        "leakage": {"rank 4": {"bottleneck.concept_layers.leakage_rank": 4}},
    }
    found = tables(Dataset(ablations=own))
    assert [variant.name for variant in found["backbones"].variants] == ["as configured", "CLIP"]
    assert [variant.name for variant in found["leakage"].variants] == ["as configured", "rank 4"]
    assert "dual_encoders" not in found  # one line is no comparison
    wrong = Variant("x", {"backbone.features.modle": "clip"})
    with pytest.raises(ConfigError, match="variant `x`"):
        section_of(Dataset(), wrong, 0)
