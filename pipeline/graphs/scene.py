"""Scene graphs of many videos as arrays: F frames of all videos behind each other, M nodes, E edges, R relations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

# Arrays with a row per frame; the others have one per video.
PER_FRAME = ("times", "present", "box", "relations")
NO_NODE = -1


@dataclass(frozen=True)
class Scenes:
    """Scene graphs of n videos.

    Attributes:
        video_id: ``[n]``.
        offsets: int64 ``[n + 1]``; the frames of video i are ``offsets[i]`` to ``offsets[i + 1]``.
        times: float32 ``[F]``, seconds.
        node_class: int16 ``[n, M]``: 0 is a person, `NO_NODE` no node; node 0 is the person.
        present: bool ``[F, M]``.
        box: float32 ``[F, M, 4]`` as x1, y1, x2, y2 in [0, 1]; zero where the node is not seen.
        edges: int16 ``[n, E, 2]``, source and target; `NO_NODE` where there is no edge.
        relations: bool ``[F, E, R]``.
        features: float16 ``[F, M + 1, D]``, the whole frame before the nodes; None where they are not wanted.
    """

    video_id: list[str]
    offsets: np.ndarray
    times: np.ndarray
    node_class: np.ndarray
    present: np.ndarray
    box: np.ndarray
    edges: np.ndarray
    relations: np.ndarray
    features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.video_id)

    def take(self, rows: np.ndarray) -> Scenes:
        """Some videos, in that order."""
        frames = np.concatenate([np.arange(self.offsets[i], self.offsets[i + 1]) for i in rows] or [np.zeros(0, int)])
        lengths = np.diff(self.offsets)[rows]
        parts = {name: getattr(self, name)[frames] for name in PER_FRAME}
        return Scenes(
            [self.video_id[i] for i in rows],
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            node_class=self.node_class[rows],
            edges=self.edges[rows],
            features=None if self.features is None else self.features[frames],
            **parts,
        )

    def trimmed(self) -> Scenes:
        """The same without places of edges that no video uses; edges of a video stand first."""
        used = max(1, int((self.edges >= 0).all(2).sum(1).max(initial=0)))
        return dataclasses.replace(self, edges=self.edges[:, :used], relations=self.relations[:, :used])

    def frames(self, rows: np.ndarray, count: int, draw: np.random.Generator | None = None) -> np.ndarray:
        """Which frames a network sees of each video: int64 ``[len(rows), count]``, in order of time.

        They are spread evenly; with ``draw``, each is drawn from its even share. A shorter video repeats frames.
        """
        first, length = self.offsets[:-1][rows, None], np.diff(self.offsets)[rows, None]
        place = np.full((len(rows), count), 0.5) if draw is None else draw.random((len(rows), count))
        # What has no more frames than are wanted is shown whole either way.
        place = np.where(length <= count, 0.5, place)
        return first + np.minimum((np.arange(count) + place) * length / count, length - 1).astype(np.int64)


def joined(parts: Sequence[Scenes]) -> Scenes:
    """Videos of several shards behind each other; nodes and edges are padded to the largest.

    Raises:
        ValueError: there is none, or relations or features differ in number.
    """
    if not parts:
        raise ValueError("there is no scene graph")
    m, e = (max(getattr(part, name).shape[1] for part in parts) for name in ("node_class", "edges"))

    def padded(array: np.ndarray, size: int, value: float = 0) -> np.ndarray:
        widths = [(0, 0)] * array.ndim
        widths[1] = (0, size - array.shape[1])
        return np.pad(array, widths, constant_values=value)

    size_of = {"node_class": m, "present": m, "box": m, "edges": e, "relations": e, "features": m + 1}
    columns = {}
    for item in fields(Scenes)[2:]:
        arrays = [getattr(part, item.name) for part in parts]
        if arrays[0] is None:
            continue
        if item.name in size_of:
            empty = NO_NODE if item.name in ("node_class", "edges") else 0
            arrays = [padded(array, size_of[item.name], empty) for array in arrays]
        columns[item.name] = np.concatenate(arrays)
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    ids = [key for part in parts for key in part.video_id]
    return Scenes(ids, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), **columns)


def star(nodes: int) -> list[tuple[int, int]]:
    """Edges between the person, node 0, and every other node, in both directions."""
    return [(0, j) for j in range(1, nodes)] + [(j, 0) for j in range(1, nodes)]


def full(nodes: int) -> list[tuple[int, int]]:
    """Edges between all pairs of nodes."""
    return [(i, j) for i in range(nodes) for j in range(nodes) if i != j]
