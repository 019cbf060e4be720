"""Which videos the demo has, without making them: the workflow asks while it is parsed."""

from __future__ import annotations

from pipeline.config import Generate
from pipeline.data.entries import Entry
from pipeline.demo.classes import PlannedClip, plan, plan_images

SUFFIXES = {"videos": ".mp4", "images": ".png"}


def planned(settings: Generate) -> list[PlannedClip]:
    """All clips, or pictures, of one configuration of the generator."""
    if settings.media == "images":
        return plan_images(settings.seed, settings.train_per_class, settings.test_per_class)
    return plan(settings.seed, settings.train_per_class, settings.test_per_class, settings.shifted_per_class)


def place(clip: PlannedClip, settings: Generate) -> str:
    """Path of a clip below the folder of the data set."""
    return f"{settings.media}/{clip.video_id}{SUFFIXES[settings.media]}"


def planned_entries(settings: Generate) -> list[Entry]:
    """The same as entries of a data set, before validation is carved off."""
    return [
        Entry(
            video_id=clip.video_id,
            path=place(clip, settings),
            label=clip.label,
            class_name=clip.class_name,
            split=clip.split,
            listed=clip.split,
            group=str(clip.group),
        )
        for clip in planned(settings)
    ]
