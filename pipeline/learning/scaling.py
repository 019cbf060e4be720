"""Columns of mean 0 and standard deviation 1."""

from __future__ import annotations

import numpy as np


def standardise_fit(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (ddof 1) of each column of z ``[n, p]``; 1 where it is 0 or unknown.

    Returns:
        mean ``[p]``, std ``[p]``, float64.
    """
    z = np.asarray(z)
    precision = np.finfo(z.dtype).eps if np.issubdtype(z.dtype, np.floating) else 0.0
    z = z.astype(np.float64)
    mean = z.mean(0)
    std = z.std(0, ddof=1) if len(z) > 1 else np.zeros_like(mean)
    # A constant column may deviate by rounding; divided by that, the rounding would become activations of size 1.
    flat = std <= 8 * precision * np.abs(mean)
    return mean, np.where(flat, 1.0, std)


def standardise(z: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(z − mean) / std for z ``[n, p]``, mean and std ``[p]``."""
    return (np.asarray(z, np.float64) - mean) / std
