"""HAA500 (Chung et al. 2021): 500 classes of 20 clips; with a class list also a part of it, such as HAA-100."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.entries import Entry, video_id
from pipeline.data.sets.folders import class_folders
from pipeline.data.sets.listing import Listing, folder_of, own_class_list

CLASSES = 500
# DANCE trains on the first 16 clips of a class and tests on the last four. The authors of HAA500 call one of these
# four validation; here validation is carved from train, as everywhere.
TRAIN, TEST = 16, 4


def read(settings, root: Path) -> Listing:
    """``video/arm_wave/arm_wave_000.mp4`` and so on: the names follow from the class, so what is missing has a name."""
    videos = folder_of(root, settings.videos, "video", "videos")
    listed = own_class_list(settings, root)
    names = listed or list(class_folders(root / videos))
    entries = []
    for label, name in enumerate(names):
        for number in range(TRAIN + TEST):
            path = f"{name}/{name}_{number:03d}.mp4"
            split = "train" if number < TRAIN else "test"
            entries.append(Entry(video_id(path), path, (label,), (name,), split, split))
    count = len(names) if listed else CLASSES
    return Listing(names, entries, videos, {"train": TRAIN * count, "test": TEST * count})
