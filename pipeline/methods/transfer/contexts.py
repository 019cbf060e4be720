"""Which set, classes and factors a video has, and which role it has for who trains on one of the sets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.data.entries import DEVELOPMENT, video_id
from pipeline.data.sets.transfer_lists import listed
from pipeline.data.settings import Index
from pipeline.data.table import VideoTable
from pipeline.demo.synta.classes import COARSE, FACTORS, FINE, PARTNER, clip_of
from pipeline.jobs.stage import StageError

FOLDER = "videos/"


@dataclass(frozen=True)
class Contexts:
    """Of the videos of an index, n of them.

    Attributes:
        set: 1 or 2 ``[n]``; fine: index into ``fine_names`` of that set, −1 where lists do not tell it ``[n]``.
        label: of the coarse class ``[n]``.
        split: of the index ``[n]``.
        plain: whether the background is ``[n]``.
        development: bool ``[n]``: train or validation, plain ones with those whose identities they share.
        validation: bool ``[n]``, the part of it that choices are made on.
        fine_names: set → words of its fine classes.
        partner: of each coarse class the one that it is played backward, −1: none.
    """

    set: np.ndarray
    fine: np.ndarray
    label: np.ndarray
    split: np.ndarray
    plain: np.ndarray
    development: np.ndarray
    validation: np.ndarray
    fine_names: dict[int, list[str]]
    partner: np.ndarray

    def take(self, rows: np.ndarray) -> Contexts:
        """These videos alone."""
        own = {name: value for name, value in vars(self).items() if name not in ("fine_names", "partner")}
        return replace(self, **{name: value[rows] for name, value in own.items()})

    def trained(self, train_set: int, plain: bool = False) -> np.ndarray:
        """Videos that may be learned from."""
        return self.development & (self.set == train_set) & (self.plain == plain)

    def role(self, name: str, train_set: int, plain: bool = False) -> np.ndarray:
        """Videos to judge by: known, unknown, or those with one unknown factor."""
        own = self.set == train_set
        if name in FACTORS:
            return (self.split == name) & (own == (name != "unknown_motion"))
        judged = np.isin(self.split, ("test", "unknown", "plain_test")) & (self.plain == plain)
        return judged & (own if name == "known" else ~own)


def sentence(name: str) -> str:
    """What a dual encoder reads of a class."""
    return f"a video of {name}"


def partners(names: list[str]) -> np.ndarray:
    """Of each class the one that it is played backward, −1: none."""
    return np.array([names.index(PARTNER[name]) if PARTNER.get(name) in names else -1 for name in names])


def _rendered(videos: VideoTable) -> tuple[list[int], list[str], list[bool], dict[int, list[str]]]:
    clips = [clip_of(path.removeprefix(FOLDER)) for path in videos.path]
    every = [(coarse, fine) for coarse in COARSE for fine in FINE[coarse].values()]
    names = {s: [fine.words for coarse, fine in every if fine.set == s] for s in (1, 2)}
    present = {(clip.set, clip.words) for clip in clips}
    names = {s: [words for words in own if (s, words) in present] for s, own in names.items()}
    return [clip.set for clip in clips], [clip.words for clip in clips], [c.background == "plain" for c in clips], names


def contexts_of(videos: VideoTable, index: Index, root: Path) -> Contexts:
    """Raises: StageError: the data set has no sets of contexts, or a video is in no list of them."""
    if index.source == "synta":
        sets, fine, plain, names = _rendered(videos)
    elif index.source in ("k400_ta", "ssv2_ta"):
        _, found, _ = listed(index, root)
        by_id = {video_id(item.path): item.context for item in found}
        prefix = f"{index.videos.strip('/')}/" if index.videos else ""
        own = [
            by_id.get(key) or by_id.get(video_id(path.removeprefix(prefix).removeprefix(FOLDER)))
            for key, path in zip(videos.video_id, videos.path, strict=True)
        ]
        if None in own:
            raise StageError(f"`{videos.video_id[own.index(None)]}` is in no list any more; run the stage index again")
        sets, fine, plain = [item.set for item in own], [item.fine for item in own], [False] * len(own)
        names = {s: sorted({item.fine for item in own if item.set == s and item.fine}) for s in (1, 2)}
    else:
        raise StageError(
            f"transfer compares two sets of contexts, and data.index.source: {index.source} has none; take synta, "
            f"k400_ta or ssv2_ta"
        )
    label, split = videos.single_label("transfer"), videos.split
    shown, grouped = np.array(plain, bool), videos.group
    validating = set(grouped[split == "val"]) - {None}
    plain_train = split == "plain_train"
    return Contexts(
        np.array(sets, int),
        np.array(
            [names[s].index(words) if words in names[s] else -1 for s, words in zip(sets, fine, strict=True)], int
        ),
        label.astype(np.int64),
        split,
        shown,
        np.isin(split, DEVELOPMENT) | plain_train,
        (split == "val") | (plain_train & np.isin(grouped, list(validating))),
        names,
        partners(videos.class_names),
    )
