"""``conceptreel convert``: pickled checkpoints made into folders of safetensors, without executing anything of theirs.

ViCLIP's larger training sets, all of LaViLa and of MMPose are published as pickles only. They are read by torch's
restricted unpickler, which builds tensors and plain containers and refuses everything else. MMPose's description of a
network is a Python file; it is run where ``--python`` says, because its user asked for it, and never again.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.exchange.files import read_torch
from pipeline.methods.commands import check_file
from pipeline.store.atomic import StageError, new_folder
from pipeline.store.plain import write_json

if TYPE_CHECKING:
    import torch

KINDS = ("viclip", "lavila", "transformers", "mmpose")
# Where files keep their weights beside an optimiser's state and the like.
CONTAINERS = ("state_dict", "model", "module")
HEAD_WIDTH = 64  # of every published model of both kinds


class _Unread:
    """Stands for MMEngine's records of losses, and for what these look up by name: nothing of them is kept."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def plain_arrays() -> list[Any]:
    """What else a checkpoint of MMPose holds: numpy's numbers, in its notes on the data set, and records of losses."""
    import numpy as np
    from numpy._core import multiarray

    kinds = ("bool", "uint8", "int32", "int64", "float32", "float64")
    made = [(getattr(multiarray, name), name) for name in ("_reconstruct", "scalar")]
    return [
        np.ndarray,
        np.dtype,
        *(type(np.dtype(kind)) for kind in kinds),
        *((function, f"numpy.{core}.multiarray.{name}") for function, name in made for core in ("core", "_core")),
        (_Unread, "mmengine.logging.history_buffer.HistoryBuffer"),
        *((_Unread, f"{module}.getattr") for module in ("builtins", "__builtin__")),
    ]


