"""The files of an encoder, from a hub id or a folder: the same call for both, safetensors only, offline once cached.

A hub id is first looked for in the local cache, then downloaded; from there on it is a folder like any other. So a run
without a network needs nothing but a filled cache, and a branch that moves on the hub does not change a run halfway.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.store.atomic import StageError
from pipeline.store.code import PROJECT

WEIGHTS, SHARDED_WEIGHTS = "model.safetensors", "model.safetensors.index.json"
# Repositories whose `main` holds pickles only → where the hub's converter put the same weights as safetensors.
CONVERSIONS = {
    "openai/clip-vit-base-patch16": "refs/pr/10",
    "facebook/timesformer-base-finetuned-k400": "refs/pr/5",
}
# Where `conceptreel fetch` puts encoders; otherwise a folder of the user's cache.
CACHE_VARIABLE = "CONCEPTREEL_CACHE"
# What an encoder can need of a repository; weights of other frameworks and pickles stay where they are.
WANTED = ("*.json", WEIGHTS, "model-*.safetensors", "merges.txt", "vocab.*", "*.model", "*.txt.gz")
PICKLED = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".h5", ".msgpack")
SETTINGS_FILES = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")


def cache_folder() -> Path:
    """Folder of what `conceptreel fetch` brings, by family: ``$CONCEPTREEL_CACHE``, or below ``$XDG_CACHE_HOME``."""
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE_VARIABLE) or Path(user, "conceptreel"))


def locate(name: str, revision: str = "main") -> Path:
    """The folder of a checkpoint: below the project, below the run folder, what was fetched, or the hub's cache.

    Raises:
        StageError: there is no such folder, and the hub does not have it or cannot be reached.
    """
    places = (PROJECT / name, Path(name), cache_folder() / name)
    folders = [folder for folder in places if folder.is_dir()]
    for folder in folders:
        if (folder / "config.json").is_file():
            return folder
    if folders:
        raise StageError(f"`{name}` has no readable config.json; an encoder is a folder with it and {WEIGHTS}")
    if name.startswith("small/"):
        raise StageError(f"`{name}` is not in {cache_folder()}; run `conceptreel fetch small` once")
    return _from_hub(name, revision)


def _snapshot(name: str, revision: str, offline: bool) -> Path:
    import huggingface_hub

    with contextlib.redirect_stderr(io.StringIO()):
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=list(WANTED), local_files_only=offline
            )
        )


def _why_not(error: Exception) -> str:
    """What the hub's client reports, in words for who must act."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return "its licence must be accepted on its page, and `hf auth login` tells the hub who you are"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has no such repository, or a private one that needs `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the hub has the repository, but no such revision"
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@functools.cache
def _from_hub(name: str, revision: str) -> Path:
    from huggingface_hub.errors import HFValidationError

    wanted = [revision, CONVERSIONS[name]] if revision == "main" and name in CONVERSIONS else [revision]
    for revision in wanted:
        try:
            folder = _snapshot(name, revision, offline=True)
            if (folder / "config.json").is_file() and weight_files(folder):
                return folder
        except HFValidationError:
            raise StageError(f"`{name}` is neither a folder nor a hub id of the form owner/model") from None
        except OSError:
            pass  # not in the cache, or not all of it
    try:
        folder = _snapshot(name, revision, offline=False)
    except Exception as error:  # the hub's client raises its own, httpx's and OSErrors
        raise StageError(
            f"`{name}` (revision {revision}) is not in the local cache and cannot be downloaded: {_why_not(error)} — "
            f"run `hf download {name} --revision {revision}` on a machine with network and copy the cache (HF_HOME), "
            f"or name a folder with config.json and {WEIGHTS}"
        ) from None
    if not (folder / "config.json").is_file():
        raise StageError(f"`{name}` (revision {revision}) has no readable config.json, so its encoder is unknown")
    if not weight_files(folder):
        raise StageError(
            f"`{name}` (revision {revision}) has no complete {WEIGHTS} in the local cache or on the hub; run "
            f"`hf download {name} --revision {revision}`; if the hub has only pickles, name the hub's own conversion "
            f"(revision: refs/pr/N) or convert them with `conceptreel convert`"
        )
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: one, or those that its index names; none where one is missing.

    Raises:
        StageError: the index names something else than safetensors beside it.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    try:
        names = sorted(set(json.loads((folder / SHARDED_WEIGHTS).read_text())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise StageError(
                f"{folder / SHARDED_WEIGHTS} names `{name}`; parts of a checkpoint must be safetensors in its folder"
            )
    files = [folder / name for name in names]
    return files if all(file.is_file() for file in files) else []


def beside(name: str, revision: str, files: Iterable[str], needed: bool = True) -> list[Path]:
    """Those of some small files that a checkpoint has beside its weights.

    Args:
        needed: a cache that another program filled may hold the weights without any of them; then the same commit is
            completed from the hub.
    """
    folder, files = locate(name, revision), list(files)
    found = [folder / file for file in files if (folder / file).is_file()]
    if needed and not found and folder.parent.name == "snapshots":
        with contextlib.suppress(Exception):  # without a network it stays incomplete, and the caller says so
            _snapshot(name, folder.name, offline=False)
        found = [folder / file for file in files if (folder / file).is_file()]
    return found


def stored_weights(name: str, revision: str = "main") -> list[Path]:
    """`weight_files` of a checkpoint.

    Raises:
        StageError: it has none; says what can be done with pickled ones.
    """
    folder = locate(name, revision)
    files = weight_files(folder)
    if files:
        return files
    pickled = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLED)
    if pickled:
        raise StageError(
            f"`{name}` has only pickled weights ({pickled[0]}), which can run code and are never opened; "
            f"`conceptreel convert` converts them to {WEIGHTS} without executing anything"
        )
    raise StageError(f"`{name}` has no {WEIGHTS} beside its config.json; an encoder is a folder with both")


def config_of(name: str, revision: str = "main") -> dict[str, Any]:
    """``config.json`` of a checkpoint.

    Raises:
        StageError: absent or damaged.
    """
    try:
        config = json.loads((locate(name, revision) / "config.json").read_text())
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
        raise StageError(f"`{name}` is a {kind}; supported {role} are {', '.join(known)}")
    return kind


def processor_settings(name: str, revision: str = "main", default: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the checkpoint says about its input: mean, std, size, resampling. The processor class itself is not used.

    Args:
        default: taken where the checkpoint has no such file; without it that is an error.
    """
    for path in beside(name, revision, SETTINGS_FILES, needed=default is None):
        try:
            settings = json.loads(path.read_text())
            # A processor_config.json of several parts holds the picture's or the video's among them.
            for part in ("video_processor", "image_processor"):
                settings = settings.get(part, settings)
        except (OSError, ValueError, AttributeError) as error:
            raise StageError(f"`{name}` has a damaged {path.name} ({error})") from None
        if "image_mean" in settings or "size" in settings:
            return settings
    if default is None:
        raise StageError(
            f"`{name}` has no {SETTINGS_FILES[0]}, so mean, std and size of its input are unknown; copy it from "
            f"where the weights come from, or run `hf download {name} --revision {revision}`"
        )
    return default


@functools.cache
def _sha256(path: Path, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_digest(name: str, revision: str = "main") -> str:
    """SHA-256 of the weights, for the provenance; of a single file it is the one that the hub shows on its page."""
    digests = [_sha256(file, file.stat().st_mtime_ns) for file in stored_weights(name, revision)]
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
            f"the weights of `{name}` have SHA-256 {found}, but the configuration expects {expected}; the file was "
            f"changed or is another revision: fetch the right one, or correct sha256"
        )
