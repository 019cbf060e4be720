"""What hardware a run may use: nothing here changes a result but by rounding.

The entry of a job reads it once and hands it on as an argument. Only the standard library is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

# How the Snakefile tells its jobs, as JSON: this, and ``roots``, where the data of each data set lie.
RUNTIME_VARIABLE = "CONCEPTREEL_RUNTIME"


@dataclass(frozen=True)
class Runtime:
    """The defaults leave each choice to what the machine has; see `pipeline.encoding.hardware`.

    Attributes:
        device: auto, cpu, cuda or cuda:0.
        precision: of encoders: auto, float32 or bfloat16.
        batch_size: role → rows that an encoder is given at once.
        finetune_processes: of fine-tuning, one per GPU.
        mmpose: the Python of an environment with MMPose.
        decoder: limits of `pipeline.data.isolated.Decoder`, by the names of its arguments.
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: Mapping[str, int] = field(default_factory=dict)
    finetune_processes: int = 1
    mmpose: str = ""
    decoder: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, told: Mapping[str, Any]) -> Runtime:
        """From its fields by name; what is missing is left to the machine, and other keys belong to others."""
        return cls(**{item.name: told[item.name] for item in fields(cls) if item.name in told})


# Whatever the machine has.
AUTO = Runtime()
