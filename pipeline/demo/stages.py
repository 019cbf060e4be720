"""The stage that makes the embedded demo's videos, and which data sets the project makes itself."""

from pipeline.jobs.declare import Stage


def is_generated(section) -> bool:
    return section.data.index.source == "generated"


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
)
