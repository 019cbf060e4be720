"""Stage `graph`: one scene graph per video, from tables or from what a detector finds in the videos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from pipeline.data.table import read_videos
from pipeline.graphs import geometry
from pipeline.graphs.build import Box, Built, Relation, vocabulary
from pipeline.graphs.build import build as build_scene
from pipeline.graphs.rows import CORNERS
from pipeline.graphs.scene import Scenes, joined
from pipeline.graphs.settings import Detect, Graph
from pipeline.jobs import stage

ARRAYS = ("offsets", "times", "node_class", "present", "box", "edges", "relations")


def relation_names(given: Iterable[str], settings: Graph) -> list[str]:
    """R of a data set; a graph without any has one that never holds."""
    own = sorted(set(given)) if settings.relations in ("given", "both") else []
    derived = [name for name in geometry.NAMES if settings.relations in ("geometric", "both")]
    twice = set(own) & set(derived)
    if twice:
        raise stage.StageError(
            f"relations of the table have names of geometric ones ({', '.join(sorted(twice))}); rename them, or set "
            f"graphs.graph.relations to given"
        )
    return [*own, *derived] or ["none"]


def read_scenes(job: stage.Job, with_features: bool = True) -> tuple[Scenes, dict]:
    """Scene graphs of all shards given, with the features of their nodes; and what their artifacts say of them.

    Raises:
        StageError: graphs and features do not fit, differ in classes or relations, or a feature is not finite.
    """
    parts, described = [], None
    features = list(job.read_arrays("nodes")) if with_features else []
    for number, (arrays, attributes) in enumerate(job.read_arrays("graph")):
        own = {name: attributes[name] for name in ("node_classes", "relation_names", "topology")}
        if described is not None and own != described:
            raise stage.StageError("shards of the graphs differ in their classes or relations; run the pipeline again")
        described = own
        values = None
        if with_features:
            values = features[number][0]["features"]
            if features[number][1]["video_id"] != attributes["video_id"] or len(values) != len(arrays["times"]):
                raise stage.StageError("features of nodes belong to other graphs; run the pipeline again")
            if not np.isfinite(values).all():
                raise stage.StageError("a feature of a node is not finite; look at them with `conceptreel inspect`")
        if attributes["video_id"]:
            columns = {name: arrays[name] for name in ARRAYS}
            parts.append(Scenes(attributes["video_id"], **columns, features=values))
    if not parts:
        raise stage.StageError("no video has a scene graph; look at the stage `graph` with `conceptreel inspect`")
    return joined(parts).trimmed(), described


def _grouped(job: stage.Job, wanted: set[str]) -> tuple[dict[str, list[Box]], dict[str, list[Relation]], list, set]:
    """Rows of the tables by video, of those that are wanted; classes of nodes, and names of relations, of all."""
    boxes, _ = job.read_table("boxes")
    related, _ = job.read_table("relations")
    of_boxes: dict[str, list[Box]] = defaultdict(list)
    columns = [boxes[name].to_pylist() for name in ("video_id", "frame", "time_s", "node", "class", *CORNERS)]
    for key, frame, time, node, kind, *corners in zip(*columns, strict=True):
        if key in wanted:
            of_boxes[key].append(Box(frame, time, node, kind, tuple(corners)))
    of_relations: dict[str, list[Relation]] = defaultdict(list)
    columns = [related[name].to_pylist() for name in ("video_id", "frame", "subject", "object", "relation")]
    for key, *rest in zip(*columns, strict=True):
        if key in wanted:
            of_relations[key].append(Relation(*rest))
    return of_boxes, of_relations, boxes["class"].unique().to_pylist(), set(related["relation"].unique().to_pylist())


def _built(job: stage.Job, settings: Graph, ids: list[str]) -> tuple[dict[str, Built], list[str], list[str]]:
    boxes, related, kinds, given = _grouped(job, set(ids))
    classes, names = vocabulary(kinds, settings.person), relation_names(given, settings)
    found = {
        key: build_scene(key, boxes[key], related.get(key, []), classes, names, settings)
        for key in ids
        if boxes.get(key)
    }
    return found, classes, names


def build(job: stage.Job) -> None:
    """Write the graphs of one shard."""
    settings = Graph.model_validate(job.settings["graph"])
    videos = read_videos(job)
    ids = videos.video_id.tolist()
    if "detect" in job.settings:
        from pipeline.graphs.detect import detected  # torch, and a network

        found, failed, classes = detected(job, videos, Detect.model_validate(job.settings["detect"]))
        names = relation_names((), settings)
        graphs = {key: build_scene(key, boxes, [], classes, names, settings) for key, boxes in found.items()}
    else:
        graphs, classes, names = _built(job, settings, ids)
        failed = {key: "no box of it is in graphs.tables" for key in ids if key not in graphs}
    more = sum(own.left_out for own in graphs.values())
    if more:
        job.warn(f"{more} nodes have no place among graphs.graph.nodes: {settings.nodes}; those seen longest are kept")
    alone = sum(not own.has_person for own in graphs.values())
    if alone:
        job.warn(f"{alone} videos show no `{settings.person}`: their first node is masked")
    job.check_failures(failed, len(ids), settings.max_failed_fraction, slack=1)
    parts = [own.scene for own in graphs.values()]
    scenes = joined(parts) if parts else None
    arrays = {name: getattr(scenes, name) if scenes else _empty(name, settings, len(names)) for name in ARRAYS}
    content = {
        "video_id": list(graphs),
        "node_classes": classes,
        "relation_names": names,
        "topology": settings.topology,
    }
    job.write_arrays("graph", arrays, content, n_ok=len(graphs), failed=failed)


def _empty(name: str, settings: Graph, relations: int) -> np.ndarray:
    from pipeline.graphs.build import n_edges

    m, e = settings.nodes, n_edges(settings)
    shapes = {
        "offsets": ((1,), np.int64),
        "times": ((0,), np.float32),
        "node_class": ((0, m), np.int16),
        "present": ((0, m), bool),
        "box": ((0, m, 4), np.float32),
        "edges": ((0, e, 2), np.int16),
        "relations": ((0, e, relations), bool),
    }
    return np.zeros(*shapes[name])


if __name__ == "__main__":
    stage.run("graph", build)
