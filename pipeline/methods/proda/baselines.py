"""What needs no network: which objects are there, how they are related, and what the prompt says."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from pipeline.graphs.scene import Scenes


def presence(scenes: Scenes, classes: int) -> np.ndarray:
    """Which classes of nodes a video shows at all: ``[n, classes - 1]`` of 0 and 1, without the person."""
    owner = np.repeat(np.arange(len(scenes)), np.diff(scenes.offsets))
    result = np.zeros((len(scenes), classes))
    frame, place = np.nonzero(scenes.present)
    kind = scenes.node_class[owner[frame], place]
    result[owner[frame][kind >= 0], kind[kind >= 0]] = 1
    return result[:, 1:]


def relations(scenes: Scenes, classes: int) -> np.ndarray:
    """How often each relation holds at each class, as a part of the frames, and how often the class is seen.

    The order of frames is not in it: ``[n, classes · (R + 1)]``.
    """
    owner = np.repeat(np.arange(len(scenes)), np.diff(scenes.offsets))
    kinds = scenes.relations.shape[2]
    result = np.zeros((len(scenes), classes, kinds + 1))
    frame, edge, relation = np.nonzero(scenes.relations)
    target = scenes.node_class[owner[frame], np.maximum(scenes.edges[owner[frame], edge, 1], 0)]
    np.add.at(result, (owner[frame][target >= 0], target[target >= 0], relation[target >= 0]), 1)
    frame, place = np.nonzero(scenes.present)
    kind = scenes.node_class[owner[frame], place]
    np.add.at(result, (owner[frame][kind >= 0], kind[kind >= 0], kinds), 1)
    return (result / np.diff(scenes.offsets)[:, None, None]).reshape(len(scenes), -1)


def regression(x: np.ndarray, truth: np.ndarray, wanted: list[np.ndarray]) -> list[np.ndarray]:
    """Logistic regressions, one per class, on standardised columns: probabilities ``[m, C]`` of each ``wanted``.

    A class that no row, or every row, has is given that share.
    """
    mean, deviation = x.mean(0), x.std(0)
    deviation = np.where(deviation > 0, deviation, 1)
    fitted = (x - mean) / deviation
    scaled = [(own - mean) / deviation for own in wanted]
    result = [np.zeros((len(own), truth.shape[1])) for own in wanted]
    for action, own in enumerate(truth.T):
        model = LogisticRegression(max_iter=500).fit(fitted, own) if 0 < own.sum() < len(own) else None
        for target, values in zip(result, scaled, strict=True):
            if len(values):
                target[:, action] = own.mean() if model is None else model.predict_proba(values)[:, 1]
    return result
