"""Reference numbers for the ports of ViCLIP and LaViLa, from the original code on random weights.

python tests/reference/make_ports.py --viclip InternVideo/Data/InternVid --lavila LaViLa

Needs checkouts of OpenGVLab/InternVideo and facebookresearch/LaViLa and the package `einops`; what else the originals
import and these networks do not use (timm, ftfy, …) is replaced by stand-ins. Nothing of the originals is kept but
numbers: tests/context/encoders/ports.npz and ports.json. Weights and inputs are drawn from seeds, see
tests/context/encoders/drawn.py, so the fixture holds results only.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import math
import sys
import types
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import packaging.version
import torch

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "context" / "encoders"
TEXTS = ["A video of tennis_racket", "someone's dog, running!", "x" * 80, "two  spaces and 42"]


def drawn():
    specification = importlib.util.spec_from_file_location("drawn", FIXTURES / "drawn.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def stand_ins() -> None:
    """Modules that the originals import; DropPath and the like do nothing at inference."""

    class DropPath(torch.nn.Identity):
        def __init__(self, *_):
            super().__init__()

    layers = types.ModuleType("timm.models.layers")
    layers.DropPath = DropPath
    layers.to_2tuple = lambda value: value if isinstance(value, tuple) else (value, value)
    layers.trunc_normal_ = torch.nn.init.trunc_normal_
    registry = types.ModuleType("timm.models.registry")
    registry.register_model = lambda function: function
    ftfy = types.ModuleType("ftfy")
    ftfy.fix_text = lambda text: text  # the texts here need no mending
    resources = types.ModuleType("pkg_resources")
    resources.packaging = packaging
    sys.modules.update(
        {
            "timm": types.ModuleType("timm"),
            "timm.models": types.ModuleType("timm.models"),
            "timm.models.layers": layers,
            "timm.models.registry": registry,
            "ftfy": ftfy,
            "pkg_resources": resources,
        }
    )
    for name in ("narrator", "gpt2_gated", "loss", "openai_clip", "utils"):
        sys.modules[f"lavila.models.{name}"] = MagicMock()


def viclip(folder: Path, draw) -> tuple[dict, dict]:
    sys.path.insert(0, str(folder))
    from viclip import simple_tokenizer
    from viclip.viclip import ViCLIP
    from viclip.viclip_text import CLIP_TEXT
    from viclip.viclip_vision import VisionTransformer

    size = draw.VICLIP
    vision = VisionTransformer(
        size["image_size"], size["patch_size"], size["width"], size["layers"], size["heads"], size["output"],
        num_frames=size["num_frames"],
    ).eval()  # fmt: skip
    text = CLIP_TEXT(
        size["output"], size["context"], size["vocabulary"], size["text_width"], size["text_heads"], size["layers"], 0
    ).eval()
    for prefix, part in (("vision_encoder.", vision), ("text_encoder.", text)):
        part.load_state_dict(draw.weights({prefix + k: v.shape for k, v in part.state_dict().items()}, prefix))
    ids, mask = draw.token_ids(size)
    with torch.no_grad():
        arrays = {
            "viclip_video": vision(draw.pixels(size).transpose(1, 2)).numpy(),
            "viclip_picture": vision(draw.pixels(size)[:, :1].transpose(1, 2)).numpy(),
            # The original finds the end of a text as the largest id, and pads with zeros behind it.
            "viclip_text": text(ids * mask).numpy(),
        }
    keys = {}
    # Networks of the published size, without their memory; the drop path rates are read as numbers even so.
    linspace, torch.linspace = torch.linspace, partial(torch.linspace, device="cpu")
    for letter in "bl":
        with torch.device("meta"):
            keys[letter] = {k: list(v.shape) for k, v in ViCLIP(size=letter, pretrain=None).state_dict().items()}
    torch.linspace = linspace
    merges = FIXTURES / "merges.txt.gz"
    merges.write_bytes(gzip.compress(draw.merge_list().encode(), mtime=0))
    tokenizer = simple_tokenizer.SimpleTokenizer(str(merges))
    ids = [tokenizer.encode(text) for text in TEXTS]
    return arrays, {"viclip_keys": keys, "texts": TEXTS, "ids": ids}


def lavila(folder: Path, draw) -> tuple[dict, dict]:
    sys.path.insert(0, str(folder))
    from lavila.models.models import CLIP
    from lavila.models.openai_model import QuickGELU
    from lavila.models.timesformer import SpaceTimeTransformer

    size = draw.LAVILA
    visual = SpaceTimeTransformer(
        img_size=size["image_size"], patch_size=size["patch_size"], embed_dim=size["width"], depth=size["layers"],
        num_heads=size["heads"], num_frames=size["num_frames"], ln_pre=True, act_layer=QuickGELU, time_init="rand",
    )  # fmt: skip
    visual.head = visual.pre_logits = torch.nn.Identity()
    model = CLIP(
        size["output"], size["width"], visual, size["context"], size["vocabulary"], size["text_width"],
        size["text_heads"], size["layers"],
    ).eval()  # fmt: skip
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    model.load_state_dict(draw.weights(shapes))
    ids, mask = draw.token_ids(size)
    with torch.no_grad():
        arrays = {
            "lavila_video": model.encode_image(draw.pixels(size).transpose(1, 2)).numpy(),
            "lavila_picture": model.encode_image(draw.pixels(size)[:, :1].transpose(1, 2)).numpy(),
            "lavila_text": model.encode_text(ids * mask).numpy(),
        }
    return arrays, {"lavila_keys": {key: list(shape) for key, shape in shapes.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viclip", type=Path, required=True, help="folder that holds the package viclip")
    parser.add_argument("--lavila", type=Path, required=True, help="folder that holds the package lavila")
    call = parser.parse_args()
    draw = drawn()
    stand_ins()
    arrays, words = {}, {}
    for part_arrays, part_words in (viclip(call.viclip, draw), lavila(call.lavila, draw)):
        arrays |= part_arrays
        words |= part_words
    np.savez_compressed(FIXTURES / "ports.npz", **arrays)
    (FIXTURES / "ports.json").write_text(json.dumps(words) + "\n")
    for name, value in arrays.items():
        print(name, value.shape, f"norm {math.sqrt((value**2).sum()):.4f}")


if __name__ == "__main__":
    main()
