"""UCF-101-SCUBA (Li et al. 2023): actors of UCF-101 before other backgrounds. For tests only, labels of UCF-101."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.data.entries import Entry, ListError, plain
from pipeline.data.sets.listing import Listing, folder_of, own_class_list
from pipeline.data.sets.path_lists import entries_of_lists

# The variant with backgrounds of Places365: 910 clips of the first test split, five backgrounds each.
PUBLISHED = {"test": 4550}
_NAME = re.compile(r"v_(?P<action>[A-Za-z]+)_(?P<group>g\d+)_c\d+")


def _checked(entry: Entry) -> Entry:
    """The label must agree with the class in the name: lists of this set circulate with other numberings."""
    match = _NAME.match(PurePosixPath(entry.path).name)
    if not match:
        return replace(entry, problem=entry.problem or "the name is none of UCF-101, such as v_Archery_g01_c01__0")
    if any(plain(name) != plain(match["action"]) for name in entry.class_names):
        listed = ", ".join(entry.class_names)
        return replace(entry, problem=f"the list says {listed}, the name says {match['action']}")
    return replace(entry, group=match["group"])


def read(settings, root: Path) -> Listing:
    """Lines of ``name number-of-frames label``, where the label counts the classes of UCF-101 from 0."""
    if set(settings.lists) != {"test"}:
        raise ListError("data.index.lists of UCF-101-SCUBA names one list, of the split `test`")
    names = own_class_list(settings, root, "ucf101")
    entries = entries_of_lists({"test": root / settings.lists["test"]}, names, offset=0)
    videos = folder_of(root, settings.videos, "videos", "rawframes")
    return Listing(names, [_checked(entry) for entry in entries], videos, PUBLISHED, test_only=True)
