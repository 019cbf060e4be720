"""Deletion and insertion curves over concepts: do the concepts that are named first carry the decision?

After Petsiuk et al. (BMVC 2018), with concepts in place of pixels: the probability of the decided class while concepts
are set to their training mean one by one, strongest contribution first, or given back to a video that has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel

RANDOM_ORDERS = 10


@dataclass(frozen=True)
class Curves:
    """Mean probability of the decided class after k concepts, ``[k_max + 1]`` each.

    Attributes:
        deletion, insertion: concepts in the order of their contribution.
        random_deletion, random_insertion: the same in random orders, as the explanation must beat them.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    random_deletion: np.ndarray
    random_insertion: np.ndarray

    def areas(self) -> dict[str, float]:
        """Area under each curve in [0, 1]: low is good for deletion, high for insertion."""
        return {name: float(np.trapezoid(getattr(self, name), dx=1 / (len(self.deletion) - 1))) for name in vars(self)}


def _along(model: ConceptModel, z: np.ndarray, label: np.ndarray, order: np.ndarray, insert: bool) -> np.ndarray:
    """Mean probability ``[k + 1]`` of ``label`` ``[n]`` after 0, 1, … concepts of ``order`` ``[n, k]``."""
    current = np.zeros_like(z) if insert else z.copy()
    rows = np.arange(len(z))
    values = [model.probabilities(current)[rows, label].mean()]
    for step in order.T:
        current[rows, step] = z[rows, step] if insert else 0
        values.append(model.probabilities(current)[rows, label].mean())
    return np.array(values)


def curves(model: ConceptModel, z: np.ndarray) -> Curves:
    """Both curves of activations ``[n, M]``, over all concepts that the classifier uses.

    Raises:
        ValueError: the classifier uses no concept.
    """
    used = np.flatnonzero(np.abs(model.weight).max(0) > 0)
    if not len(used) or not len(z):
        raise ValueError("the classifier uses no concept, or there is no video")
    label = model.probabilities(z).argmax(1)
    contribution = (model.weight[label] * z)[:, used]
    best = used[np.argsort(-contribution, 1, kind="stable")]  # [n, k]
    rng = np.random.default_rng(0)
    orders = [used[rng.permuted(np.tile(np.arange(len(used)), (len(z), 1)), axis=1)] for _ in range(RANDOM_ORDERS)]
    random = [np.mean([_along(model, z, label, order, insert) for order in orders], 0) for insert in (False, True)]
    return Curves(_along(model, z, label, best, False), _along(model, z, label, best, True), *random)