def read_pickled(path: Path, allowed: Sequence[Any] = ()) -> dict[str, torch.Tensor]:
    """Names and tensors of a pickled checkpoint.

    Args:
        allowed: see `pipeline.exchange.files.read_torch`.

    Raises:
        StageError: absent, damaged, or it holds more than tensors and settings.
    """
    import torch

    if not path.is_file():
        raise StageError(f"{path} does not exist; name a pickled checkpoint, a file such as model.pth")
    content = read_torch(path, allowed)
    for name in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if not isinstance(content, dict) or not content:
        raise StageError(f"{path} holds no weights: expected a mapping of names to tensors")
    tensors = {str(key).removeprefix("module."): value for key, value in content.items()}
    odd = [key for key, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise StageError(f"{path} holds no weights: {odd[0]} is a {type(tensors[odd[0]]).__name__}, not a tensor")
    return {key: value.contiguous().clone() for key, value in tensors.items()}


def _tower(state: dict[str, torch.Tensor], width: int, blocks: str) -> dict[str, int]:
    return {
        "hidden_size": width,
        "num_hidden_layers": len({key.removeprefix(blocks).split(".")[0] for key in state if key.startswith(blocks)}),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
    }


def _config(
    state: dict[str, torch.Tensor], patches: str, places: str, times: str, blocks: str, text: str
) -> dict[str, Any]:
    """Sizes of both towers, from the shapes of the named weights; ``text`` begins the names of the text tower."""
    width, *_, patch, _ = state[patches].shape
    vocabulary, text_width = state[f"{text}token_embedding.weight"].shape
    return {
        "vision_config": {
            "image_size": round((state[places].shape[-2] - 1) ** 0.5) * patch,
            "patch_size": patch,
            "num_frames": state[times].shape[1],
            **_tower(state, width, blocks),
        },
        "text_config": {
            "vocab_size": vocabulary,
            "max_position_embeddings": len(state[f"{text}positional_embedding"]),
            **_tower(state, text_width, f"{text}transformer.resblocks."),
        },
        "projection_dim": state[f"{text}text_projection"].shape[1],
    }


def viclip_config(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """config.json of a ViCLIP, from the shapes of its weights."""
    names = ("conv1.weight", "positional_embedding", "temporal_positional_embedding", "transformer.resblocks.")
    return {
        "architectures": ["ViCLIP"],
        **_config(state, *(f"vision_encoder.{name}" for name in names), "text_encoder."),
    }


def lavila_config(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """config.json of a LaViLa dual encoder, from the shapes of its weights."""
    names = ("patch_embed.proj.weight", "pos_embed", "temporal_embed", "blocks.")
    return {"model_type": "lavila", **_config(state, *(f"visual.{name}" for name in names), "")}


def convert(
    source: Path, kind: str, out: Path, vocabulary: Path | None = None, config: Path | None = None, python: str = ""
) -> None:
    """Write ``out``, a folder that the loaders of this project accept.

    Args:
        source: the pickled file; with ``transformers`` it lies beside its config.json.
        kind: one of `KINDS`.
        vocabulary: CLIP's list of merges, for ``viclip`` and ``lavila``.
        config, python: the Python file that describes a network of ``mmpose``, and the Python of an environment with
            MMPose, which runs it.

    Raises:
        StageError: nothing is written then.
    """
    from safetensors.torch import save_file

    from pipeline.encoding.checkpoints import WEIGHTS

    with new_folder(out) as folder:
        state = read_pickled(source, plain_arrays() if kind == "mmpose" else ())
        save_file(state, folder / WEIGHTS)
        if kind == "mmpose":
            _mmpose(folder, config, python)
            return
        if kind == "transformers":
            if not (source.parent / "config.json").is_file():
                raise StageError(f"{source.parent} has no config.json; the weights alone do not identify their network")
            for path in source.parent.iterdir():
                if path.suffix == ".json" or path.name in ("merges.txt", "vocab.txt"):
                    shutil.copy(path, folder / path.name)
            return
        if vocabulary is None or not vocabulary.is_file():
            raise StageError(
                f"{kind} needs CLIP's list of merges: --vocabulary bpe_simple_vocab_16e6.txt.gz, which its code "
                f"repository holds"
            )
        try:
            config = {"viclip": viclip_config, "lavila": lavila_config}[kind](state)
        except (KeyError, ValueError) as error:
            raise StageError(f"{source} is not a {kind} with CLIP's text tower: {error} does not match") from None
        write_json(folder / "config.json", config)
        shutil.copy(vocabulary, folder / "bpe_simple_vocab_16e6.txt.gz")
        _check(folder, source, kind)


def _mmpose(folder: Path, config: Path | None, python: str) -> None:
    """Write config.json of a checkpoint of MMPose; it is loaded where it will run, and its speed noted for plans."""
    from pipeline.encoding.known import SPEED
    from pipeline.motion.pose.mmpose import described, measured

    if config is None or not config.is_file():
        raise StageError(
            f"mmpose needs the config that the weights were trained with, a Python file: --config (given: {config})"
        )
    says = described(config, python)
    write_json(folder / "config.json", says)
    write_json(folder / "config.json", {**says, SPEED: measured(folder, python)})


def _check(folder: Path, source: Path, kind: str) -> None:
    """Load what was written, so that a file of another network is told now and not in a job."""
    from pipeline.context.encoders import load_dual_encoder

    try:
        load_dual_encoder(str(folder))
    except StageError as error:
        raise StageError(f"{source} is not a usable {kind}: {error}".replace(str(folder), source.name)) from None


def run(call: argparse.Namespace) -> int:
    """The command."""
    for path in filter(None, (call.weights, call.vocabulary, call.config)):
        check_file(path)
    convert(call.weights, call.kind, call.out, call.vocabulary, call.config, call.python)
    ran = f"{call.config} was run by {call.python}" if call.kind == "mmpose" else "nothing was executed"
    print(f"wrote {call.out}; its weights have been read as tensors, {ran}")
    return 0


def add_commands(commands: Any) -> None:
    command = commands.add_parser(
        "convert",
        help="make safetensors of a pickled checkpoint, without executing it",
        example="convert pytorch_model.bin --kind transformers --out weights/timesformer",
    )
    command.add_argument("weights", type=Path, metavar="WEIGHTS", help="the pickled file (.pth, .bin, .pt)")
    command.add_argument(
        "--kind", choices=KINDS, required=True, help="transformers: a config.json lies beside the file"
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to be made")
    command.add_argument(
        "--vocabulary", type=Path, metavar="FILE", help="bpe_simple_vocab_16e6.txt.gz, for viclip and lavila"
    )
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="of mmpose: the network's config, which is Python and will be run"
    )
    command.add_argument(
        "--python", default="", metavar="FILE", help="of mmpose: the Python of an environment that has MMPose"
    )
    command.set_defaults(run=run)
