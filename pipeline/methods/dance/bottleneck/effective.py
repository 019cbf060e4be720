"""Accuracy at a number of effective concepts (NEC): how well a class is told with so many weights on average.

Protocol of Srivastava, Yan & Weng 2024 (VLG-CBM): follow the regularisation path to the first solution that has at
least NEC × classes non-zero weights, and cut its smallest ones until exactly that many are left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.learning.glm import Solution


def truncate(weight: np.ndarray, count: int) -> np.ndarray:
    """Keep the ``count`` largest entries of ``[K, M]`` by magnitude, set the others to 0; ties keep the earlier one."""
    flat = np.abs(weight).ravel()
    result = np.zeros_like(weight)
    kept = np.argsort(-flat, kind="stable")[:count]
    result.flat[kept] = weight.flat[kept]
    return result


def at_nec(path: Sequence[Solution], nec: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Weight ``[K, M]``, bias ``[K]`` and λ with ``nec`` effective concepts per class.

    Where even the last solution of the path is sparser than that, it is returned as it is.

    Args:
        path: solutions by decreasing λ.
    """
    wanted = nec * len(path[0].bias)
    solution = next((item for item in path if item.nnz >= wanted), path[-1])
    return truncate(solution.weight, wanted), solution.bias, solution.lam
