"""Scene graphs of the floor as what the network takes."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.graphs.scene import Scenes
from pipeline.methods.proda.network import Graphs, Sizes


def sizes_of(scenes: Scenes, actions: int, node_classes: int, frames: int) -> Sizes:
    """What a network must be built for."""
    return Sizes(actions, scenes.relations.shape[2], node_classes, scenes.features.shape[2], frames)


def batch(scenes: Scenes, rows: np.ndarray, frames: int, draw: np.random.Generator | None = None) -> Graphs:
    """Some videos, of each as many frames as the network sees; see `Scenes.frames`."""
    chosen = scenes.frames(rows, frames, draw)
    present = scenes.present[chosen] & (scenes.node_class[rows] >= 0)[:, None]
    listed = (scenes.edges[rows] >= 0).all(2)
    parts = {
        "features": scenes.features[chosen].astype(np.float32),
        "box": scenes.box[chosen],
        "present": present,
        "node_class": np.maximum(scenes.node_class[rows], 0).astype(np.int64),
        "edges": np.maximum(scenes.edges[rows], 0).astype(np.int64),
        "listed": listed,
        "relations": scenes.relations[chosen].astype(np.float32),
    }
    return Graphs(**{name: torch.from_numpy(np.ascontiguousarray(part)) for name, part in parts.items()})
