"""What the sections of the configuration share.

The sub-model of a stage holds exactly what changes that stage's result; it is handed to the rule as one parameter and
recorded in the artifact. What changes nothing (device, batch size, where the data lie) is in `pipeline.config.Runtime`.

Constants of the paper are defaults, or stand with the data set that they belong to (``pipeline/data/sets/*.yaml``);
"S" names the DANCE supplement.
"""

from __future__ import annotations

import pydantic
from pydantic import Field


class ConfigError(ValueError):
    """A mistake in the configuration, told in the words of the file: which key, what is wrong, what would be right."""


class Section(pydantic.BaseModel):
    """A part of the configuration. Unknown keys are errors, and values are not silently converted to another type."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


# Of the weights of an encoder; another file stops the stage.
SHA256 = Field("", pattern="^([0-9a-fA-F]{64})?$", description="of the weights, to stop at others; any if empty")
