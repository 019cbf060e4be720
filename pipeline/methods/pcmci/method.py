"""PCMCI, as the project knows it."""

from pipeline.methods.pcmci.controls import OF_THE_WORLD
from pipeline.methods.pcmci.settings import PCMCI
from pipeline.methods.pcmci.stages import STAGES
from pipeline.methods.registry import Method


def check(section) -> None:
    """Raises: ValueError: settings that do not fit each other."""
    own = section.pcmci
    if len(set(own.network.stages)) < len(own.network.stages):
        raise ValueError(f"pcmci.network.stages names a stage twice: {', '.join(own.network.stages)}")
    if own.network.width % own.network.heads:
        raise ValueError(
            f"pcmci.network.width is {own.network.width}, which is no multiple of the {own.network.heads} heads"
        )
    if own.training.explain_codependency and own.training.target == "activity":
        raise ValueError(
            "pcmci.training.explain_codependency is about actions that come together, and activities exclude each "
            "other; set it to false, or target to actions"
        )
    if own.source == "videos" and (only := [name for name in own.controls if name in OF_THE_WORLD]):
        raise ValueError(
            f"pcmci.controls has {' and '.join(only)}, made of the structural causal model; of videos there are none"
        )


METHOD = Method(
    name="pcmci",
    title="PCMCI: long videos, whose labels are cleaned by cross-modal interventions",
    sections={"pcmci": PCMCI},
    stages=STAGES,
    goal="pcmci",
    load="pipeline.methods.pcmci.model:open_model",
    summary="pipeline.methods.pcmci.summary:lines",
    comparisons="pipeline.methods.pcmci.comparisons.tables",
    check=check,
)
