"""Memory of PCMCI's training at the size of COIN: rows of all its videos on disk, steps with 778 labels, its figures.

    python -m bench.pcmci_memory --videos 11827 --test 2797 --labels 778 --batch 8 --steps 2

Features are noise: 64 frames of width 512 and 64 tokens of width 768, of the default network. All that grows with the
set is there in full: rows on disk, labels, the logits of test and their couplings. Steps are alike, so that a few have
the memory of all.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator

import numpy as np
import torch

from pipeline.methods.pcmci.network import Network
from pipeline.methods.pcmci.rows import Corpus, OnDisk
from pipeline.methods.pcmci.settings import Network as Settings
from pipeline.methods.pcmci.settings import Training
from pipeline.methods.pcmci.train import table_of
from pipeline.methods.pcmci.training import asked, train
from pipeline.methods.pcmci.trials import asked_of

IN_SHARD = 185


class Noise:
    """Shards of rows, as a job reads them."""

    def __init__(self, videos: int, width: int):
        self.videos, self.width = videos, width

    def read_arrays(self, name: str) -> Iterator[tuple[dict[str, np.ndarray], dict[str, list[str]]]]:
        rows = np.random.default_rng(0).standard_normal((IN_SHARD, 64, self.width), np.float32).astype(np.float16)
        for start in range(0, self.videos, IN_SHARD):
            ids = [f"{number:05d}" for number in range(start, min(self.videos, start + IN_SHARD))]
            yield {name: rows[: len(ids)]}, {"video_id": ids}


def peak() -> float:
    """Largest resident memory so far in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=11827)
    parser.add_argument("--test", type=int, default=2797, help="of these; figures are of as many logits")
    parser.add_argument("--labels", type=int, default=778)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2)
    call = parser.parse_args()
    random = torch.Generator().manual_seed(0)
    print(f"{peak():.2f} GB before")
    frames, tokens = OnDisk(Noise(call.videos, 512), "frames"), OnDisk(Noise(call.videos, 768), "tokens")
    labels = torch.rand(call.videos, call.labels, generator=random) < 0.005
    every = np.arange(call.videos)
    corpus = Corpus(
        frames=frames,
        tokens=tokens,
        row_of=(every, every),
        video_id=every.astype(str),
        labels=labels,
        split=np.where(every < call.videos - call.test, "train", "test"),
        texts=torch.randn(call.labels, 512, generator=random),
        class_names=[f"step {number}" for number in range(call.labels)],
    )
    print(f"{peak():.2f} GB with {call.videos} videos, rows on disk")
    network = Network(corpus.texts, 768, Settings())
    rows, started = every[: call.steps * call.batch], time.process_time()
    settings = Training(epochs=1, batch_size=call.batch)
    curve = train(network, corpus.batch, labels, rows, rows[: call.batch], settings)
    step = (time.process_time() - started) / call.steps
    weights = sum(value.numel() for value in network.parameters())
    print(f"{peak():.2f} GB after {call.steps} steps of {call.batch} videos, {step:.1f} CPU s each")
    print(f"{weights / 1e6:.1f} M weights")
    asked(network, corpus.batch, corpus.rows("test")[: call.batch])
    scores = np.random.default_rng(1).standard_normal((call.test, call.labels)).astype(np.float32) - 3
    _, coupled = asked_of(scores, labels[-call.test :].numpy(), "actions", "own", "test", curve.thresholds)
    table_of(coupled, corpus.class_names)
    print(f"{peak():.2f} GB at most, with the figures of {call.test} test videos")


if __name__ == "__main__":
    main()
