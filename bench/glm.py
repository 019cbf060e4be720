"""Time, certificate and objective of the sparse classifier, beside scikit-learn's saga and glm_saga.

python bench/glm.py                       # concepts of Penn Action if the data are there, else synthetic: a minute
python bench/glm.py --large               # also a path at UCF-101's size: n 9537, p 782, K 101, minutes
python bench/glm.py --problem FILE.npz    # another problem: x [n, p] standardised, y [n] class indices
python bench/glm.py --threads 2           # BLAS threads; they help the large problem only, and only on idle cores

The Penn Action problem is rebuilt from VideoMAE features: 62 motion concepts (ridge regression on the most frequent
published motion labels) and 85 text concepts (on ViCLIP similarities of the 44 objects and 41 scenes with the highest
mean of the top 5), activations standardised with train mean and standard deviation (ddof 1).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
# This file is called like the module it measures, so its own folder must not be searched.
sys.path[0] = str(PROJECT)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from glm_saga.elasticnet import train_saga  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from pipeline.methods.dance.bottleneck import glm  # noqa: E402


def standardise(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / x.std(0, ddof=1)


def ridge_directions(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Directions `[d, p]` whose activations fit targets `[n, p]`, regularised at 1 % of the mean feature variance."""
    features, targets = features - features.mean(0), targets - targets.mean(0)
    gram = features.T @ features
    gram += 0.01 * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.linalg.solve(gram, features.T @ targets)


