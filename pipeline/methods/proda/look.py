"""New videos as scene graphs: detector, tracker, geometry and features, as they were for the videos trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.context.encoders import load_dual_encoder
from pipeline.data.readers import open_video
from pipeline.graphs.build import build
from pipeline.graphs.detect import ObjectDetector, look
from pipeline.graphs.nodes import of_classes, of_pictures
from pipeline.graphs.scene import Scenes
from pipeline.graphs.settings import Detect, Graph, Nodes
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.store.atomic import StageError


class Look:
    """A detector and an encoder, loaded once for many videos.

    Raises:
        StageError: the model was trained on graphs that nobody can find in a video.
    """

    def __init__(self, about: Mapping[str, Any], runtime: Runtime = AUTO):
        source = about["tables"]["source"]
        self.nodes = Nodes.model_validate(about["nodes"])
        if source != "detected" or self.nodes.source not in ("computed", "classes"):
            raise StageError(
                f"this model was trained on scene graphs of the source `{source}` with features `{self.nodes.source}`, "
                f"which cannot be found in a video; give the id of a video of its run, or train on graphs that are "
                f"detected (graphs.tables.source: detected)"
            )
        self.graph, self.detect = Graph.model_validate(about["graph"]), Detect.model_validate(about["detect"])
        self.classes, self.names = about["graphs"]["node_classes"], about["graphs"]["relation_names"]
        self.detector = ObjectDetector(self.detect.model, self.detect.revision, self.detect.sha256, runtime)
        self.encoder = None
        if self.nodes.source == "computed":
            self.encoder = load_dual_encoder(self.nodes.model, self.nodes.revision, self.nodes.sha256, runtime)

    def __call__(self, path: Path, frames: int) -> tuple[Scenes, np.ndarray]:
        """Scene graph of one video, and the pictures of the frames that the network sees.

        Raises:
            VideoError: it cannot be read. StageError: nothing was detected.
        """
        with open_video(path) as video:
            boxes = look(video, self.detector, self.detect)
            if not boxes:
                raise StageError(f"{path}: nothing was detected in it")
            scene = build(path.name, boxes, [], self.classes, self.names, self.graph).scene
            known = {box.frame: box.time for box in boxes}
            number_of = {np.float32(time): frame for frame, time in known.items()}
            wanted = [number_of[time] for time in scene.times]
            pictures = video.frames(wanted)
        if self.encoder is None:
            features = of_classes(scene, len(self.classes))
        else:
            features = of_pictures(pictures, scene.box, scene.present, self.encoder, self.nodes.margin)
        seen = scene.frames(np.zeros(1, int), frames)[0]
        return dataclasses.replace(scene, features=features), pictures[seen]
