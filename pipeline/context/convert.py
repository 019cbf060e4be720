"""``conceptreel convert``: pickled checkpoints made into folders of safetensors, without executing anything of theirs.

ViCLIP's larger training sets and all of LaViLa are published as pickles only. They are read by torch's restricted
unpickler, which builds tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.store.atomic import StageError

if TYPE_CHECKING:
    import torch

KINDS = ("viclip", "lavila", "transformers")
# Where files keep their weights beside an optimiser's state and the like.
CONTAINERS = ("state_dict", "model", "module")
HEAD_WIDTH = 64  # of every published model of both kinds


def read_pickled(path: Path) -> dict[str, torch.Tensor]:
    """Names and tensors of a pickled checkpoint.

    Raises:
        StageError: absent, damaged, or it holds more than tensors and settings.
    """
    import torch

    if not path.is_file():
        raise StageError(f"{path} does not exist; name a pickled checkpoint, a file such as model.pth")
    try:
        # Training scripts store their arguments in the file; a Namespace holds values and does nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for hostile files
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StageError(f"{path} cannot be read without running code from it, which is never done ({first})") from None
    for name in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if not isinstance(content, dict) or not content:
        raise StageError(f"{path} holds no weights: a mapping of names to tensors is expected")
    tensors = {str(key).removeprefix("module."): value for key, value in content.items()}
    odd = [key for key, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise StageError(f"{path} holds no weights: {odd[0]} is a {type(tensors[odd[0]]).__name__}, not a tensor")
    return {key: value.contiguous().clone() for key, value in tensors.items()}


def _layers(state: dict[str, torch.Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})


def _text_config(state: dict[str, torch.Tensor], prefix: str) -> dict[str, int]:
    vocabulary, width = state[f"{prefix}token_embedding.weight"].shape
    return {
        "vocab_size": vocabulary,
        "max_position_embeddings": len(state[f"{prefix}positional_embedding"]),
        "hidden_size": width,
        "num_hidden_layers": _layers(state, f"{prefix}transformer.resblocks."),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
    }


def viclip_config(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """config.json of a ViCLIP, from the shapes of its weights."""
    vision = "vision_encoder."
    width, _, _, patch, _ = state[f"{vision}conv1.weight"].shape
    places = len(state[f"{vision}positional_embedding"]) - 1
    return {
        "architectures": ["ViCLIP"],
        "vision_config": {
            "image_size": round(places**0.5) * patch,
            "patch_size": patch,
            "num_frames": state[f"{vision}temporal_positional_embedding"].shape[1],
            "hidden_size": width,
            "num_hidden_layers": _layers(state, f"{vision}transformer.resblocks."),
            "num_attention_heads": max(1, width // HEAD_WIDTH),
        },
        "text_config": _text_config(state, "text_encoder."),
        "projection_dim": state["text_encoder.text_projection"].shape[1],
    }


def lavila_config(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """config.json of a LaViLa dual encoder, from the shapes of its weights."""
    width, _, patch, _ = state["visual.patch_embed.proj.weight"].shape
    places = state["visual.pos_embed"].shape[1] - 1
    return {
        "model_type": "lavila",
        "vision_config": {
            "image_size": round(places**0.5) * patch,
            "patch_size": patch,
            "num_frames": state["visual.temporal_embed"].shape[1],
            "hidden_size": width,
            "num_hidden_layers": _layers(state, "visual.blocks."),
            "num_attention_heads": max(1, width // HEAD_WIDTH),
        },
        "text_config": _text_config(state, ""),
        "projection_dim": state["text_projection"].shape[1],
    }


def convert(source: Path, kind: str, out: Path, vocabulary: Path | None = None) -> None:
    """Write ``out``, a folder that the loaders of this project accept.

    Args:
        source: the pickled file; with ``transformers`` it lies beside its config.json.
        kind: one of `KINDS`.
        vocabulary: CLIP's list of merges, for the two other kinds.

    Raises:
        StageError: nothing is written then.
    """
    from safetensors.torch import save_file

    from pipeline.encoding.checkpoints import WEIGHTS

    if out.exists():
        raise StageError(f"{out} exists; name a folder that does not")
    state = read_pickled(source)
    copied = sorted(source.parent.glob("*.json")) if kind == "transformers" else []
    if kind == "transformers":
        if not (source.parent / "config.json").is_file():
            raise StageError(
                f"{source.parent} has no config.json; the weights alone do not say what network they are of"
            )
    else:
        if vocabulary is None or not vocabulary.is_file():
            raise StageError(
                f"{kind} needs CLIP's list of merges: --vocabulary bpe_simple_vocab_16e6.txt.gz, which its code "
                f"repository holds"
            )
        try:
            config = {"viclip": viclip_config, "lavila": lavila_config}[kind](state)
        except (KeyError, ValueError) as error:
            raise StageError(f"{source} is no {kind} with CLIP's text tower: {error} is not as it should be") from None
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        save_file(state, temporary / WEIGHTS)
        if kind == "transformers":
            for path in copied:
                shutil.copy(path, temporary / path.name)
            for name in ("merges.txt", "vocab.txt"):
                if (source.parent / name).is_file():
                    shutil.copy(source.parent / name, temporary / name)
        else:
            (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n")
            shutil.copy(vocabulary, temporary / "bpe_simple_vocab_16e6.txt.gz")
            _check(temporary, source, kind)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check(folder: Path, source: Path, kind: str) -> None:
    """Load what was written, so that a file of another network is told now and not in a job."""
    from pipeline.context.encoders import load_dual_encoder

    try:
        load_dual_encoder(str(folder))
    except StageError as error:
        raise StageError(
            f"{source} is no {kind} that can be used here: {error}".replace(str(folder), source.name)
        ) from None


def run(call: argparse.Namespace) -> int:
    """The command."""
    convert(call.weights, call.kind, call.out, call.vocabulary)
    print(f"wrote {call.out}; its weights have been read as tensors, nothing was executed")
    return 0


def add_commands(commands: Any) -> None:
    command = commands.add_parser("convert", help="make safetensors of a pickled checkpoint, without executing it")
    command.add_argument("weights", type=Path, help="the pickled file (.pth, .bin, .pt)")
    command.add_argument(
        "--kind", choices=KINDS, required=True, help="transformers: a config.json lies beside the file"
    )
    command.add_argument("--out", type=Path, required=True, help="folder to be made")
    command.add_argument("--vocabulary", type=Path, help="bpe_simple_vocab_16e6.txt.gz, for viclip and lavila")
    command.set_defaults(run=run)
