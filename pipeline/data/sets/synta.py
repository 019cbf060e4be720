"""Syn-TA, as far as it is to be rendered: its clips follow from the configuration, and no file need exist yet."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.entries import Entry, ListError, video_id
from pipeline.data.sets.listing import Listing
from pipeline.demo.synta.classes import COARSE, Clip, UnknownClip, planned


def split_of(clip: Clip, train_set: int, train_ids: int) -> str | None:
    """Split of a clip for who trains on a set, or on each of both in turn (0); None where it must not be seen.

    With both sets, plain clips and those with one unknown factor are splits of their own. With one set, `test` is what
    is known: validation clips of that set; `unknown` are those of the other one, whose train clips are not listed.
    """
    seen = clip.id <= train_ids
    if train_set == 0:
        if clip.factor:
            return clip.factor
        return ("plain_" if clip.background == "plain" else "") + ("train" if seen else "test")
    if clip.background == "plain":
        return None
    own = clip.set == train_set
    if clip.factor:
        return clip.factor if own == (clip.factor != "unknown_motion") else None
    if own:
        return "train" if seen else "test"
    return None if seen else "unknown"


def read(settings, root: Path) -> Listing:
    """All clips of ``data.index.rendered`` in the splits of ``data.index.train_set``; groups are identities."""
    chosen = settings.rendered
    names = [name for name in COARSE if not chosen.classes or name in chosen.classes]
    entries = []
    try:
        for clip in planned(chosen):
            split = split_of(clip, settings.train_set, chosen.train_ids)
            if split:
                label = names.index(clip.coarse)
                group = f"id_{clip.id}"
                entries.append(Entry(video_id(clip.path), clip.path, (label,), (clip.coarse,), split, split, group))
    except UnknownClip as error:
        raise ListError(f"data.index.rendered: {error}") from None
    return Listing(names, entries, "videos")
