"""What may be configured about the floor `graphs`: one model per stage."""

from typing import Literal

from pydantic import Field

from pipeline.settings import SHA256, Section


class Tables(Section):
    source: Literal["generated", "charades_ag", "cad120", "table", "detected"] = Field(
        "detected",
        description="of boxes and relations. generated: the demo's; charades_ag: pickles of Action Genome; "
        "cad120: the archive; table: any detector's files; detected: RT-DETR on the videos, linked by the tracker",
    )
    boxes: str = Field(
        "",
        description="Parquet or JSON lines with video_id, frame, node, class, x1…y2 (0–1); optional: time_s, score",
    )
    relations: str = Field("", description="likewise with video_id, frame, subject, object, relation")
    nodes: Literal["given", "class", "overlap"] = Field(
        "given",
        description="nodes of a table. given: its column `node`; class: one node per class; overlap: boxes of a class "
        "that overlap from frame to frame, for detectors that do not track",
    )
    detector_relations: bool = Field(False, description="CAD-120: use relations of a detector instead of the true ones")
    fps: float = Field(0, ge=0, description="frames per second of tables without time_s; 0: stop if it is needed")
    fps_file: str = Field("", description="Charades: CSV of `video_id,fps`; frames are numbered at native rates")


class Detect(Section):
    model: str = Field("PekingU/rtdetr_r50vd_coco_o365", description="RT-DETR; all of its classes become nodes")
    revision: str = "main"
    sha256: str = SHA256
    every: int = Field(8, ge=1, description="detect in every n-th frame")
    min_score: float = Field(0.5, gt=0, le=1, description="score of a box that starts a node; half of it continues one")
    max_gap: int = Field(3, ge=0, description="detections in a row in which a node may be missing")


class Graph(Section):
    nodes: int = Field(
        10, ge=2, description="M, including the person; if there are more objects, those seen longest are kept"
    )
    person: str = Field("person", description="class of node 0")
    topology: Literal["star", "full", "listed"] = Field(
        "star",
        description="in both directions. star: between the person and each object; full: between all nodes; listed: "
        "between pairs with a relation",
    )
    relations: Literal["given", "geometric", "both", "none"] = Field(
        "given", description="geometric: near, contact, above, below, inside, around, computed from boxes"
    )
    max_frames: int = Field(64, ge=2, description="per video; a longer video keeps this many, evenly spaced")
    max_failed_fraction: float = Field(0.05, ge=0, le=1)


class Nodes(Section):
    source: Literal["generated", "classes", "computed", "imported"] = Field(
        "computed",
        description="generated: the demo's; classes: one number per class, for graphs without pixels; "
        "computed: CLIP on the frame and on crops; imported: a file `<video id>.npy` [frames, M + 1, D] per video",
    )
    model: str = Field("openai/clip-vit-base-patch16", description="dual encoder of pictures and words")
    revision: str = "main"
    sha256: str = SHA256
    margin: int = Field(10, ge=0, description="pixels around a crop")
    path: str = Field("", description="folder of imported features, relative to the root of the data set")


class Graphs(Section):
    tables: Tables = Tables()
    detect: Detect = Detect()
    graph: Graph = Graph()
    nodes: Nodes = Nodes()
