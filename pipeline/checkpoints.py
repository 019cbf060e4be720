"""Encoders from a hub id or a folder: the same call for both, safetensors only, offline once cached.

A hub id is first looked for in the local cache, then downloaded; from there on it is a folder like any other. So a run
without a network needs nothing but a filled cache, and a branch that moves on the hub does not change a run halfway.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open

from pipeline.stage import StageError, runtime
from pipeline.store.code import PROJECT

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

WEIGHTS, SHARDED_WEIGHTS = "model.safetensors", "model.safetensors.index.json"
# What an encoder can need of a repository; weights of other frameworks and pickles stay where they are.
WANTED = ("*.json", WEIGHTS, "model-*.safetensors", "merges.txt", "vocab.*", "*.model", "*.txt.gz")
PICKLED = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".h5", ".msgpack")
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")
SETTINGS_FILES = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")


def device() -> torch.device:
    """The device of this run: ``auto`` takes a GPU where there is one.

    Raises:
        StageError: a GPU is asked for that torch cannot use here.
    """
    wanted = runtime().get("device", "auto")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        why = "has no CUDA" if torch.version.cuda is None else "finds no GPU that it can use"
        raise StageError(
            f"runtime.device is {wanted}, but torch {torch.__version__} {why} on {platform.node()}; run this on a node "
            f"with a GPU and a torch for it, or set runtime.device to cpu or auto"
        )
    return torch.device(wanted)


def batch_size(role: str, default: int) -> int:
    return int(runtime().get("batch_size", {}).get(role, default))


# ---------------------------------------------------------------------------------------------------- finding the files


def locate(name: str, revision: str = "main") -> str:
    """The folder of a checkpoint: below the project, below the run folder, or the hub's cache.

    Raises:
        StageError: there is no such folder, and the hub does not have it or cannot be reached.
    """
    for folder in (PROJECT / name, Path(name)):
        if (folder / "config.json").is_file():
            return str(folder)
    for folder in (PROJECT / name, Path(name)):
        if folder.is_dir():
            raise StageError(f"`{name}` has no readable config.json; an encoder is a folder with it and {WEIGHTS}")
    return _from_hub(name, revision)


@functools.cache
def _from_hub(name: str, revision: str) -> str:
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    def snapshot(offline: bool) -> Path:
        with contextlib.redirect_stderr(io.StringIO()):
            return Path(
                huggingface_hub.snapshot_download(
                    name, revision=revision, allow_patterns=list(WANTED), local_files_only=offline
                )
            )

    try:
        folder = snapshot(offline=True)
        if (folder / "config.json").is_file() and weight_files(folder):
            return str(folder)
    except HFValidationError:
        raise StageError(f"`{name}` is neither a folder nor a hub id of the form owner/model") from None
    except OSError:
        pass  # not in the cache, or not all of it
    try:
        folder = snapshot(offline=False)
    except Exception as error:  # the hub's client raises its own, httpx's and OSErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StageError(
            f"`{name}` (revision {revision}) is not in the local cache and cannot be downloaded: {reason} — run "
            f"`hf download {name} --revision {revision}` where there is a network and copy the cache (HF_HOME), or "
            f"name a folder with config.json and {WEIGHTS}"
        ) from None
    if not (folder / "config.json").is_file():
        raise StageError(f"`{name}` (revision {revision}) has no readable config.json; it holds no encoder known here")
    if not weight_files(folder):
        raise StageError(
            f"`{name}` (revision {revision}) has no complete {WEIGHTS} in the local cache nor on the hub; run "
            f"`hf download {name} --revision {revision}`, or make a folder of pickled weights by `conceptreel convert`"
        )
    return str(folder)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: one, or those that its index names; none where one is missing."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    with contextlib.suppress(OSError, ValueError, KeyError):
        names = sorted(set(json.loads((folder / SHARDED_WEIGHTS).read_text())["weight_map"].values()))
        files = [folder / Path(name).name for name in names]
        if all(file.is_file() for file in files):
            return files
    return []


def _weights(name: str, folder: Path) -> list[Path]:
    files = weight_files(folder)
    if files:
        return files
    pickled = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLED)
    if pickled:
        raise StageError(
            f"`{name}` has pickled weights only ({pickled[0]}), which can run code and are never opened; "
            f"`conceptreel convert` makes {WEIGHTS} of them without executing anything"
        )
    raise StageError(f"`{name}` has no {WEIGHTS} beside its config.json; an encoder is a folder with both")


def config_of(name: str, revision: str = "main") -> dict[str, Any]:
    """``config.json`` of a checkpoint.

    Raises:
        StageError: absent or damaged.
    """
    try:
        config = json.loads(Path(locate(name, revision), "config.json").read_text())
    except (OSError, ValueError) as error:
        raise StageError(f"`{name}` has no readable config.json ({str(error).splitlines()[0]})") from None
    if not isinstance(config, dict):
        raise StageError(f"`{name}` has no readable config.json (it holds no mapping)")
    return config


def kind_of(name: str, revision: str = "main") -> str:
    """Architecture of a checkpoint: ``model_type`` of its config.json, or its architecture in lower case."""
    config = config_of(name, revision)
    kind = config.get("model_type") or (config.get("architectures") or [""])[0].lower()
    if not kind:
        raise StageError(f"config.json of `{name}` names neither a model_type nor an architecture")
    return kind


def check_kind(name: str, revision: str, role: str, known: Iterable[str]) -> str:
    """`kind_of`, if it is one of those that a role knows.

    Raises:
        StageError: with the list.
    """
    kind, known = kind_of(name, revision), list(known)
    if kind not in known:
        raise StageError(f"`{name}` is a {kind}; {role} known here are {', '.join(known)}")
    return kind


def processor_settings(name: str, revision: str = "main", default: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the checkpoint says about its input: mean, std, size, resampling. The processor class itself is not used.

    Args:
        default: taken where the checkpoint has no such file; without it that is an error.
    """
    folder = Path(locate(name, revision))
    for file in SETTINGS_FILES:
        if not (folder / file).is_file():
            continue
        try:
            settings = json.loads((folder / file).read_text())
        except (OSError, ValueError) as error:
            raise StageError(f"`{name}` has a damaged {file} ({error})") from None
        # A processor_config.json of several parts holds the picture's or the video's among them.
        for part in ("video_processor", "image_processor"):
            settings = settings.get(part, settings)
        if "image_mean" in settings or "size" in settings:
            return settings
    if default is None:
        raise StageError(f"`{name}` has no {SETTINGS_FILES[0]}, so mean, std and size of its input are not known")
    return default


