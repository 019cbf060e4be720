"""Other classifiers of the same path: sparser ones, and denser ones, than the one that validation chose."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.learning import glm
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.cached import Cached
from pipeline.store.arrays import Arrays

# Stops of the slider, and what solving them may cost: clips × concepts × classes.
STOPS, LARGEST = 16, 4e8


def stops(lambdas: np.ndarray, nnz: np.ndarray, chosen: int, count: int = STOPS) -> list[int]:
    """Positions on a path ``[p]`` that are evenly spread in log λ, the chosen one among them."""
    first = int(np.argmax(nnz > 0))
    wanted = {*np.linspace(first, len(lambdas) - 1, count).round().astype(int).tolist(), chosen}
    return sorted(wanted)


@dataclass
class Lambdas:
    """The path of the run's classifier; weights are solved when the first of them is asked for.

    Attributes:
        folder: of the run.
    """

    folder: Path
    core: ConceptModel
    cached: Cached
    solved: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.places, self.lambdas, self.accuracy, self.nnz, self.chosen = [], *np.zeros((3, 0)), 0
        path = self.folder / "bottleneck" / "classifier.zarr.zip"
        n, width = self.cached.z.shape
        if not path.is_file() or n * width * len(self.core.class_names) > LARGEST:
            return
        with Arrays(path) as artifact:
            if artifact["all/weight"].shape != self.core.weight.shape:
                return
            self.lambdas, self.accuracy, self.nnz = (artifact[f"path/{name}"] for name in ("lambda", "accuracy", "nnz"))
            self.settings = artifact.attributes["provenance"]["settings"]
            own = artifact.attributes["certificates"]["all"]["lambda"]
        self.chosen = int(np.abs(np.log(self.lambdas) - np.log(own)).argmin())
        self.places = stops(self.lambdas, self.nnz, self.chosen)

    def described(self) -> list[dict[str, Any]]:
        """The stops, sparsest first; accuracy and number of weights as the stage knows them, fitted on train alone."""
        return [
            {
                "lambda": float(self.lambdas[place]),
                "nonzero": int(self.nnz[place]),
                "accuracy": {"val": float(self.accuracy[place])},
                "weights": f"data/path/{number}.f32",
            }
            for number, place in enumerate(self.places)
        ]

    def weights(self, number: int) -> np.ndarray | None:
        """Weights and biases of a stop, float32 ``[K, M + 1]``; None where there is none."""
        if not 0 <= number < len(self.places):
            return None
        with self._lock:
            if not self.solved:
                self.solved = self._solve()
        return self.solved[number]

    def _solve(self) -> list[np.ndarray]:
        """All stops on the clips that the model was fitted on, the chosen one as the model has it."""
        fitted = ("train", "val") if self.settings["refit"] else ("train",)
        rows = np.isin(self.cached.split, fitted)
        path = glm.path(
            self.cached.z[rows],
            self.cached.label[rows],
            len(self.core.class_names),
            alpha=self.settings["alpha"],
            lambdas=self.lambdas[self.places],
            tol=max(self.settings["tolerance"], 1e-4),
        )
        found = [np.column_stack([item.weight, item.bias]).astype(np.float32) for item in path]
        found[self.places.index(self.chosen)] = np.column_stack([self.core.weight, self.core.bias]).astype(np.float32)
        return found
