"""What a model makes of one clip, and the picture that shows a reader what a concept means there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.overlay import draw
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


def medoid_of(model: ConceptModel, concept: int) -> np.ndarray | None:
    """Representative pose sequence ``[L, J, 2]`` of a motion concept; None where there is none."""
    if model.types[concept] != "motion" or not len(model.medoids):
        return None
    return model.medoids[model.types[:concept].count("motion")]


def pictures_of(model: ConceptModel, concept: int, seen: Seen | None = None) -> np.ndarray | None:
    """What a concept looks like, pictures side by side in time: a motion as its medoid, a located one as its heatmap.

    Args:
        seen: the clip; only heatmaps need it.

    Returns:
        uint8 ``[n, H, W, 3]``, one picture for a medoid's strip; None for a concept that is only a text.
    """
    medoid = medoid_of(model, concept)
    if medoid is not None:
        return draw_strip(medoid, skeleton(model.about["skeleton"]))[None]
    if seen is None or seen.maps is None or seen.view is None or concept < model.n_whole:
        return None
    return draw(seen.frames, seen.maps[..., concept - model.n_whole], seen.view)
