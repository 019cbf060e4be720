"""The stages of the floor `graphs`: tables of boxes and relations, scene graphs, and what their nodes look like."""

from pipeline.data.stages import VIDEOS
from pipeline.jobs.declare import WAITED_FOR, Read, Setting, Stage


def is_detected(section) -> bool:
    """Whether graphs are found in the videos."""
    return section.graphs.tables.source == "detected"


def has_tables(section) -> bool:
    return not is_detected(section)


def generated_tables(section) -> bool:
    return section.graphs.tables.source == "generated"


def generated_nodes(section) -> bool:
    return section.graphs.nodes.source == "generated"


def sees_pictures(section) -> bool:
    return section.graphs.nodes.source == "computed"


STAGES = (
    Stage(
        "graph_tables",
        module="pipeline.graphs.tables",
        writes={
            "segments": "graphs/segments.parquet",
            "boxes": "graphs/boxes.parquet",
            "relations": "graphs/relations.parquet",
        },
        reads={"truth": Read("generate_graphs.truth", when=generated_tables)},
        settings="graphs.tables",
        when=has_tables,
        per="videos",
        files=("graphs.tables.boxes", "graphs.tables.relations", "graphs.tables.fps_file"),
        memory_mb=4000,
        priority=WAITED_FOR,
    ),
    Stage(
        "graph",
        module="pipeline.graphs.graph",
        writes={"graph": "graphs/graph/{shard}.zarr.zip"},
        reads={
            "videos": VIDEOS,
            "boxes": Read("graph_tables.boxes", when=has_tables),
            "relations": Read("graph_tables.relations", when=has_tables),
        },
        settings=(
            Setting("graphs.graph", key="graph"),
            Setting("graphs.detect", key="detect", when=is_detected),
        ),
        per="videos",
        follows="all",
        opens_videos=True,
        checkpoints=("graphs.detect.model",),
        threads="encoder",
        memory_mb=4000,
        minutes=60,
        priority=WAITED_FOR,
    ),
    Stage(
        "nodes",
        module="pipeline.graphs.nodes",
        writes={"nodes": "graphs/nodes/{shard}.zarr.zip"},
        reads={
            "videos": Read("videos.videos", decides=False, when=sees_pictures),
            "graph": "graph.graph",
            "truth": Read("generate_graphs.truth", when=generated_nodes),
        },
        settings=(
            Setting("graphs.nodes", key="nodes"),
            Setting("graphs.tables.fps", key="fps"),
        ),
        per="videos",
        follows="all",
        opens_videos=True,
        files=("graphs.nodes.path",),
        checkpoints=("graphs.nodes.model",),
        threads="encoder",
        memory_mb=4000,
        minutes=60,
        priority=WAITED_FOR,
    ),
)
