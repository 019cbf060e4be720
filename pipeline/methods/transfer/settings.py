"""What may be configured about the method `transfer`."""

from typing import Literal

from pydantic import Field

from pipeline.settings import Section


class Prompted(Section):
    frames: int = Field(8, ge=1, description="of the model clip that the dual encoder sees, T (EZ-CLIP)")
    epochs: int = Field(81, ge=1, description="all are trained and the last is taken (EZ-CLIP: 81)")
    batch_size: int = Field(26, ge=2, description="clips (EZ-CLIP)")
    learning_rate: float = Field(1e-3, gt=0, description="EZ-CLIP")
    weight_decay: float = Field(0.2, ge=0, description="EZ-CLIP")


class Transfer(Section):
    models: list[Literal["linear", "temporal", "moving", "concepts", "zero_shot", "prompt", "disentangled"]] = Field(
        default_factory=lambda: ["linear"],
        description="linear: on features; temporal, moving: networks over frames of the maps, as they are or less what "
        "stands still; concepts: of tracks or poses, by motion.source; zero_shot: texts of the dual encoder; prompt: "
        "the same with prompts over time and adapters, which are learned (CLIP); "
        "disentangled: moving, with fine classes in the same or another branch",
        min_length=1,
    )
    seeds: int = Field(5, ge=1, description="networks of each kind")
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(32, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    channels: int = Field(32, ge=1, description="principal components of the maps that networks see")
    n_concepts: int = Field(40, ge=2, description="motion concepts of tracks or poses")
    fine_weight: float = Field(0.5, ge=0, description="of the fine classes in the loss of `disentangled`")
    separation_weight: float = Field(1, ge=0, description="of the correlation between branches in the same")
    prompt: Prompted = Prompted()
