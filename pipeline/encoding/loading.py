"""Networks and tokenizers from the files of a checkpoint: safetensors, read here and never by `transformers`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open

from pipeline.encoding import hardware
from pipeline.encoding.checkpoints import beside, check_digest, locate, stored_weights
from pipeline.jobs.runtime import Runtime
from pipeline.store.atomic import StageError

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

LFS_POINTER = b"version https://git-lfs"
# What files of older releases store beside their weights: the numbers 0, 1, 2, … and how many batches were trained on.
COUNTERS = (".position_ids", ".num_batches_tracked")
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")


def _report_keys(
    name: str, model: str, missing: Iterable[str], surplus: Iterable[str], allowed: tuple[str, ...] = ()
) -> None:
    missing = sorted(key for key in missing if not key.endswith(".num_batches_tracked"))
    surplus = sorted(key for key in surplus if not key.startswith(allowed) and not key.endswith(COUNTERS))
    if missing:
        raise StageError(
            f"`{name}` lacks {len(missing)} weights of {model}, for example {missing[0]}; the file is incomplete or "
            f"has another architecture than its config.json says"
        )
    if surplus:
        raise StageError(
            f"`{name}` has {len(surplus)} weights that {model} lacks, for example {surplus[0]}; the file is of "
            f"another architecture than its config.json says"
        )


def _read_weights(name: str, revision: str, sha256: str) -> dict[str, torch.Tensor]:
    files = stored_weights(name, revision)
    check_digest(name, revision, sha256)
    state: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            with safe_open(file, "pt") as tensors:
                state.update({key: tensors.get_tensor(key) for key in tensors.keys()})  # noqa: SIM118 — not a dict
        except (OSError, SafetensorError) as error:
            with open(file, "rb") as content:
                pointer = content.read(len(LFS_POINTER)) == LFS_POINTER
            reason = "a pointer that Git LFS left in place of the file" if pointer else str(error).splitlines()[0]
            raise StageError(f"the weights of `{name}` are damaged ({file.name}: {reason}); fetch them again") from None
    return state


def load_model(
    cls: type,
    name: str,
    revision: str,
    sha256: str,
    runtime: Runtime,
    surplus: tuple[str, ...] = (),
    **options: Any,
) -> torch.nn.Module:
    """Load a network of ``transformers`` for inference, float32, on the run's device.

    Args:
        sha256: digest that the weights must have; empty for any.
        surplus: beginnings of weights that the file may have beyond those of ``cls``: decoders, heads of other tasks.

    Raises:
        StageError: not there, not safetensors, another digest, or keys that do not fit; says what to do.
    """
    # The weights are read here, not by `transformers`: a config.json can name another file there than was hashed.
    state = _read_weights(name, revision, sha256)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            config = cls.config_class.from_pretrained(str(locate(name, revision)), local_files_only=True)
            model, report = cls.from_pretrained(
                None, config=config, state_dict=state, dtype=torch.float32, output_loading_info=True, **options
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StageError(
            f"cannot load {cls.__name__} from `{name}` (revision {revision}): {first} — config.json and weights are "
            f"not from one checkpoint; fetch both again"
        ) from None
    _report_keys(name, cls.__name__, report.get("missing_keys", ()), report.get("unexpected_keys", ()), surplus)
    return model.eval().requires_grad_(False).to(hardware.device(runtime))


def load_tensors(model: torch.nn.Module, name: str, revision: str, sha256: str, runtime: Runtime) -> torch.nn.Module:
    """Fill a network of this project from the safetensors of a checkpoint; otherwise as `load_model`."""
    state = _read_weights(name, revision, sha256)
    own = model.state_dict()
    _report_keys(name, type(model).__name__, own.keys() - state.keys(), state.keys() - own.keys())
    for key, value in own.items():
        if state[key].shape != value.shape:
            raise StageError(
                f"`{name}`: {key} has shape {list(state[key].shape)}, {type(model).__name__} of this config.json needs "
                f"{list(value.shape)}"
            )
    model.load_state_dict({key: state[key].float() for key in own}, assign=True)
    return model.eval().requires_grad_(False).to(hardware.device(runtime))


def load_tokenizer(name: str, revision: str = "main") -> Any:
    """The tokenizer of a checkpoint, from its files.

    Raises:
        StageError: it has none.
    """
    # Without a vocabulary `transformers` makes an empty one, in which all texts are the same.
    if not beside(name, revision, VOCABULARIES):
        raise StageError(
            f"`{name}` has no tokenizer (none of {', '.join(VOCABULARIES)}); copy it from where the weights come from, "
            f"or run `hf download {name} --revision {revision}`"
        )
    try:
        # Without an answer it asks at the terminal whether code of the checkpoint may run.
        return transformers.AutoTokenizer.from_pretrained(
            str(locate(name, revision)), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(f"`{name}` has no usable tokenizer ({str(error).splitlines()[0]})") from None
