"""Where faiss searches: on a GPU where the build of it that is installed has one, otherwise on the CPU.

Both compare every point with every other in float32, so they find the same neighbours but for rounding.
"""

from __future__ import annotations

import faiss
import numpy as np

from pipeline.jobs.runtime import Runtime


def search_device(runtime: Runtime) -> str:
    """``cuda:N`` or ``cpu``.

    A run on GPUs searches on the CPU where faiss has none, faiss-cpu for one: the result is the same.
    """
    if runtime.device == "cpu" or not faiss.get_num_gpus():
        return "cpu"
    return runtime.device if ":" in runtime.device else "cuda:0"


def nearest(points: np.ndarray, count: int, metric: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of all points to each of them, itself included: scores float32 and indices int64 ``[n, count]``.

    Args:
        points: float32 ``[n, d]``; metric: ``faiss.METRIC_INNER_PRODUCT`` or ``faiss.METRIC_L2``, which is squared.
        device: of `search_device`.
    """
    if device == "cpu":
        return faiss.knn(points, points, count, metric=metric)
    return faiss.knn_gpu(faiss.StandardGpuResources(), points, points, count, metric=metric, device=_number(device))


def on_device(index: faiss.Index, device: str) -> faiss.Index:
    """An index, moved to the device."""
    if device == "cpu":
        return index
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), _number(device), index)


def _number(device: str) -> int:
    return int(device.partition(":")[2])
