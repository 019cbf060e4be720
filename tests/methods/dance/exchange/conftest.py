"""Result folders as the two published programs write them, made with torch alone: nothing of the project is used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

K, D, N_TRAIN, N_TEST = 4, 12, 80, 53


@dataclass
class Fabricated:
    """A folder, and what it must give: the features and labels of its test split, logits by bare matrix products."""

    folder: Path
    features: torch.Tensor
    labels: torch.Tensor
    activations: torch.Tensor
    logits: torch.Tensor
    right: int
    names: list[str]

    def write_test_split(self, folder: Path) -> tuple[Path, Path]:
        torch.save(self.features, folder / "test.pt")
        lines = [f"clip {row}.mp4,{int(label)}" for row, label in enumerate(self.labels)]
        (folder / "test.csv").write_text("\n".join(lines) + "\n")
        return folder / "test.pt", folder / "test.csv"


def concept_layer(folder: Path, names: list[str], train: torch.Tensor, test: torch.Tensor) -> torch.Tensor:
    """Write one concept layer; the standardised activations of the test split."""
    folder.mkdir(parents=True, exist_ok=True)
    layer = torch.nn.Linear(D, len(names), bias=False)
    with torch.no_grad():
        raw = train @ layer.weight.T
        mean, std = raw.mean(0, keepdim=True), raw.std(0, keepdim=True)
        activations = (test @ layer.weight.T - mean) / std
    torch.save(layer.weight[:], folder / "W_c.pt")  # it asks for gradients, as the published ones do
    torch.save(mean, folder / "proj_mean.pt")
    torch.save(std, folder / "proj_std.pt")
    (folder / "concepts.txt").write_text("\n".join(names))
    return activations


def classifier(folder: Path, activations: torch.Tensor, labels_of) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Write a sparse classifier and the accuracy on the test split, averaged over batches as its solver does."""
    folder.mkdir(parents=True, exist_ok=True)
    weight = torch.randn(K, activations.shape[1]) * (torch.rand(K, activations.shape[1]) < 0.4)
    bias = torch.randn(K) / 10
    logits = activations @ weight.T + bias
    labels = labels_of(logits)
    hits = (logits.argmax(1) == labels).float()
    stated = sum(batch.mean() * len(batch) for batch in hits.split(16)) / len(hits)
    torch.save(weight, folder / "W_g.pt")
    torch.save(bias, folder / "b_g.pt")
    nonzero = int((weight.abs() > 1e-5).sum())
    metrics = {
        "lam": 0.0007,
        "metrics": {
            "loss_tr": 0.1,
            "acc_tr": 1.0,
            "loss_val": 0.2,
            "acc_val": stated.item(),
            "loss_test": -1,
            "acc_test": -1,
        },
        "sparsity": {"Non-zero weights": nonzero, "Total weights": weight.numel()},
    }
    (folder / "metrics.txt").write_text(json.dumps(metrics, indent=2))
    return logits, labels, int(hits.sum())


@pytest.fixture
def fabricate(tmp_path):
    """layout, train_mode → a folder in one of the two layouts."""

    def make(layout: str, train_mode=("pose", "spatial", "place"), name="published", seed=0) -> Fabricated:
        torch.manual_seed(seed)
        folder = tmp_path / name
        train, test = torch.randn(N_TRAIN, D), torch.randn(N_TEST, D)

        def labels_of(logits):
            labels = logits.argmax(1)
            wrong = torch.rand(len(labels)) < 0.2
            return torch.where(wrong, (labels + 1) % K, labels)

        sizes = {"pose": 6, "spatial": 4, "place": 3, "temporal": 2}
        names = {
            kind: [str(row) if kind == "pose" else f"a {kind} thing {row}" for row in range(size)]
            for kind, size in sizes.items()
        }
        if layout == "lf-cbm":
            listed = names["spatial"] + names["place"]
            activations = concept_layer(folder, listed, train, test)
            where = folder
        else:
            # Training puts `pose` first, wherever the option names it.
            order = sorted(train_mode, key=lambda kind: kind != "pose")
            activations = torch.cat([concept_layer(folder / kind, names[kind], train, test) for kind in order], 1)
            listed = [text for kind in order for text in names[kind]]
            where = folder / (order[0] if len(order) == 1 else "aggregated")
        logits, labels, right = classifier(where, activations, labels_of)
        if layout == "dance" and len(order) > 1:
            (where / "concepts.txt").write_text("\n".join(listed))
        arguments = {"backbone": "vmae_vit_base_patch16_224", "nb_classes": K, "train_mode": list(train_mode)}
        (folder / "args.txt").write_text(json.dumps(arguments, indent=2))
        return Fabricated(folder, test, labels, activations, logits, right, listed)

    return make
