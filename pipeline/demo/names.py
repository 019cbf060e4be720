"""Classes of the demo and the names of its files, without what draws them: the Snakefile asks while it is parsed."""

from __future__ import annotations

from typing import NamedTuple

SUFFIXES = {"videos": ".mp4", "images": ".png"}


class ActionClass(NamedTuple):
    """A class of the demo and what its videos show."""

    name: str
    motion: str
    object: str
    scene: str


CLASSES: tuple[ActionClass, ...] = (
    ActionClass("ball_lift", "lift", "ball", "gym"),
    ActionClass("ball_squat", "squat", "ball", "gym"),
    ActionClass("barbell_lift", "lift", "barbell", "gym"),
    ActionClass("barbell_squat", "squat", "barbell", "gym"),
    ActionClass("beach_wave", "wave", "umbrella", "beach"),
    ActionClass("beach_kick", "kick", "umbrella", "beach"),
    ActionClass("street_wave", "wave", "umbrella", "street"),
    ActionClass("street_kick", "kick", "umbrella", "street"),
)

# Pictures have no motion: what tells their classes apart is an object and a scene, and neither is enough alone.
IMAGE_OBJECTS = ("ball", "umbrella", "guitar")
IMAGE_SCENES = ("beach", "street")


def places(section) -> list[str]:
    """Paths of all clips, or pictures, below ``results/<data set>``."""
    settings = section.demo.generate
    counts = {"train": settings.train_per_class, "test": settings.test_per_class}
    if settings.media == "videos":
        counts["shifted"] = settings.shifted_per_class
        classes = [entry.name for entry in CLASSES]
    else:
        classes = [f"{thing}_{scene}" for thing in IMAGE_OBJECTS for scene in IMAGE_SCENES]
    suffix = SUFFIXES[settings.media]
    return [
        f"demo/{settings.media}/{name}_{split}_{index:03d}{suffix}"
        for split, count in counts.items()
        for name in classes
        for index in range(count)
    ]
