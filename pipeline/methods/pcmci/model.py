"""A trained network as a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.methods import models
from pipeline.methods.pcmci.network import Network
from pipeline.methods.pcmci.settings import PCMCI
from pipeline.store.atomic import ArtifactError, StageError


def network_of(metadata: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Network:
    """The network of an artifact or a model file, in eval mode; tensors may be flat.

    Raises:
        ArtifactError: weights, labels and settings do not fit each other.
    """
    try:
        own = PCMCI.model_validate(metadata["settings"])
        n_labels, width = len(metadata["class_names"]), own.network.width
        texts = tensors["texts"].reshape(n_labels, -1)
        network = Network(texts, tensors["tokens.weight"].numel() // width, own.network)
        shapes = {name: value.shape for name, value in network.state_dict().items()}
        network.load_state_dict({name: value.reshape(shapes[name]) for name, value in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"the weights do not fit the network of PCMCI ({str(error).splitlines()[0][:160]})"
        ) from None
    return network.eval()


class Model:
    """A network over its list of labels."""

    method = "pcmci"

    def __init__(self, class_names: list[str], settings: Mapping[str, Any], network: Network):
        self.class_names, self.settings, self.network = class_names, settings, network

    def predict(self, source: str | Path) -> Any:
        """Refused: the structural causal model has no pictures.

        Raises:
            StageError: always.
        """
        raise StageError(
            f"{source}: this network was trained on features of a structural causal model, which has no pictures; "
            f"`conceptreel couplings` and metrics.json tell what it does"
        )

    def explain(self, source: str | Path, out: Path, top: int = 3) -> list[str]:
        """As `predict`."""
        return self.predict(source)

    def save(self, path: str | Path) -> None:
        """Write the model."""
        metadata = {"class_names": self.class_names, "settings": self.settings}
        models.write(path, self.method, metadata, self.network.state_dict())


def open_model(envelope: models.Envelope, results: Path | None) -> Model:
    """The model of a file."""
    network = network_of(envelope.metadata, envelope.tensors)
    return Model(envelope.metadata["class_names"], envelope.metadata["settings"], network)
