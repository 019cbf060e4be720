"""Encoders from a hub id or a folder: the same call for both, tensors only."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import torch
import transformers

from pipeline.stage import StageError, runtime
from pipeline.store.code import PROJECT
from pipeline.store.provenance import digest_of_file

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def locate(name: str) -> str:
    """A folder below the project or the run folder, or the hub id itself."""
    for folder in (PROJECT / name, Path(name)):
        if (folder / "config.json").is_file():
            return str(folder)
    return name


def device() -> torch.device:
    """The device of this run: ``auto`` takes a GPU where there is one."""
    wanted = runtime().get("device", "auto")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def batch_size(role: str, default: int) -> int:
    return int(runtime().get("batch_size", {}).get(role, default))


def load_model(cls: type, name: str, revision: str = "main", **options: Any) -> torch.nn.Module:
    """Load weights for inference, float32, on the run's device.

    Raises:
        StageError: not there, not safetensors, or keys that do not fit the architecture; says what to do.
    """
    place = locate(name)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            model, report = cls.from_pretrained(
                place,
                revision=revision,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StageError(
            f"cannot load {cls.__name__} from `{name}` (revision {revision}): {first} — name a folder with config.json "
            f"and model.safetensors, or a hub id that is reachable or already in the local cache"
        ) from None
    missing = sorted(report.get("missing_keys", []))
    if missing:
        raise StageError(f"`{name}` lacks {len(missing)} weights of {cls.__name__}, for example {missing[0]}")
    return model.eval().requires_grad_(False).to(device())


def processor_settings(name: str, revision: str = "main") -> dict[str, Any]:
    """The checkpoint's ``preprocessor_config.json``: mean, std and size are read, the processor class is not used."""
    from transformers.image_processing_utils import BaseImageProcessor

    try:
        settings, _ = BaseImageProcessor.get_image_processor_dict(locate(name), revision=revision)
    except OSError as error:
        raise StageError(f"`{name}` has no preprocessor_config.json ({str(error).splitlines()[0]})") from None
    return settings


def weights_digest(name: str, revision: str = "main") -> str:
    """Digest of the weights file, for the provenance; the pinned revision where there is no local folder."""
    weights = Path(locate(name)) / "model.safetensors"
    return digest_of_file(weights) if weights.is_file() else f"{name}@{revision}"


def normalise_pixels(frames: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    """uint8 or float frames in 0…255, ``[..., H, W, 3]`` → float32 ``[..., 3, H, W]``, standardised per channel."""
    scale = frames.new_tensor(mean, dtype=torch.float32) * 255
    spread = frames.new_tensor(std, dtype=torch.float32) * 255
    return ((frames.float() - scale) / spread).movedim(-1, -3)


def resize(frames: torch.Tensor, size: int) -> torch.Tensor:
    """float ``[n, 3, H, W]`` → ``[n, 3, size, size]``: shorter side to ``size`` with antialiasing, centre crop."""
    height, width = frames.shape[-2:]
    scale = size / min(height, width)
    shape = (max(size, round(height * scale)), max(size, round(width * scale)))
    if shape != (height, width):
        frames = torch.nn.functional.interpolate(frames, shape, mode="bicubic", antialias=True, align_corners=False)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    return frames[..., top : top + size, left : left + size]
