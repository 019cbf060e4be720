"""Which videos the demo has, without making them: the workflow asks while it is parsed."""

from __future__ import annotations

from pipeline.config import Generate
from pipeline.data.lists import Entry
from pipeline.demo.classes import PlannedClip, plan

VIDEO_FOLDER = "videos"


def planned(settings: Generate) -> list[PlannedClip]:
    """All clips of one configuration of the generator."""
    return plan(settings.seed, settings.train_per_class, settings.test_per_class, settings.shifted_per_class)


def planned_entries(settings: Generate) -> list[Entry]:
    """The same as entries of a data set, before validation is carved off."""
    return [
        Entry(
            video_id=clip.video_id,
            path=f"{VIDEO_FOLDER}/{clip.video_id}.mp4",
            label=clip.label,
            class_name=clip.class_name,
            split=clip.split,
            listed=clip.split,
            group=str(clip.group),
        )
        for clip in planned(settings)
    ]
