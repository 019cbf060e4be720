"""UCF-101 (Soomro, Zamir & Shah 2012): 13,320 clips of 101 classes, three official splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.data.sets.listing import Listing, find_file, folder_of, grouping, own_class_list
from pipeline.data.sets.path_lists import entries_of_lists

PUBLISHED = {
    1: {"train": 9537, "test": 3783},
    2: {"train": 9586, "test": 3734},
    3: {"train": 9624, "test": 3696},
}
# Clips of one group are cut from one source video; splits that part a group measure memory.
GROUP_PATTERN = r"_(?P<group>g\d+)_c\d+"
LISTS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask", "official")


def read(settings, root: Path) -> Listing:
    """One of the official splits, with the source video as the group."""
    names = own_class_list(settings, root, "ucf101")
    lists = {
        split: find_file(root, f"{split}list{settings.official_split:02d}.txt", *LISTS) for split in ("train", "test")
    }
    group_of = grouping(GROUP_PATTERN)
    entries = [replace(entry, group=group_of(entry.path)) for entry in entries_of_lists(lists, names, offset=1)]
    return Listing(
        names, entries, folder_of(root, settings.videos, "UCF-101", "videos"), PUBLISHED[settings.official_split]
    )
