"""What the three trainings share: the optimisation loop and the checkpoint format."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

_WEIGHT_DECAY = 0.05
_WARM_UP_FRACTION = 0.04
_GRADIENT_NORM = 1.0
_LOG_EVERY = 100
_CHECKPOINT_EVERY = 500


def fit(
    modules: nn.ModuleDict,
    batches: Iterator[dict[str, torch.Tensor]],
    losses: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    steps: int,
    learning_rate: float,
    checkpoint: Callable[[nn.ModuleDict], None],
    averaging: float = 0.998,
) -> None:
    """Trains `modules` in place with AdamW and a cosine schedule.

    At the end the modules hold an exponential moving average of their weights over the steps,
    which generalises better than the last ones. `losses` returns named terms that are summed;
    `checkpoint` is called with the averaged modules every 500 steps and at the end.
    """
    trained = [p for p in modules.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    free = [p for p in trained if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": free, "weight_decay": 0}],
        lr=learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    warm_up = max(1, round(_WARM_UP_FRACTION * steps))

    def rate(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    average = copy.deepcopy(modules)
    seen: dict[str, list[float]] = {}
    started = time.monotonic()
    modules.train()
    for step in range(steps):
        terms = losses(next(batches))
        optimiser.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(modules.parameters(), _GRADIENT_NORM)
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
