"""What a model makes of one clip, and the picture that shows what a concept means there, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, Reason
from pipeline.methods.dance.explain.overlay import Scale, draw, middles, panel
from pipeline.methods.dance.explain.regions import View
from pipeline.motion.drawing import draw_strip
from pipeline.motion.skeleton import skeleton


@dataclass(frozen=True)
class Seen:
    """What a model makes of one clip.

    Attributes:
        frames: uint8 ``[T, size, size, 3]``, the middle square as the model sees it.
        times: of the frames, in seconds, ``[T]``.
        feature: ``[1, D]``.
        maps: concept maps ``[S, rows, columns, M - m]``; None for a model without maps.
        view: of the original picture; None for a model without maps.
        read: what was read of the video ``[1, n_read]``; None for a model that reads nothing.
    """

    frames: np.ndarray
    times: np.ndarray
    feature: np.ndarray
    maps: np.ndarray | None
    view: View | None
    read: np.ndarray | None = None


def in_words(unseen: dict[str, Any] | None) -> str:
    """What `ConceptModel.unseen` tells, as a sentence; nothing where it tells nothing."""
    if unseen is None:
        return ""
    far, limit = f"{unseen['distance']:.1f}", f"{unseen['limit']:.1f}"
    if unseen["flagged"]:
        return f"UNLIKE ALL TRAINING VIDEOS, do not rely on it: distance {far}, and {limit} is the limit"
    return f"like the training videos: distance {far} of at most {limit}"


def medoid_of(model: ConceptModel, concept: int) -> np.ndarray | None:
    """Representative pose sequence ``[L, J, 2]`` of a motion concept; None where there is none."""
    if model.types[concept] != "motion" or not len(model.medoids):
        return None
    return model.medoids[model.types[:concept].count("motion")]


def scale_of(model: ConceptModel, concept: int) -> Scale | None:
    """The heat of a located concept; None where the model does not know it."""
    if "heat" not in model.layer or concept < model.n_whole:
        return None
    seen, full = map(float, model.layer["heat"][:, concept - model.n_whole])
    return Scale(seen, full) if full > seen else None


def where(model: ConceptModel, reason: Reason, concept_map: np.ndarray) -> str:
    """Why a located concept has no heatmap in a clip, in words; empty where it has one.

    Args:
        concept_map: its map ``[S, rows, columns]``.
    """
    scale = scale_of(model, reason.index)
    if reason.present is False:
        return f"{reason.said}: nothing to show"
    if scale is None:
        return f"{reason.said}: not located, the model does not know how warm a place is that shows it"
    if concept_map.max() <= scale.seen:
        return f"{reason.said}: not located, no place is as warm as where training videos show it"
    return ""


@dataclass(frozen=True)
class Picture:
    """What a concept looks like in a clip.

    Attributes:
        pictures: uint8 ``[n, H, W, 3]``, side by side in time; one for the strip of a medoid.
        title, captions, scale: see `pipeline.methods.dance.explain.overlay.panel`.
    """

    pictures: np.ndarray
    title: str
    captions: list[str]
    scale: Scale | None

    def strip(self) -> np.ndarray:
        """All in one, uint8 ``[H', W', 3]``."""
        return panel(self.pictures, self.title, self.captions, self.scale)

    def frames(self) -> list[np.ndarray]:
        """One after the other, uint8 ``[H', W', 3]`` each."""
        return [
            panel(picture[None], self.title, self.captions[place : place + 1], self.scale)
            for place, picture in enumerate(self.pictures)
        ]


def picture_of(model: ConceptModel, reason: Reason, seen: Seen | None = None) -> Picture | None:
    """A motion as its medoid, a located concept that the clip shows as its heatmap.

    Args:
        seen: the clip; only heatmaps need it.

    Returns:
        None for a concept that is only a text, is absent, or is not located; see `where`.
    """
    title = f"{reason.said}   {reason.type}, activation {reason.activation:+.2f}"
    medoid = medoid_of(model, reason.index)
    if medoid is not None:
        return Picture(draw_strip(medoid, skeleton(model.about["skeleton"]))[None], title, [], None)
    if seen is None or seen.maps is None or seen.view is None or reason.index < model.n_whole:
        return None
    concept_map = seen.maps[..., reason.index - model.n_whole]
    scale = scale_of(model, reason.index)
    if scale is None or where(model, reason, concept_map):
        return None
    times = seen.times[middles(len(concept_map), len(seen.times))]
    captions = [f"{time:.2f} s" for time in times]
    return Picture(draw(seen.frames, concept_map, seen.view, scale), title, captions, scale)
