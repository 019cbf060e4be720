"""The stage that makes the embedded demo's videos."""

from pipeline.jobs.declare import Stage


def is_generated(section) -> bool:
    return section.data.index.source == "generated"


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
