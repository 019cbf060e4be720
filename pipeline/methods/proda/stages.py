"""The stages of ProDA: training, predictions that no label is opened for, and the model with its figures."""

from pipeline.graphs.stages import generated_tables, has_tables
from pipeline.jobs.declare import LONGEST, Read, Setting, Stage

GRAPHS = {"graph": "graph.graph", "nodes": "nodes.nodes"}

STAGES = (
    Stage(
        "proda_train",
        module="pipeline.methods.proda.train",
        writes={"network": "proda/network.zarr.zip"},
        reads={"index": "index.index", **GRAPHS},
        settings=(Setting("proda", key="proda", without=("threshold",)),),
        gpu="network",
        memory_mb=4000,
        minutes=240,
        priority=LONGEST,
    ),
    Stage(
        "proda_predict",
        module="pipeline.methods.proda.predict",
        writes={"predictions": "proda/predictions/{shard}.zarr.zip"},
        reads={"network": "proda_train.network", **GRAPHS},
        gpu="network",
        memory_mb=4000,
    ),
    Stage(
        "proda",
        module="pipeline.methods.proda.evaluate",
        writes={
            "model": "proda/model.pt",
            "metrics": "proda/metrics.json",
            "evaluation": "proda/evaluation.parquet",
            "report": "proda/report.html",
        },
        reads={
            "index": "index.index",
            "network": "proda_train.network",
            "predictions": "proda_predict.predictions",
            "segments": Read("graph_tables.segments", when=has_tables),
            "truth": Read("generate_graphs.truth", when=generated_tables),
            **GRAPHS,
        },
        # What looks at a new video must look as these graphs were made.
        settings=(
            Setting("graphs.tables", key="look.tables", only=("source",)),
            Setting("graphs.detect", key="look.detect"),
            Setting("graphs.graph", key="look.graph"),
            Setting("graphs.nodes", key="look.nodes"),
            Setting("proda.threshold", key="look.threshold"),
        ),
        memory_mb=4000,
    ),
)
