from __future__ import annotations

import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from pipeline.demo.classes import CLASSES, MOTIONS, OBJECTS, SCENES, ActionClass, ceilings, plan
from pipeline.demo.clips import DEMO_SEEDS, POOL_ACTORS, UNSEEN_ACTORS
from pipeline.demo.names import places
from pipeline.demo.plan import place, planned
from pipeline.demo.settings import Generate


def test_ceilings_of_the_demo():
    assert ceilings(CLASSES) == {
        "motion": 4 / 8,
        "object": 3 / 8,
        "scene": 3 / 8,
        "motion+object": 6 / 8,
        "motion+scene": 6 / 8,
        "object+scene": 4 / 8,
        "all": 1.0,
    }


def test_ceilings_of_a_small_table():
    table = [
        ActionClass("a", "lift", "ball", "gym"),
        ActionClass("b", "lift", "box", "gym"),
        ActionClass("c", "bow", "box", "gym"),
    ]
    result = ceilings(table)
    assert result["scene"] == pytest.approx(1 / 3)
    assert result["motion"] == result["object"] == pytest.approx(2 / 3)
    assert result["motion+object"] == result["all"] == 1.0
    with pytest.raises(ValueError, match="at least one class"):
        ceilings([])


def test_classes_use_the_vocabulary():
    assert len(MOTIONS) == len(OBJECTS) == len(SCENES) == len(CLASSES) == 8
    for entry in CLASSES:
        assert entry.motion in MOTIONS and entry.object in OBJECTS and entry.scene in SCENES


def test_every_kind_of_concept_is_necessary():
    def differences(one, two):
        return [name for name in ("motion", "object", "scene") if getattr(one, name) != getattr(two, name)]

    alone = [tuple(differences(a, b)) for a in CLASSES for b in CLASSES if a.name < b.name]
    assert Counter(d for d in alone if len(d) == 1) == {
        ("motion",): 4,
        ("object",): 2,
        ("scene",): 2,
    }


def test_plan_is_balanced_and_repeatable():
    clips = plan()
    assert clips == plan() and clips != plan(seed=1)
    counts = Counter((clip.split, clip.label) for clip in clips)
    sizes = {"train": 20, "test": 10, "shifted": 6}
    assert counts == {(s, label): n for s, n in sizes.items() for label in range(8)}
    assert len({clip.video_id for clip in clips}) == len(clips) == 288
    for clip in clips:
        entry = CLASSES[clip.label]
        assert clip.class_name == entry.name
        assert (clip.spec.motion, clip.spec.object) == (entry.motion, entry.object)


def test_plan_uses_each_demo_seed_once():
    seeds = [clip.spec.seed for clip in plan()]
    assert len(set(seeds)) == len(seeds)
    assert all(seed in DEMO_SEEDS for seed in seeds)


def test_actors_are_spread_and_shifted_actors_are_unseen():
    clips = plan()
    assert all(clip.group == clip.spec.actor for clip in clips)
    for split, pool, at_least in (("train", POOL_ACTORS, 12), ("test", POOL_ACTORS, 10)):
        for label in range(8):
            actors = {c.group for c in clips if c.split == split and c.label == label}
            assert actors <= set(pool) and len(actors) >= at_least
    shifted = {clip.group for clip in clips if clip.split == "shifted"}
    assert shifted <= set(UNSEEN_ACTORS)
    assert not shifted & {clip.group for clip in clips if clip.split != "shifted"}


def test_shifted_swaps_the_scenes_that_are_habit_only():
    for clip in plan():
        entry = CLASSES[clip.label]
        if clip.split != "shifted" or entry.scene != "gym":
            assert clip.spec.scene == entry.scene
    for label in range(4):
        scenes = [c.spec.scene for c in plan() if c.split == "shifted" and c.label == label]
        assert scenes == ["beach", "street"] * 3


def test_negative_count_is_refused():
    with pytest.raises(ValueError, match="test_per_class must be at least 0, got -1"):
        plan(test_per_class=-1)


@pytest.mark.parametrize("media", ["videos", "images"])
def test_names_are_known_without_planning_clips(media):
    settings = Generate(media=media, train_per_class=3, test_per_class=2, shifted_per_class=1)
    section = SimpleNamespace(demo=SimpleNamespace(generate=settings))
    assert places(section) == [f"demo/{place(clip, settings)}" for clip in planned(settings)]
    code = "import sys, pipeline.demo.names, pipeline.rules.snakemake; print({'numpy', 'cv2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