def penn_action(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Standardised concept activations `[1256, 147]` and labels `[1256]` of the train split."""

    def read(name: str) -> np.ndarray:
        tensor = torch.load(folder / "features" / name, weights_only=True, map_location="cpu")
        return tensor.double().numpy()

    with (folder / "train.csv").open() as file:
        names, labels = zip(*csv.reader(file), strict=True)
    features = read("penn-action_train_vmae_vit_base_patch16_224.pt")  # [n, 768]
    rows = json.loads((folder / "motion_labels" / "hard_label_train.json").read_text())
    by_name = {row["video_name"]: row["attribute_label"] for row in rows}
    motion = np.array([by_name[name] for name in names], float)  # [n, 79]
    labelled = (motion >= 0).all(1)
    motion = motion[labelled]
    motion = motion[:, np.argsort(-motion.sum(0), kind="stable")[:62]]

    video = read("penn-action_train_internvid_200m.pt")  # [n, 512]
    video /= np.linalg.norm(video, axis=1, keepdims=True)
    similarities = []
    for kind, n_kept in (("object", 44), ("scene", 41)):
        text = read(f"Penn_action_{kind}_concept_internvid_200m.pt")
        similarity = video @ (text / np.linalg.norm(text, axis=1, keepdims=True)).T
        top5 = np.sort(similarity, axis=0)[-5:].mean(0)
        similarities.append(similarity[:, np.argsort(-top5, kind="stable")[:n_kept]])
    directions = np.hstack(
        [ridge_directions(features[labelled], motion), ridge_directions(features, np.hstack(similarities))]
    )  # [768, 147]
    return standardise(features @ directions), np.array(labels, int)


def synthetic(n: int, p: int, n_classes: int, d: int = 768, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Concepts `[n, p]` that are random directions in d features with a 1/√rank spectrum; labels `[n]`."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, d + 1) ** -0.5
    centres = 0.9 * rng.standard_normal((n_classes, d)) * spectrum
    y = np.r_[np.arange(n_classes), rng.integers(n_classes, size=n - n_classes)]
    features = centres[y] + rng.standard_normal((n, d)) * spectrum
    return standardise(features @ (spectrum[:, None] * rng.standard_normal((d, p)))), y


def timed(call: Callable[[], object], repeats: int = 1) -> tuple[object, str]:
    """The result, and the median and minimum of the wall clock with the minimum of the CPU time, in seconds."""
    wall, cpu = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        result = call()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return result, f"{statistics.median(wall):8.2f} {min(wall):8.2f} {min(cpu):8.2f}"


def scikit_learn_saga(x: np.ndarray, y: np.ndarray, lam: float, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    model = LogisticRegression(
        solver="saga", l1_ratio=alpha, C=1 / (len(y) * lam), tol=1e-6, max_iter=2000, random_state=0
    )
    model.fit(x, y)
    return model.coef_, model.intercept_


def glm_saga(x: np.ndarray, y: np.ndarray, lam: float, alpha: float, tol: float, n_epochs: int):
    """Step 0.05 as in DANCE's code, batches of 256, float32; its rule stops at the first step shorter than tol."""
    n_classes = int(y.max()) + 1
    linear = torch.nn.Linear(x.shape[1], n_classes)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    batches = list(
        zip(*(t.split(256) for t in (torch.tensor(x).float(), torch.tensor(y), torch.arange(len(y)))), strict=True)
    )
    train_saga(linear, batches, 0.05, n_epochs, lam, alpha, group=False, n_ex=len(y), n_classes=n_classes, tol=tol)
    return linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy()


def compare(name: str, x: np.ndarray, y: np.ndarray, lam: float, alpha: float, repeats: int, others: bool) -> None:
    n_classes = int(y.max()) + 1
    shape = f"n={len(y)} p={x.shape[1]} K={n_classes}"
    print(f"\n{name}: {shape}, λ={lam:g}, α={alpha:g}, λ_max={glm.lambda_max(x, y, n_classes, alpha):.3g}")
    print(f"{'solver':34} {'median s':>8} {'min s':>8} {'CPU s':>8} {'objective':>14} {'relative gap':>12} {'nnz':>6}")

    def row(label: str, seconds: str, solution: glm.Solution) -> None:
        print(
            f"{label:34} {seconds} {solution.objective:14.10f} {solution.relative_gap:12.1e} {solution.nnz:6d}",
            flush=True,
        )

    for tol in (1e-6, 1e-10):
        solution, seconds = timed(lambda tol=tol: glm.solve(x, y, n_classes, lam=lam, alpha=alpha, tol=tol), repeats)
        row(f"conceptreel, tol {tol:g}", seconds, solution)
    if others:
        for label, fit in {
            "scikit-learn saga, tol 1e-6": lambda: scikit_learn_saga(x, y, lam, alpha),
            "glm_saga, its default rule (1e-4)": lambda: glm_saga(x, y, lam, alpha, 1e-4, 30_000),
            "glm_saga, 2000 epochs": lambda: glm_saga(x, y, lam, alpha, 0.0, 2000),
        }.items():
            fitted, seconds = timed(fit)
            row(label, seconds, glm.certify(x, y, n_classes, *fitted, lam=lam, alpha=alpha))


def follow(name: str, x: np.ndarray, y: np.ndarray, alpha: float, n_lambdas: int, min_ratio: float, repeats: int):
    n_classes = int(y.max()) + 1
    path, seconds = timed(
        lambda: glm.path(x, y, n_classes, alpha=alpha, n_lambdas=n_lambdas, min_ratio=min_ratio), repeats
    )
    print(
        f"{name}, path of {n_lambdas} λ to {min_ratio:g} λ_max: median, min, CPU s {seconds};"
        f" {sum(item.n_iter for item in path)} Newton steps, largest relative gap"
        f" {max(item.relative_gap for item in path):.1e}, nnz {path[0].nnz} to {path[-1].nnz},"
        f" peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problem", type=Path, metavar="FILE.npz")
    parser.add_argument("--lam", type=float, default=7e-4)
    parser.add_argument("--alpha", type=float, default=0.99)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="also a path of a random problem of UCF-101's size")
    parser.add_argument("--only-ours", action="store_true", help="leave the other solvers out")
    arguments = parser.parse_args()
    data = Path(os.environ.get("CONCEPTREEL_TEST_DATA", PROJECT / ".." / "shared" / "data")) / "penn_action"

    warnings.filterwarnings("ignore", message="Implicit dimension choice")
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        print(f"{arguments.threads} threads, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        if arguments.problem:
            with np.load(arguments.problem, allow_pickle=False) as file:
                name, x, y = arguments.problem.name, file["x"], file["y"]
        elif data.is_dir():
            name, (x, y) = "Penn Action", penn_action(data)
        else:
            name, (x, y) = "synthetic", synthetic(1256, 147, 15)
        compare(name, x, y, arguments.lam, arguments.alpha, arguments.repeats, not arguments.only_ours)
        follow(name, x, y, arguments.alpha, 100, 1e-3, max(1, arguments.repeats // 2))
        if arguments.large:
            x, y = synthetic(9537, 782, 101)
            print(f"peak RSS with the data {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
            follow("UCF-101's size", x, y, arguments.alpha, 100, 1e-2, 1)


if __name__ == "__main__":
    main()
