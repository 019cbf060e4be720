"""The stages of PCMCI: networks and their controls, and the model with its figures."""

from pipeline.jobs.declare import LONGEST, Read, Stage


def has_real_rows(section) -> bool:
    """Whether the structural causal model films label rows of the data set, and not of its grammar."""
    return section.pcmci.world.labels == "index"


STAGES = (
    Stage(
        "pcmci_train",
        module="pipeline.methods.pcmci.train",
        writes={"network": "pcmci/network.zarr.zip", "evaluation": "pcmci/evaluation.parquet"},
        reads={"index": Read("index.index", when=has_real_rows)},
        settings="pcmci",
        memory_mb=2000,
        minutes=240,
        priority=LONGEST,
    ),
    Stage(
        "pcmci",
        module="pipeline.methods.pcmci.evaluate",
        writes={"model": "pcmci/model.pt", "metrics": "pcmci/metrics.json"},
        reads={"network": "pcmci_train.network", "evaluation": "pcmci_train.evaluation"},
    ),
)
