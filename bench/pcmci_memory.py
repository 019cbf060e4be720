"""Memory and time of one step of PCMCI's training, by the number of labels.

    python -m bench.pcmci_memory --labels 778 --batch 16

Features are noise: 64 frames of width 512 and 64 tokens of width 768, of the default network.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch
from torch.nn import functional

from pipeline.methods.pcmci.network import Network
from pipeline.methods.pcmci.settings import Network as Settings
from pipeline.methods.pcmci.settings import Training
from pipeline.methods.pcmci.training import asked, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=778)
    parser.add_argument("--batch", type=int, default=16)
    call = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    random = torch.Generator().manual_seed(0)
    tokens = torch.randn(call.batch, 64, 768, generator=random)
    frames = functional.normalize(torch.randn(call.batch, 64, 512, generator=random), dim=2)
    labels = torch.rand(call.batch, call.labels, generator=random) < 0.01
    labels[:, 0] = True
    network = Network(torch.randn(call.labels, 512, generator=random), 768, Settings())

    def batch(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, None]:
        return tokens[rows], frames[rows], None

    rows, started = np.arange(call.batch), time.process_time()
    train(network, batch, labels, rows, rows[:0], Training(epochs=1, batch_size=call.batch))
    step = time.process_time() - started
    asked(network, batch, rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    weights = sum(value.numel() for value in network.parameters())
    print(f"{call.labels} labels, {weights / 1e6:.1f} M weights: a step of {call.batch} videos {step:.1f} CPU s,")
    print(f"at most {peak / 1024**2:.2f} GB resident ({before / 1024**2:.2f} GB before)")


if __name__ == "__main__":
    main()
