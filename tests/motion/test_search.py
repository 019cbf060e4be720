"""FINCH and k-means search on a GPU where faiss has one, and find there what they find on a CPU."""

from __future__ import annotations

from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from pipeline.jobs.runtime import Runtime
from pipeline.motion import motion_concepts
from pipeline.motion.clustering import kmeans
from pipeline.motion.finch import finch
from pipeline.motion.motion_concepts import discover
from pipeline.motion.search import search_device
from pipeline.motion.settings import MotionConcepts

METRICS = ("cosine", "euclidean")
NO_GPU = "faiss finds no GPU: faiss-cpu, or a machine without one"


def points(n: int = 600, d: int = 12) -> np.ndarray:
    """Clusters in clusters, with duplicates, so that ties decide some neighbours."""
    rng = np.random.default_rng(4)
    centres = rng.standard_normal((n // 20, d))
    x = (centres[rng.integers(len(centres), size=n)] + 0.1 * rng.standard_normal((n, d))).astype(np.float32)
    x[n // 2 :: 7] = x[: len(x[n // 2 :: 7])]
    return x


class FakeGPU:
    """faiss with two GPUs, which search as GPUs do: other rounding, and ties in another order."""

    def __init__(self, monkeypatch):
        self.searched: list[tuple[str, int]] = []
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
        monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
        monkeypatch.setattr(faiss, "knn_gpu", self.knn, raising=False)
        monkeypatch.setattr(faiss, "index_cpu_to_gpu", self.index, raising=False)
        self._on_cpu = faiss.knn
        monkeypatch.setattr(faiss, "knn", None)

    def knn(self, resources, queries, references, k, metric, device):
        self.searched.append(("knn", device))
        backwards = np.ascontiguousarray(references[::-1])
        scores, found = self._on_cpu(queries, backwards, k, metric=metric)
        noise = np.random.default_rng(0).uniform(-1, 1, scores.shape) * 2.0**-24
        return (scores * (1 + noise)).astype(np.float32), len(references) - 1 - found

    def index(self, resources, device, index):
        self.searched.append(("index", device))
        return index


class Videos:
    """As much of an index as the stage looks at."""

    def __init__(self, ids: list[str]):
        self.video_id, self.split = np.array(ids), np.array(["train"] * len(ids))

    def __len__(self) -> int:
        return len(self.video_id)

    def rows_of(self, ids: list[str]) -> np.ndarray:
        return np.array([self.video_id.tolist().index(key) for key in ids])


@pytest.fixture
def gpu(monkeypatch):
    return FakeGPU(monkeypatch)


@pytest.mark.parametrize("metric", METRICS)
def test_partitions_do_not_depend_on_where_neighbours_are_searched(metric, request):
    x = points()
    expected = [partition.labels.tolist() for partition in finch(x, metric)]
    gpu = request.getfixturevalue("gpu")
    assert [partition.labels.tolist() for partition in finch(x, metric, "cuda:1")] == expected
    assert gpu.searched == [("knn", 1)] * len(gpu.searched) and len(gpu.searched) >= len(expected) >= 2


def test_a_run_searches_where_it_says(gpu):
    assert search_device(Runtime()) == search_device(Runtime(device="cuda")) == "cuda:0"
    assert search_device(Runtime(device="cuda:1")) == "cuda:1"
    assert search_device(Runtime(device="cpu")) == "cpu"
    discover(points(), np.arange(600), MotionConcepts(method="kmeans", n_concepts=5), "cuda:1")
    discover(points(), np.arange(600), MotionConcepts(), "cuda:0")
    assert gpu.searched[0] == ("index", 1) and set(gpu.searched[1:]) == {("knn", 0)}


def test_without_a_gpu_of_faiss_the_cpu_searches(monkeypatch):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert search_device(Runtime(device="cuda")) == search_device(Runtime()) == "cpu"


@pytest.mark.parametrize(("device", "expected"), [("cuda:1", "cuda:1"), ("cpu", "cpu")])
def test_the_artifact_records_where(device, expected, monkeypatch):
    if device != "cpu":
        FakeGPU(monkeypatch)
    ids, written = [f"v{k}" for k in range(24)], {}
    videos = Videos(ids)
    monkeypatch.setattr(motion_concepts, "read_index", lambda job: videos)
    clips = {"poses": points(24, 68).reshape(24, 2, 17, 2), "row": np.arange(24), "start": np.zeros(24, int)}
    about = {"video_id": ids, "failed": [], "skeleton": "coco", "reason": []}
    job = SimpleNamespace(
        settings=MotionConcepts().model_dump(mode="json"),
        runtime=Runtime(device=device),
        read_arrays=lambda name: [({**clips, "kept": np.ones(24, bool)}, about)],
        write_arrays=lambda name, arrays, content, **extra: written.update(extra),
        write_table=lambda *_, **__: None,
    )
    motion_concepts.build(job)
    assert written["device"] == expected and written["clips"] == 24


@pytest.mark.skipif(not faiss.get_num_gpus(), reason=NO_GPU)
@pytest.mark.parametrize("metric", METRICS)
def test_a_real_gpu_finds_the_same_partitions(metric):
    for x in (points(), points(5000, 300)):
        expected = [partition.labels for partition in finch(x, metric)]
        for _ in range(2):
            for level, labels in zip(finch(x, metric, "cuda:0"), expected, strict=True):
                np.testing.assert_array_equal(level.labels, labels)


@pytest.mark.skipif(not faiss.get_num_gpus(), reason=NO_GPU)
@pytest.mark.parametrize("metric", METRICS)
def test_kmeans_of_a_real_gpu_is_as_tight_and_repeats(metric):
    x = points(5000, 64)
    if metric == "cosine":
        x /= np.linalg.norm(x, axis=1, keepdims=True)

    def spread(labels):
        return sum(((x[labels == label] - x[labels == label].mean(0)) ** 2).sum() for label in np.unique(labels))

    found = kmeans(x, 40, metric, 3, "cuda:0")
    np.testing.assert_array_equal(found, kmeans(x, 40, metric, 3, "cuda:0"))
    assert spread(found) == pytest.approx(spread(kmeans(x, 40, metric, 3)), rel=0.03)
