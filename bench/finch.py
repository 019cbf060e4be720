"""Time and memory of FINCH on synthetic pose clips.

python bench/finch.py                      # 5,000 points, seconds
python bench/finch.py --n 95000 --d 850    # as many clips as UCF-101 has, minutes
python bench/finch.py --compare            # against finch-clust, which needs O(n²) memory
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from unittest.mock import patch

# This file is called like the package finch-clust installs, so its own folder must not be searched.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import faiss  # noqa: E402
import numpy as np  # noqa: E402

from pipeline.jobs.runtime import Runtime  # noqa: E402
from pipeline.motion.finch import finch, medoids  # noqa: E402
from pipeline.motion.search import search_device  # noqa: E402


def synthetic_clips(n: int, d: int, seed: int) -> np.ndarray:
    """Points `[n, d]` in [0, 1]: variations of n/50 prototypes, themselves variations of 20."""
    rng = np.random.default_rng(seed)
    actions = rng.random((20, d), dtype=np.float32)
    prototypes = actions[rng.integers(20, size=max(1, n // 50))]
    prototypes += 0.1 * rng.standard_normal(prototypes.shape, dtype=np.float32)
    x = rng.standard_normal((n, d), dtype=np.float32)
    x *= 0.05
    for start in range(0, n, 4096):
        block = x[start : start + 4096]
        block += prototypes[rng.integers(len(prototypes), size=len(block))]
    return np.clip(x, 0, 1, out=x)


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--d", type=int, default=850)
    parser.add_argument("--metric", choices=("cosine", "euclidean"), default="cosine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="where faiss searches: auto, cpu or cuda:0")
    parser.add_argument("--rows", action="store_true", help="print a row of a table")
    parser.add_argument("--compare", action="store_true", help="also run finch-clust")
    arguments = parser.parse_args()

    device = search_device(Runtime(device=arguments.device))
    x = synthetic_clips(arguments.n, arguments.d, arguments.seed)
    print(
        f"n={arguments.n} d={arguments.d} {arguments.metric}, faiss on {device},"
        f" {faiss.omp_get_max_threads()} threads, points {x.nbytes / 2**20:.0f} MiB,"
        f" peak RSS before {peak_megabytes():.0f} MiB"
    )
    start = time.perf_counter()
    partitions = finch(x, arguments.metric, device)
    seconds = time.perf_counter() - start
    counts = [partition.n_clusters for partition in partitions]
    if arguments.rows:
        print(f"| FINCH, {arguments.n} × {arguments.d} | | {seconds:.2f} s | faiss on {device}, clusters {counts} |")
    print(f"finch    {seconds:8.2f} s, peak RSS {peak_megabytes():.0f} MiB, clusters {counts}")
    start = time.perf_counter()
    medoids(x, partitions[-1].labels, arguments.metric)
    seconds = time.perf_counter() - start
    print(f"medoids  {seconds:8.2f} s, peak RSS {peak_megabytes():.0f} MiB, {counts[-1]} clusters")

    if arguments.compare:
        compare(x, arguments.metric, [partition.labels for partition in partitions])


def compare(x: np.ndarray, metric: str, levels: list[np.ndarray]) -> None:
    """Print how far finch-clust agrees, as it is and with its distances taken in float64."""
    from finch import FINCH
    from sklearn.metrics import adjusted_rand_score, pairwise_distances

    def in_float64(a: np.ndarray, _: np.ndarray, metric: str) -> np.ndarray:
        return pairwise_distances(a.astype(np.float64), metric=metric)

    for name, distances in (("as it is", pairwise_distances), ("in float64", in_float64)):
        with patch("finch.finch.metrics.pairwise_distances", distances):
            start = time.perf_counter()
            expected, counts, _ = FINCH(x, distance=metric, ann_threshold=len(x))
            seconds = time.perf_counter() - start
        agreement = [
            round(adjusted_rand_score(labels, expected[:, level]), 4)
            for level, labels in enumerate(levels[: len(counts)])
        ]
        print(
            f"finch-clust {name} {seconds:.2f} s, peak RSS {peak_megabytes():.0f} MiB,"
            f" clusters {counts}, adjusted Rand index {agreement}"
        )


if __name__ == "__main__":
    main()
