"""What the three trainings share: the optimisation loop and the checkpoint format."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

_WEIGHT_DECAY = 0.05
# Learning rate of the blocks' matrices over that of the rest.
_MUON_RATE = 20.0
_WARM_UP_FRACTION = 0.04
_GRADIENT_NORM = 1.0
_LOG_EVERY = 100
_CHECKPOINT_EVERY = 500


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each matrix is made nearly orthogonal (Jordan et al. 2024).

    All directions of a matrix then learn at the same speed, and small encoders need fewer steps than
    with AdamW. `torch.optim.Muon` does the same in bfloat16, which a CPU without hardware for it
    emulates: there it takes sixteen times as long as this, longer than the rest of a step.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(parameters, {"lr": learning_rate, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """Applies one update to every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                average = state.setdefault("average", torch.zeros_like(matrix))
                average.lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonalise(matrix.grad.lerp(average, group["momentum"]))
                rows, columns = matrix.shape
                matrix.mul_(1 - group["lr"] * _WEIGHT_DECAY)
                matrix.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """Moves all singular values of a matrix near 1 and keeps its singular vectors.

    Five steps of the quintic Newton-Schulz iteration with Muon's coefficients, which are made for
    speed: the values end between about 0.7 and 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def fit(
    modules: nn.ModuleDict,
    batches: Iterator[dict[str, torch.Tensor]],
    losses: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    steps: int,
    learning_rate: float,
    checkpoint: Callable[[nn.ModuleDict], None],
    averaging: float = 0.998,
) -> None:
    """Trains `modules` in place with Muon, for the blocks' matrices, and AdamW, for the rest.

    The learning rates rise linearly, then fall along a cosine.
    At the end the modules hold an exponential moving average of their weights over the steps,
    which generalises better than the last ones. `losses` returns named terms that are summed;
    `checkpoint` is called with the averaged modules every 500 steps and at the end.
    """
    trained = {name: p for name, p in modules.named_parameters() if p.requires_grad}
    # Matrices of the transformer blocks; embeddings and read-outs are no maps between tokens.
    blocks = [p for name, p in trained.items() if ".layer" in name and p.ndim == 2]
    others = [p for p in trained.values() if all(p is not block for block in blocks)]
    decayed, free = [p for p in others if p.ndim > 1], [p for p in others if p.ndim <= 1]
    optimisers = [
        Muon(blocks, learning_rate=_MUON_RATE * learning_rate),
        torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": _WEIGHT_DECAY},
                {"params": free, "weight_decay": 0},
            ],
            lr=learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        ),
    ]
    warm_up = max(1, round(_WARM_UP_FRACTION * steps))

    def rate(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))

    schedules = [torch.optim.lr_scheduler.LambdaLR(optimiser, rate) for optimiser in optimisers]
    average = copy.deepcopy(modules)
    seen: dict[str, list[float]] = {}
    started = time.monotonic()
    modules.train()
    for step in range(steps):
        terms = losses(next(batches))
        modules.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(modules.parameters(), _GRADIENT_NORM)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
        momentum = min(averaging, (step + 1) / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), modules.parameters(), strict=True):
                slow.lerp_(fast, 1 - momentum)
        for name, term in terms.items():
            seen.setdefault(name, []).append(float(term.detach()))
        if (step + 1) % _LOG_EVERY == 0 or step + 1 == steps:
            means = "  ".join(f"{name} {np.mean(values):.4f}" for name, values in seen.items())
            seconds = time.monotonic() - started
            print(f"step {step + 1}/{steps}  {seconds:.0f} s  {means}", flush=True)
            seen = {}
        if (step + 1) % _CHECKPOINT_EVERY == 0 or step + 1 == steps:
            checkpoint(average)
    modules.load_state_dict(average.state_dict())
    modules.eval()


def save_checkpoint(model: PreTrainedModel, folder: Path) -> None:
    """Writes `config.json` and `model.safetensors` (weights rounded to float16) into `folder`.

    The configuration says float32, so that `from_pretrained` gives a float32 model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = "float32"
    model.config.save_pretrained(folder)
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
