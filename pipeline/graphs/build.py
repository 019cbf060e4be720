"""Boxes and relations of one video as arrays: which nodes there are, in which frames, and which edges join them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.graphs import geometry
from pipeline.graphs.scene import NO_NODE, Scenes, full, star
from pipeline.graphs.settings import Graph


class Box(NamedTuple):
    """A node in a frame; x1, y1, x2, y2 in [0, 1]."""

    frame: int
    time: float
    node: str
    kind: str
    corners: tuple[float, float, float, float]


class Relation(NamedTuple):
    """What holds between two nodes in a frame."""

    frame: int
    subject: str
    object: str
    name: str


class Built(NamedTuple):
    """One video: its scene graph, and how many nodes were left out because more were there than have a place."""

    scene: Scenes
    left_out: int
    has_person: bool


def vocabulary(kinds: Sequence[str], person: str) -> list[str]:
    """Classes of nodes: the person's first, the others sorted."""
    return [person, *sorted(set(kinds) - {person})]


def chosen_nodes(boxes: Sequence[Box], settings: Graph) -> tuple[list[tuple[str, str]], int, bool]:
    """Nodes that have a place, as (name, class), the person first; those seen longest come before others.

    Returns:
        The nodes, how many are left out, and whether there is a person; without one the first place stays empty.
    """
    seen = Counter((box.node, box.kind) for box in boxes)
    order = sorted(seen, key=lambda item: (-seen[item], item))
    person = next((item for item in order if item[1] == settings.person), None)
    others = [item for item in order if item != person]
    kept = others[: settings.nodes - 1]
    return [person or ("", ""), *kept], len(others) - len(kept), person is not None


def edges_of(nodes: list[str], related: set[tuple[str, str]], settings: Graph) -> list[tuple[int, int]]:
    """Directed edges between places of nodes.

    Args:
        related: names of nodes that some relation joins.
    """
    if settings.topology == "listed":
        place = {name: number for number, name in enumerate(nodes)}
        pairs = {(place[a], place[b]) for a, b in related if a in place and b in place and a != b}
        return sorted(pairs | {(b, a) for a, b in pairs})
    return star(settings.nodes) if settings.topology == "star" else full(settings.nodes)


def n_edges(settings: Graph) -> int:
    """E of a data set: what all pairs make, or those with the person."""
    return 2 * (settings.nodes - 1) if settings.topology == "star" else settings.nodes * (settings.nodes - 1)


def build(
    video_id: str,
    boxes: Sequence[Box],
    related: Sequence[Relation],
    classes: list[str],
    names: list[str],
    settings: Graph,
) -> Built:
    """The scene graph of one video.

    Args:
        boxes: at least one.
        classes: of nodes, see `vocabulary`; names: of relations, those of geometry among them where they are wanted.
    """
    nodes, left_out, has_person = chosen_nodes(boxes, settings)
    place = {name: number for number, (name, _) in enumerate(nodes) if name or number}
    frames = np.array(sorted({box.frame for box in boxes}))
    if len(frames) > settings.max_frames:
        frames = frames[np.linspace(0, len(frames) - 1, settings.max_frames).round().astype(int)]
    row = {int(frame): number for number, frame in enumerate(frames)}
    f, m = len(frames), settings.nodes
    times, present, box = np.zeros(f, np.float32), np.zeros((f, m), bool), np.zeros((f, m, 4), np.float32)
    for item in boxes:
        at = row.get(item.frame)
        if at is None:
            continue
        times[at] = item.time
        if item.node in place:
            present[at, place[item.node]], box[at, place[item.node]] = True, item.corners
    kind = np.full(m, NO_NODE, np.int16)
    for name, own in nodes:
        if name in place:
            kind[place[name]] = classes.index(own)

    pairs = edges_of([name for name, _ in nodes], {(item.subject, item.object) for item in related}, settings)
    edges = np.full((n_edges(settings), 2), NO_NODE, np.int16)
    edges[: len(pairs)] = np.array(pairs, np.int16).reshape(-1, 2)
    relations = np.zeros((f, len(edges), len(names)), bool)
    number_of = {name: number for number, name in enumerate(names)}
    edge_of = {pair: number for number, pair in enumerate(pairs)}
    for item in related if settings.relations in ("given", "both") else ():
        at, a, b = row.get(item.frame), place.get(item.subject), place.get(item.object)
        if at is None or a is None or b is None:
            continue
        for pair in ((a, b), (b, a)):  # both directions of a pair carry what holds between the two
            if pair in edge_of:
                relations[at, edge_of[pair], number_of[item.name]] = True
    if settings.relations in ("geometric", "both") and pairs:
        source, target = np.array(pairs).T
        found = geometry.relations(box[:, source], box[:, target])
        both = present[:, source] & present[:, target]
        where = [number_of[name] for name in geometry.NAMES]
        relations[:, : len(pairs), where] |= found & both[..., None]
    ends = np.maximum(edges, 0)
    relations &= (present[:, ends[:, 0]] & present[:, ends[:, 1]])[..., None]
    offsets = np.array([0, f], np.int64)
    scene = Scenes([video_id], offsets, times, kind[None], present, box, edges[None], relations)
    return Built(scene, left_out, has_person)
