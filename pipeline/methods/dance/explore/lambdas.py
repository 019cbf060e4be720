"""Other classifiers of the same path: sparser ones, and denser ones, than the one that validation chose."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.learning import glm
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.cached import Cached
from pipeline.store.arrays import Arrays

# Stops of the slider; and clips × concepts × classes up to which they are solved while a person waits.
STOPS, LARGEST = 16, 4e8


def spread(lambdas: np.ndarray, nnz: np.ndarray, chosen: int, count: int = STOPS) -> list[int]:
    """Positions on a path ``[p]`` that are evenly spread in log λ, the chosen one among them."""
    first = int(np.argmax(nnz > 0))
    wanted = {*np.linspace(first, len(lambdas) - 1, count).round().astype(int).tolist(), chosen}
    return sorted(wanted)


@dataclass(frozen=True)
class Stop:
    """A classifier of the path.

    Attributes:
        lam: its λ; nonzero: its weights; val: validation accuracy; both as the stage knows them, fitted on train alone.
        weights: with the biases behind them, float32 ``[K, M + 1]``; None where they are still to be solved.
    """

    lam: float
    nonzero: int
    val: float
    weights: np.ndarray | None = None


@dataclass
class Lambdas:
    """The path of the run's classifier; weights are solved when the first of them is asked for.

    Of a large run, whose path takes minutes, there are the classifiers that the stage has kept: those at given numbers
    of effective concepts.

    Attributes:
        folder: of the run.
        stops: sparsest first; chosen: which of them is the model; None without stops.
    """

    folder: Path
    core: ConceptModel
    cached: Cached
    stops: list[Stop] = field(default_factory=list)
    chosen: int | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        path = self.folder / "bottleneck" / "classifier.zarr.zip"
        if not path.is_file():
            return
        with Arrays(path) as artifact:
            if artifact.describe("all/weight")["shape"] != list(self.core.weight.shape):
                return
            self.settings = artifact.attributes["provenance"]["settings"]
            certificates = artifact.attributes["certificates"]
            lambdas, accuracy, nnz = (artifact[f"path/{name}"] for name in ("lambda", "accuracy", "nnz"))
            kept = {
                certificates[name]["lambda"]: _joined(artifact[f"{name}/weight"], artifact[f"{name}/bias"])
                for name in certificates
                if name.startswith("nec_")
            }
        chosen = _nearest(lambdas, certificates["all"]["lambda"])
        model = _joined(self.core.weight, self.core.bias)
        if self.cached.z.size * len(self.core.class_names) > LARGEST:
            found = {_nearest(lambdas, lam): weights for lam, weights in kept.items()}
        else:
            found = dict.fromkeys(spread(lambdas, nnz, chosen))
        found[chosen] = model
        self.stops = [
            Stop(float(lambdas[place]), int(nnz[place]), float(accuracy[place]), found[place])
            for place in sorted(found)
        ]
        self.chosen = sorted(found).index(chosen)

    def described(self) -> list[dict[str, Any]]:
        """The stops as a page is told of them."""
        return [
            {
                "lambda": stop.lam,
                "nonzero": stop.nonzero,
                "accuracy": {"val": stop.val},
                "weights": f"data/path/{number}.f32",
            }
            for number, stop in enumerate(self.stops)
        ]

    def weights(self, number: int) -> np.ndarray | None:
        """Weights and biases of a stop, float32 ``[K, M + 1]``; None where there is none."""
        if number >= len(self.stops):
            return None
        with self._lock:
            if self.stops[number].weights is None:
                self._solve()
        return self.stops[number].weights

    def _solve(self) -> None:
        """All stops that have no weights, on the clips that the model was fitted on."""
        fitted = ("train", "val") if self.settings["refit"] else ("train",)
        rows = np.isin(self.cached.split, fitted)
        path = glm.path(
            self.cached.z[rows],
            self.cached.label[rows],
            len(self.core.class_names),
            alpha=self.settings["alpha"],
            lambdas=[stop.lam for stop in self.stops],
            tol=max(self.settings["tolerance"], 1e-4),
        )
        self.stops = [
            replace(stop, weights=_joined(item.weight, item.bias)) if stop.weights is None else stop
            for stop, item in zip(self.stops, path, strict=True)
        ]


def _joined(weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return np.column_stack([weight, bias]).astype(np.float32)


def _nearest(lambdas: np.ndarray, lam: float) -> int:
    """Position of a λ on a path."""
    return int(np.abs(np.log(lambdas) - np.log(lam)).argmin())
