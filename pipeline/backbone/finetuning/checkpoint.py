"""State of a training on disk, so that one that was killed goes on and ends as if it had not been.

One safetensors file holds weights, both moments of the optimizer, and in its header as JSON everything that is not a
tensor. Random numbers need no state (`recipe.random_of`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from pipeline.store.atomic import replace_when_done

STATE = "state.safetensors"
# Of AdamW; `step` is the same for all parameters, but it is theirs.
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class Progress:
    """What is known beside the tensors.

    Attributes:
        plan: digest of what is trained; a state of another plan is not continued.
        step: steps that are done.
        loss, seen: sum of the losses of this epoch's clips so far, and their number.
        curve: one entry per finished epoch: epoch, learning_rate, train_loss, val_loss, val_top1. Epoch 0 is there
            where the head is a probe: it has no train_loss.
        scaler: state of the gradient scaler of float16, empty otherwise.
    """

    plan: str
    step: int = 0
    loss: float = 0.0
    seen: int = 0
    curve: list[dict] = field(default_factory=list)
    scaler: dict = field(default_factory=dict)

    @property
    def best(self) -> int | None:
        """Epoch with the highest validation accuracy; of equal ones that with the lower loss, then the earlier."""
        if not self.curve:
            return None
        return min(self.curve, key=lambda row: (-row["val_top1"], row["val_loss"], row["epoch"]))["epoch"]


def weights_of(epoch: int) -> str:
    """File of the weights after an epoch."""
    return f"epoch-{epoch:04d}.safetensors"


def save_state(folder: Path, progress: Progress, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the whole state atomically."""
    tensors = {f"weights.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment]
    with replace_when_done(folder / STATE) as temporary:
        header = {"format": "pt", "progress": json.dumps(asdict(progress))}
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, header)


def read_progress(folder: Path, plan: str) -> Progress | None:
    """How far the state in a folder is; None if there is none, a damaged one, or one of another plan."""
    try:
        with safe_open(folder / STATE, "pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    return progress if progress.plan == plan else None


def load_state(
    folder: Path, plan: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress:
    """Continue from the state in the folder, or begin anew where there is none for this plan."""
    progress = read_progress(folder, plan)
    if progress is None:
        return Progress(plan)
    state = load_file(folder / STATE, device=str(device))
    model.load_state_dict({name: state[f"weights.{name}"] for name in model.state_dict()})
    for name, parameter in model.named_parameters():
        moments = {moment: state[f"{moment}.{name}"] for moment in MOMENTS}
        # AdamW keeps its count of steps on the host.
        optimizer.state[parameter] = {**moments, "step": moments["step"].cpu()}
    return progress


def save_weights(folder: Path, epoch: int, model: torch.nn.Module) -> None:
    """Keep the weights of an epoch that may be the best."""
    with replace_when_done(folder / weights_of(epoch)) as temporary:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, temporary)


def forget_other_weights(folder: Path, epoch: int | None) -> None:
    """Remove weights of all epochs but one; only after the state that names it is on disk."""
    for path in folder.glob("epoch-*.safetensors"):
        if epoch is None or path.name != weights_of(epoch):
            path.unlink()


def load_weights(folder: Path, epoch: int, model: torch.nn.Module) -> None:
    """Give a network the weights that were kept of an epoch."""
    model.load_state_dict(load_file(folder / weights_of(epoch)))
