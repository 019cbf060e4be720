"""A network as an artifact: all weights behind each other, and what they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.methods.proda.network import ProDA, Sizes
from pipeline.methods.proda.settings import ProDA as Settings
from pipeline.store.atomic import ArtifactError


def packed(state: Mapping[str, Tensor]) -> tuple[np.ndarray, list[list[Any]]]:
    """All weights, float32 ``[n]``, and [name, shape] of each."""
    flat = [value.detach().float().reshape(-1).numpy() for value in state.values()]
    return np.concatenate(flat), [[name, list(value.shape)] for name, value in state.items()]


def unpacked(values: np.ndarray, shapes: list[list[Any]]) -> dict[str, Tensor]:
    ends = np.cumsum([math.prod(shape) for _, shape in shapes])
    parts = np.split(values, ends[:-1])
    return {
        name: torch.from_numpy(part.copy()).reshape(shape) for (name, shape), part in zip(shapes, parts, strict=True)
    }


def network_of(
    sizes: Mapping[str, int], settings: Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[ProDA, Settings]:
    """The network of an artifact or a model file, in eval mode.

    Raises:
        ArtifactError: weights and sizes do not fit.
    """
    try:
        own = Settings.model_validate(settings)
        network = ProDA(Sizes(**sizes), own.network)
        network.load_state_dict(
            {name: value.reshape(network.state_dict()[name].shape) for name, value in state.items()}
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"the weights do not fit the network of ProDA ({str(error).splitlines()[0][:160]})"
        ) from None
    return network.eval(), own
