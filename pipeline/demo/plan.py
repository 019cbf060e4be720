"""Which videos the demo has, without making them: the workflow asks while it is parsed."""

from __future__ import annotations

from pipeline.demo.classes import PlannedClip, plan, plan_images
from pipeline.demo.names import SUFFIXES
from pipeline.demo.settings import Generate


def planned(settings: Generate) -> list[PlannedClip]:
    """All clips, or pictures, of one configuration of the generator."""
    if settings.media == "images":
        return plan_images(settings.seed, settings.train_per_class, settings.test_per_class)
    return plan(settings.seed, settings.train_per_class, settings.test_per_class, settings.shifted_per_class)


def place(clip: PlannedClip, settings: Generate) -> str:
    """Path of a clip below the folder of the data set."""
    return f"{settings.media}/{clip.video_id}{SUFFIXES[settings.media]}"
