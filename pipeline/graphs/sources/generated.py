"""Boxes, relations and segments of the demo's scene graphs."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.graphs.rows import BOXES, CORNERS, RELATIONS, SEGMENTS, Tables, table

SOURCE = "generated"


def read(arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> Tables:
    """Tables of the truth that `pipeline.demo.generate_graphs` wrote."""
    ids = np.array(attributes["video_id"], object)
    fps, classes = attributes["fps"], np.array(attributes["node_classes"], object)
    video, frame, node = np.nonzero(arrays["present"])
    kind = classes[arrays["node_class"][video, node]]
    corners = arrays["box"][video, frame, node]
    boxes = {"video_id": ids[video], "frame": frame, "time_s": frame / fps, "node": kind, "class": kind}
    boxes |= {name: corners[:, number] for number, name in enumerate(CORNERS)} | {"source": [SOURCE] * len(video)}
    video, frame, other, relation = np.nonzero(arrays["relations"])
    relations = {
        "video_id": ids[video],
        "frame": frame,
        "time_s": frame / fps,
        "subject": [classes[0]] * len(video),
        "object": classes[arrays["node_class"][video, other + 1]],
        "relation": np.array(attributes["relations"], object)[relation],
        "source": [SOURCE] * len(video),
    }
    spans = arrays["spans"]
    video = spans[:, 0].astype(int)
    segments = {
        "video_id": ids[video],
        "class": np.array(attributes["class_names"], object)[spans[:, 1].astype(int)],
        "start_s": spans[:, 2],
        "end_s": spans[:, 3],
        "length_s": [arrays["present"].shape[1] / fps] * len(video),
        "subject": np.array(attributes["subject"], object)[video],
    }
    return Tables(table(BOXES, boxes), table(RELATIONS, relations), table(SEGMENTS, segments))
