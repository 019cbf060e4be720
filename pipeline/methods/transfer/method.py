"""Motion transferability, as the project knows it."""

from pipeline.methods.registry import Method
from pipeline.methods.transfer.settings import Transfer
from pipeline.methods.transfer.stages import STAGES


def check(section) -> None:
    """Raises: ValueError: sections that do not fit each other."""
    wanted = section.transfer.models
    if section.backbone.features.source != "computed" and {"temporal", "moving", "disentangled"} & {*wanted}:
        raise ValueError(
            "imported features have no places: transfer.models can be linear, concepts, zero_shot and prompt"
        )


METHOD = Method(
    name="transfer",
    title="motion transferability: known and unknown contexts",
    sections={"transfer": Transfer},
    stages=STAGES,
    goal="transfer",
    load="pipeline.methods.transfer.model:open_model",
    summary="pipeline.methods.transfer.summary:lines",
    explore="pipeline.methods.transfer.explore:open_run",
    check=check,
)
