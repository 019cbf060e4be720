"""Networks that `transformers` lacks, against the results of their original code; see tests/reference/make_ports.py."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.context.encoders.lavila import LaViLaModel
from pipeline.context.encoders.viclip import SIZES, ViCLIPModel, architecture
from pipeline.context.encoders.vocabulary import clip_tokenizer, read_merges
from pipeline.jobs.stage import StageError

HERE = Path(__file__).resolve().parent
_specification = importlib.util.spec_from_file_location("drawn", HERE / "drawn.py")
drawn = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(drawn)

WORDS = json.loads((HERE / "ports.json").read_text())
TOLERANCE = 1e-5  # of results whose size is about 10


def configs(size: dict[str, int]) -> tuple[dict, dict]:
    vision = {
        "image_size": size["image_size"],
        "patch_size": size["patch_size"],
        "num_frames": size["num_frames"],
        "hidden_size": size["width"],
        "num_hidden_layers": size["layers"],
        "num_attention_heads": size["heads"],
    }
    text = {
        "vocab_size": size["vocabulary"],
        "max_position_embeddings": size["context"],
        "hidden_size": size["text_width"],
        "num_hidden_layers": size["layers"],
        "num_attention_heads": size["text_heads"],
    }
    return vision, text


def filled(model: torch.nn.Module) -> torch.nn.Module:
    model.load_state_dict(drawn.weights({key: value.shape for key, value in model.state_dict().items()}))
    return model.eval()


@pytest.fixture(scope="module")
def original() -> dict[str, np.ndarray]:
    return dict(np.load(HERE / "ports.npz"))


@pytest.mark.parametrize("case", ["video", "picture", "text"])
def test_viclip_gives_what_the_original_gives(original, case):
    model = filled(ViCLIPModel(*configs(drawn.VICLIP), drawn.VICLIP["output"]))
    pixels = drawn.pixels(drawn.VICLIP)
    with torch.no_grad():
        result = {
            "video": lambda: model.vision_encoder(pixels),
            "picture": lambda: model.vision_encoder(pixels[:, :1]),
            "text": lambda: model.text_encoder.encode_text(*drawn.token_ids(drawn.VICLIP)),
        }[case]()
    expected = original[f"viclip_{case}"]
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(result, expected, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("case", ["video", "picture", "text"])
def test_lavila_gives_what_the_original_gives(original, case):
    model = filled(LaViLaModel(*configs(drawn.LAVILA), drawn.LAVILA["output"]))
    pixels = drawn.pixels(drawn.LAVILA)
    with torch.no_grad():
        result = {
            "video": lambda: model.visual(pixels) @ model.image_projection,
            "picture": lambda: model.visual(pixels[:, :1]) @ model.image_projection,
            "text": lambda: model.encode_text(*drawn.token_ids(drawn.LAVILA)),
        }[case]()
    expected = original[f"lavila_{case}"]
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(result, expected, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("letter", sorted(SIZES))
def test_viclip_of_published_size_has_the_names_and_shapes_of_the_published_file(letter):
    with torch.device("meta"):
        model = ViCLIPModel(**architecture({"size": letter}, "published"))
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == WORDS["viclip_keys"][letter]


def test_lavila_has_the_names_and_shapes_of_the_original():
    model = LaViLaModel(*configs(drawn.LAVILA), drawn.LAVILA["output"])
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == WORDS["lavila_keys"]


def test_texts_get_the_token_ids_of_the_original(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "bpe_simple_vocab_16e6.txt.gz").write_bytes((HERE / "merges.txt.gz").read_bytes())
    tokenizer = clip_tokenizer(str(tmp_path))
    first, last = tokenizer.convert_tokens_to_ids(["<|startoftext|>", "<|endoftext|>"])
    assert (first, last) == (512 + 13, 512 + 14)
    for text, ids in zip(WORDS["texts"], WORDS["ids"], strict=True):
        assert tokenizer(text)["input_ids"] == [first, *ids, last], text


def test_a_damaged_vocabulary_is_told(tmp_path):
    (tmp_path / "merges.gz").write_bytes(b"not compressed")
    with pytest.raises(StageError, match="not a list of merges"):
        read_merges(tmp_path / "merges.gz")