# ------------------------------------------------------------------------------------------------------ loading weights


@functools.cache
def _sha256(path: Path, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_digest(name: str, revision: str = "main") -> str:
    """SHA-256 of the weights, for the provenance; of a single file it is the one that the hub shows on its page."""
    files = _weights(name, Path(locate(name, revision)))
    digests = [_sha256(file, file.stat().st_mtime_ns) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def check_digest(name: str, revision: str, expected: str) -> None:
    """Compare the weights with the digest that the configuration pins; an empty one pins nothing.

    Raises:
        StageError: they differ.
    """
    if expected and (found := weights_digest(name, revision)) != expected.lower():
        raise StageError(
            f"the weights of `{name}` have SHA-256 {found}, the configuration wants {expected}; the file was changed "
            f"or is another revision: fetch the right one, or correct sha256"
        )


def _report_keys(
    name: str, model: str, missing: Iterable[str], surplus: Iterable[str], allowed: tuple[str, ...]
) -> None:
    missing, surplus = (
        sorted(missing),
        sorted(
            # Old files store the positions 0, 1, 2, … of embeddings as if they were weights.
            key
            for key in surplus
            if not key.startswith(allowed) and not key.endswith(".position_ids")
        ),
    )
    if missing:
        raise StageError(
            f"`{name}` lacks {len(missing)} weights of {model}, for example {missing[0]}; the file is incomplete or of "
            f"another architecture than its config.json says"
        )
    if surplus:
        raise StageError(
            f"`{name}` has {len(surplus)} weights that {model} has not, for example {surplus[0]}; the file is of "
            f"another architecture than its config.json says"
        )


def load_model(
    cls: type,
    name: str,
    revision: str = "main",
    surplus: tuple[str, ...] = (),
    sha256: str = "",
    **options: Any,
) -> torch.nn.Module:
    """Load a network of ``transformers`` for inference, float32, on the run's device.

    Args:
        surplus: beginnings of weights that the file may have beyond those of ``cls``: decoders, heads of other tasks.
        sha256: digest that the weights must have; empty for any.

    Raises:
        StageError: not there, not safetensors, another digest, or keys that do not fit; says what to do.
    """
    folder = Path(locate(name, revision))
    _weights(name, folder)
    check_digest(name, revision, sha256)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            model, report = cls.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StageError(
            f"cannot load {cls.__name__} from `{name}` (revision {revision}): {first} — the files are damaged or of "
            f"another architecture; fetch them again"
        ) from None
    _report_keys(name, cls.__name__, report.get("missing_keys", ()), report.get("unexpected_keys", ()), surplus)
    return model.eval().requires_grad_(False).to(device())


def load_tensors(
    model: torch.nn.Module, name: str, revision: str = "main", surplus: tuple[str, ...] = (), sha256: str = ""
) -> torch.nn.Module:
    """Fill a network of this project from the safetensors of a checkpoint; otherwise as `load_model`."""
    folder = Path(locate(name, revision))
    files = _weights(name, folder)
    check_digest(name, revision, sha256)
    state: dict[str, torch.Tensor] = {}
    try:
        for file in files:
            with safe_open(file, "pt") as tensors:
                state.update({key: tensors.get_tensor(key) for key in tensors.keys()})  # noqa: SIM118 — not a dict
    except (OSError, SafetensorError) as error:
        raise StageError(f"the weights of `{name}` are damaged ({error}); fetch them again") from None
    own = model.state_dict()
    _report_keys(name, type(model).__name__, own.keys() - state.keys(), state.keys() - own.keys(), surplus)
    for key, value in own.items():
        if state[key].shape != value.shape:
            raise StageError(
                f"`{name}`: {key} has shape {list(state[key].shape)}, {type(model).__name__} of this config.json needs "
                f"{list(value.shape)}"
            )
    model.load_state_dict({key: state[key].float() for key in own}, assign=True)
    return model.eval().requires_grad_(False).to(device())


def load_tokenizer(name: str, revision: str = "main") -> Any:
    """The tokenizer of a checkpoint, from its files.

    Raises:
        StageError: it has none.
    """
    folder = Path(locate(name, revision))
    # Without a vocabulary `transformers` makes an empty one, in which all texts are the same.
    if not any((folder / file).is_file() for file in VOCABULARIES):
        raise StageError(f"`{name}` has no tokenizer (none of {', '.join(VOCABULARIES)})")
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(f"`{name}` has no tokenizer ({str(error).splitlines()[0]})") from None
