"""ProDA, as the project knows it."""

from pipeline.methods.proda.settings import ProDA
from pipeline.methods.proda.stages import STAGES
from pipeline.methods.registry import Method

METHOD = Method(
    name="proda",
    title="ProDA: any given set of actions, taken out of a scene graph",
    sections={"proda": ProDA},
    stages=STAGES,
    goal="proda",
    load="pipeline.methods.proda.model:open_model",
    summary="pipeline.methods.proda.summary:lines",
    explore="pipeline.methods.proda.explore:open_run",
    comparisons="pipeline.methods.proda.comparisons.tables",
)
