"""What one core needs for one picture, crop or clip of the published encoders, and how large their networks are.

python bench/rates.py [--only vitpose-large videomae]

Weights are random, because they do not change the speed; shapes are those of the published `config.json` files. These
are the figures of `pipeline/encoding/known.py`, on which `conceptreel plan` rests where no run on this machine tells
better. Multiply-adds are counted by torch.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch  # noqa: E402
import transformers  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from pipeline.backbone.encoders import load_backbone  # noqa: E402
from pipeline.motion.pose import load_detector, load_estimator  # noqa: E402

REPEATS = 2


def _vit(width: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }


def vitpose(width: int, layers: int, heads: int) -> tuple[torch.nn.Module, Callable]:
    parts = transformers.VitPoseBackboneConfig(
        image_size=[256, 192], patch_size=[16, 16], mlp_ratio=4, **_vit(width, layers, heads)
    )
    model = transformers.VitPoseForPoseEstimation(transformers.VitPoseConfig(backbone_config=parts, num_labels=17))
    return model, lambda: model(torch.rand(1, 3, 256, 192))


def rtdetr() -> tuple[torch.nn.Module, Callable]:
    model = transformers.RTDetrForObjectDetection(transformers.RTDetrConfig())
    return model, lambda: model(torch.rand(1, 3, 640, 640))


def videomae() -> tuple[torch.nn.Module, Callable]:
    model = transformers.VideoMAEModel(transformers.VideoMAEConfig(**_vit(768, 12, 12)))
    return model, lambda: model(torch.rand(1, 16, 3, 224, 224))


def clip() -> tuple[torch.nn.Module, Callable]:
    model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(patch_size=16, **_vit(768, 12, 12)))
    return model, lambda: model(torch.rand(1, 3, 224, 224))


def movenet(name: str) -> tuple[torch.nn.Module, Callable]:
    load = load_detector if name.endswith("multipose") else load_estimator
    model = load(f"small/{name}").model
    side = model.config.image_size
    return model, lambda: model(torch.rand(1, 3, side, side))


def lite() -> tuple[torch.nn.Module, Callable]:
    model = load_backbone("small/efficientnet-lite0").model
    return model, lambda: model(torch.rand(32, 3, 224, 224))  # 16 frames and their changes


# Those of `conceptreel fetch small` must be there.
NETWORKS = {
    "vitpose-small": lambda: vitpose(384, 12, 12),
    "vitpose-base": lambda: vitpose(768, 12, 12),
    "vitpose-large": lambda: vitpose(1024, 24, 16),
    "rtdetr": rtdetr,
    "videomae": videomae,
    "clip": clip,
    **{
        name: functools.partial(movenet, name) for name in ("movenet-thunder", "movenet-lightning", "movenet-multipose")
    },
    "efficientnet-lite0": lite,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    call = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | 10⁹ multiply-adds | CPU seconds | million parameters |\n|---|---|---|---|")
    for name in call.only:
        model, run = NETWORKS[name]()
        model.eval()
        with torch.inference_mode():
            with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # it knows no other
                run()
            seconds = []
            for _ in range(REPEATS):
                began = time.process_time()
                run()
                seconds.append(time.process_time() - began)
        size = sum(value.numel() for value in model.parameters()) / 1e6
        print(f"| {name} | {counter.get_total_flops() / 2e9:.1f} | {min(seconds):.3f} | {size:.0f} |", flush=True)


if __name__ == "__main__":
    main()
