"""What a run's choices mean on this machine: the device, the precision, and how many rows fit."""

from __future__ import annotations

import contextlib
import platform

import torch

from pipeline.jobs.runtime import Runtime
from pipeline.store.atomic import StageError

# Rows at once, on a CPU and on a GPU (where batches are halved if memory does not suffice): crops, clips, pictures of
# clips and of prompt grids, and clips of which fine-tuning keeps the gradients (the supplement's GPUs took 10).
BATCH_SIZES = {
    "poses": (64, 256),
    "features": (4, 32),
    "dual_encoder": (64, 512),
    "prompts": (49, 392),
    "finetune": (10, 10),
}


def device(runtime: Runtime) -> torch.device:
    """The device of a run: ``auto`` takes a GPU where there is one.

    Raises:
        StageError: a GPU is asked for that torch cannot use here.
    """
    wanted = runtime.device
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        why = "has no CUDA" if torch.version.cuda is None else "finds no GPU that it can use"
        raise StageError(
            f"runtime.device is {wanted}, but torch {torch.__version__} {why} on {platform.node()}; run on a node "
            f"with a GPU and a matching torch, or set runtime.device to cpu or auto"
        )
    return torch.device(wanted)


def batch_size(role: str, runtime: Runtime) -> int:
    """Rows that an encoder is given at once, as the run says or by its device."""
    return runtime.batch_size.get(role) or BATCH_SIZES[role][device(runtime).type == "cuda"]


def precision(device: torch.device, runtime: Runtime) -> torch.dtype:
    """What matrices are multiplied in: ``auto`` is bfloat16 on GPUs that have it and float32 elsewhere.

    On CPUs float32 is kept: their results are the reference, and the demo's figures rest on them.
    """
    if runtime.precision == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float32
    return getattr(torch, runtime.precision)


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Context in which networks run in ``dtype``; weights stay float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
