"""The demo's classes, and the plan of its videos.

The table has two blocks, made so that no kind of concept is enough alone:

- four classes in the gym, (lift or squat) x (ball or barbell): two of them that share an object
  differ in the motion only, two that share a motion differ in the object only;
- four classes with an umbrella, (wave or kick) x (beach or street): pairs that differ in the
  motion only or in the scene only.

`ceilings` computes what any rule can reach that sees some of the factors only.

The plan has three splits. `train` and `test` share a pool of actors and show every class as the
table says. `shifted` asks whether a model relies on habit: its actors are unseen, and the classes
of the first block, for which the gym is a habit and no part of the definition, appear on the
beach and in the street in turn. The second block is defined by beach or street and keeps it; its
umbrella, which is a habit too, stays.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from pipeline.demo.clips import DEMO_SEEDS, POOL_ACTORS, UNSEEN_ACTORS, ClipSpec, sample_spec
from pipeline.demo.figure import MOTIONS
from pipeline.demo.names import CLASSES, IMAGE_OBJECTS, IMAGE_SCENES, ActionClass
from pipeline.demo.scenery import OBJECTS, SCENES

__all__ = [
    "CLASSES",
    "FACTORS",
    "MOTIONS",
    "OBJECTS",
    "SCENES",
    "ActionClass",
    "PlannedClip",
    "ceilings",
    "plan",
    "plan_images",
]

FACTORS = ("motion", "object", "scene")
_HABIT_SCENE = "gym"
_SHIFTED_SCENES = ("beach", "street")
_PLAN_STREAM = 7003
_IMAGE_STREAM = 7004


def ceilings(classes: Sequence[ActionClass] = CLASSES) -> dict[str, float]:
    """Best accuracy of any rule that sees only some factors, for equally frequent classes.

    Returns a dict from the factors joined by "+" ("motion", "motion+object", ...; "all" for the
    three together) to an accuracy in [0, 1].

    Raises:
        ValueError: if `classes` is empty.
    """
    if not classes:
        raise ValueError("ceilings needs at least one class")
    result = {}
    for count in range(1, len(FACTORS) + 1):
        for factors in combinations(FACTORS, count):
            seen: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
            for entry in classes:
                seen[tuple(getattr(entry, factor) for factor in factors)][entry.name] += 1
            # The best rule answers each thing it can see with the class most frequent there.
            right = sum(max(names.values()) for names in seen.values())
            name = "all" if count == len(FACTORS) else "+".join(factors)
            result[name] = right / len(classes)
    return result


@dataclass(frozen=True)
class PlannedClip:
    """One video of the demo: its class, split, what it shows and its group (the actor id)."""

    video_id: str
    class_name: str
    label: int
    split: Literal["train", "test", "shifted"]
    spec: ClipSpec
    group: int


def plan(
    seed: int = 0,
    train_per_class: int = 20,
    test_per_class: int = 10,
    shifted_per_class: int = 6,
) -> list[PlannedClip]:
    """Plans the demo's videos: balanced classes, actors spread evenly within every class.

    Raises:
        ValueError: if a count is negative, or there are more clips than demo seeds.
    """
    counts = {"train": train_per_class, "test": test_per_class, "shifted": shifted_per_class}
    for split, count in counts.items():
        if count < 0:
            raise ValueError(f"{split}_per_class must be at least 0, got {count}")
    total = len(CLASSES) * sum(counts.values())
    if total > len(DEMO_SEEDS):
        raise ValueError(f"{total} clips need more than the {len(DEMO_SEEDS)} demo seeds")
    rng = np.random.default_rng(np.random.SeedSequence([_PLAN_STREAM, seed]))
    clip_seeds = iter(rng.choice(len(DEMO_SEEDS), size=total, replace=False).tolist())

    clips = []
    for split, count in counts.items():
        pool = list(UNSEEN_ACTORS[: len(POOL_ACTORS)] if split == "shifted" else POOL_ACTORS)
        for label, entry in enumerate(CLASSES):
            actors = np.concatenate(
                [rng.permutation(pool) for _ in range(count // len(pool) + 1)]
            )  # every actor once before any actor twice
            for index in range(count):
                scene = entry.scene
                if split == "shifted" and scene == _HABIT_SCENE:
                    scene = _SHIFTED_SCENES[index % len(_SHIFTED_SCENES)]
                actor = int(actors[index])
                spec = sample_spec(
                    DEMO_SEEDS[next(clip_seeds)],
                    motion=entry.motion,
                    object=entry.object,
                    scene=scene,
                    actor=actor,
                )
                video_id = f"{entry.name}_{split}_{index:03d}"
                clips.append(PlannedClip(video_id, entry.name, label, split, spec, actor))
    return clips


def plan_images(seed: int = 0, train_per_class: int = 30, test_per_class: int = 10) -> list[PlannedClip]:
    """Plans the demo's pictures: one class for each object in each scene, motions at random.

    Raises:
        ValueError: if a count is negative, or there are more pictures than demo seeds.
    """
    counts = {"train": train_per_class, "test": test_per_class}
    if min(counts.values()) < 0:
        raise ValueError(f"pictures per class must be at least 0, got {counts}")
    names = [(object, scene) for object in IMAGE_OBJECTS for scene in IMAGE_SCENES]
    total = len(names) * sum(counts.values())
    if total > len(DEMO_SEEDS):
        raise ValueError(f"{total} pictures need more than the {len(DEMO_SEEDS)} demo seeds")
    rng = np.random.default_rng(np.random.SeedSequence([_IMAGE_STREAM, seed]))
    seeds = iter(rng.choice(len(DEMO_SEEDS), size=total, replace=False).tolist())
    pictures = []
    for split, count in counts.items():
        for label, (object, scene) in enumerate(names):
            for index in range(count):
                actor = int(rng.choice(POOL_ACTORS))
                spec = sample_spec(DEMO_SEEDS[next(seeds)], object=object, scene=scene, actor=actor)
                name = f"{object}_{scene}"
                pictures.append(PlannedClip(f"{name}_{split}_{index:03d}", name, label, split, spec, actor))
    return pictures
