"""The stages that make the embedded demo's videos and scene graphs, and which data sets the project makes itself."""

from pipeline.jobs.declare import Stage


def is_generated(section) -> bool:
    return section.data.index.source == "generated"


def has_generated_graphs(section) -> bool:
    return section.data.index.source == "generated_graphs"


def is_rendered(section) -> bool:
    """Whether the videos are Syn-TA's."""
    return section.data.index.source == "synta"


STAGES = (
    Stage(
        "generate",
        module="pipeline.demo.generate",
        writes={"truth": "demo/truth.zarr.zip", "lists": "demo/lists.csv"},
        generates="pipeline.demo.names:places",
        settings="demo.generate",
        when=is_generated,
        per="videos",
        costly=True,
        threads="all",
        minutes=60,
    ),
    Stage(
        "generate_graphs",
        module="pipeline.demo.generate_graphs",
        writes={"truth": "demo/graphs.zarr.zip", "lists": "demo/graphs.csv"},
        settings="demo.graphs",
        when=has_generated_graphs,
        per="videos",
    ),
)
