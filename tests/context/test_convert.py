from __future__ import annotations

import argparse
import gzip
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.cli import main
from pipeline.context.convert import convert, lavila_config, read_pickled, viclip_config
from pipeline.context.encoders import load_dual_encoder
from pipeline.jobs.stage import StageError


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    path.write_bytes(gzip.compress(b"#version: 0.2\nt h\nth e</w>\n"))
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Tiny networks with 64 channels, so that the number of heads is found, as pickles in their published forms."""
    from pipeline.context.encoders.lavila import LaViLaModel
    from pipeline.context.encoders.viclip import ViCLIPModel

    vision = {"image_size": 32, "patch_size": 16, "num_frames": 4, "hidden_size": 64, "num_hidden_layers": 2,
              "num_attention_heads": 1}  # fmt: skip
    text = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 516,
            "max_position_embeddings": 12}  # fmt: skip
    root = tmp_path_factory.mktemp("published")
    paths = {}
    for kind, cls in (("viclip", ViCLIPModel), ("lavila", LaViLaModel)):
        torch.manual_seed(0)
        model = cls(vision, text, 16)
        with torch.no_grad():
            for value in model.parameters():
                value.normal_(std=0.1)
        state = model.state_dict()
        if kind == "lavila":
            content = {
                "epoch": 5,
                "state_dict": {f"module.{key}": value for key, value in state.items()},
                "args": argparse.Namespace(model="CLIP_OPENAI_TIMESFORMER_BASE", lr=3e-5),
            }
        else:
            content = {"model": state}
        paths[kind] = root / f"{kind}.pth"
        torch.save(content, paths[kind])
    return paths, vision, text


@pytest.mark.parametrize("kind", ["viclip", "lavila"])
def test_a_published_pickle_becomes_a_folder_that_loads(published, kind, tmp_path, vocabulary, capsys):
    paths, vision, text = published
    out = tmp_path / "converted"
    arguments = [str(paths[kind]), "--kind", kind, "--out", str(out), "--vocabulary", str(vocabulary)]
    assert main(["convert", *arguments]) == 0
    assert "nothing was executed" in capsys.readouterr().out
    config = json.loads((out / "config.json").read_text())
    assert config["vision_config"] == vision and config["text_config"] == text and config["projection_dim"] == 16
    encoder = load_dual_encoder(str(out))
    clip = np.random.default_rng(0).integers(0, 256, (1, 4, 32, 32, 3), dtype=np.uint8)
    assert encoder.videos(clip, 4, 4).shape == (1, 16) and encoder.texts(["the dog"]).shape == (1, 16)
    assert main(["convert", *arguments]) == 2  # it is never written over
    assert "exists and is no empty folder; name another one" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bpe_simple_vocab_16e6.txt.gz", "converted"]


def test_a_pickle_of_transformers_keeps_its_configuration(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    torch.save({"layer.weight": torch.arange(6.0).reshape(2, 3).T}, source / "pytorch_model.bin")
    with pytest.raises(StageError, match=r"has no config\.json"):
        convert(source / "pytorch_model.bin", "transformers", tmp_path / "out")
    (source / "config.json").write_text('{"model_type": "videomae"}')
    convert(source / "pytorch_model.bin", "transformers", tmp_path / "out")
    np.testing.assert_array_equal(
        load_file(tmp_path / "out/model.safetensors")["layer.weight"], [[0, 3], [1, 4], [2, 5]]
    )
    assert (tmp_path / "out/config.json").read_text() == '{"model_type": "videomae"}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Hostile(), "nothing else is ever unpickled"),
        ({"model": {"a": Hostile()}}, "nothing else is ever unpickled"),
        ({"model": {"a": 3}}, "a is a int, not a tensor"),
        (torch.zeros(3), "expected a mapping of names to tensors"),
    ],
)
def test_what_holds_more_than_tensors_is_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(StageError, match=words):
        read_pickled(tmp_path / "x.pth")


def test_a_file_of_another_network_leaves_nothing_behind(tmp_path, vocabulary, published):
    paths, _, _ = published
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(StageError, match="is not a lavila with CLIP's text tower"):
        convert(tmp_path / "other.pth", "lavila", tmp_path / "out", vocabulary)
    with pytest.raises(StageError, match="is not a lavila"):
        convert(paths["viclip"], "lavila", tmp_path / "out", vocabulary)
    state = torch.load(paths["viclip"], weights_only=True)["model"]
    torch.save({"model": {**state, "vision_encoder.gate": torch.zeros(1)}}, tmp_path / "gated.pth")
    with pytest.raises(StageError, match=r"gated\.pth is not a usable viclip: .*has 1 weights that ViCLIPModel lacks"):
        convert(tmp_path / "gated.pth", "viclip", tmp_path / "out", vocabulary)
    with pytest.raises(StageError, match="does not exist"):
        convert(tmp_path / "none.pth", "viclip", tmp_path / "out", vocabulary)
    with pytest.raises(StageError, match="needs CLIP's list of merges"):
        convert(paths["viclip"], "viclip", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bpe_simple_vocab_16e6.txt.gz",
        "gated.pth",
        "other.pth",
    ]


def test_published_sizes_are_found_from_the_shapes():
    from pipeline.context.encoders.viclip import ViCLIPModel, architecture

    for letter in "bl":
        sizes = architecture({"size": letter}, "x")
        with torch.device("meta"):
            state = ViCLIPModel(**sizes).state_dict()
        found = viclip_config(state)
        assert {key: found[key] for key in sizes} == sizes
    # LaViLa's TSF-B: 12 blocks of 768 channels, patches of 16, four frames; CLIP ViT-B/16's text tower; 256 dimensions.
    from pipeline.context.encoders.lavila import LaViLaModel

    vision = {"image_size": 224, "patch_size": 16, "num_frames": 4, "hidden_size": 768, "num_hidden_layers": 12,
              "num_attention_heads": 12}  # fmt: skip
    text = {"vocab_size": 49408, "max_position_embeddings": 77, "hidden_size": 512, "num_hidden_layers": 12,
            "num_attention_heads": 8}  # fmt: skip
    with torch.device("meta"):
        found = lavila_config(LaViLaModel(vision, text, 256).state_dict())
    assert (found["vision_config"], found["text_config"], found["projection_dim"]) == (vision, text, 256)
