"""Checkpoints of every architecture in the published shapes, with random weights: these do not change the speed."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers as hub

from pipeline.context.encoders.lavila import LaViLaModel
from pipeline.context.encoders.viclip import ViCLIPModel
from pipeline.encoding.checkpoints import WEIGHTS
from pipeline.encoding.fetch import SMALL
from pipeline.store.code import PROJECT

# Width, layers, heads: ViT-S, ViT-B and ViT-L; tiny only shows that a benchmark runs.
SIZES = {"tiny": (48, 2, 2), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 2}
CLIP_FRAMES, SIDE = 16, 224
# Towers that read text are not timed.
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}


def transformer(size: str) -> dict[str, int]:
    width, layers, heads = SIZES[size]
    depth = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return {**depth, "intermediate_size": 4 * width}


def save(model: torch.nn.Module, folder: Path, **settings) -> str:
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**IMAGENET, **settings}))
    return str(folder)


def save_own(model: torch.nn.Module, config: dict, folder: Path) -> str:
    """A network of this project."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def _fetched(name: str, network: type, folder: Path) -> str:
    config = next(network.config for network in SMALL if network.name == name)
    return save_own(network(config), config, folder)


# ---------------------------------------------------------------------------------------------------------- backbones


def _videomae(shape: dict, folder: Path) -> str:
    config = hub.VideoMAEConfig(image_size=SIDE, num_frames=CLIP_FRAMES, **shape)
    return save(hub.VideoMAEModel(config), folder, size={"shortest_edge": SIDE})


def _vjepa2(shape: dict, folder: Path) -> str:
    shape = {name: value for name, value in shape.items() if name != "intermediate_size"}
    little = {
        "pred_hidden_size": 24,
        "pred_num_hidden_layers": 1,
        "pred_num_attention_heads": 2,
        "num_pooler_layers": 1,
    }
    config = hub.VJEPA2Config(crop_size=256, frames_per_clip=CLIP_FRAMES, **shape, **little)
    return save(hub.VJEPA2Model(config), folder, size={"shortest_edge": 256})


def _timesformer(shape: dict, folder: Path) -> str:
    config = hub.TimesformerConfig(image_size=SIDE, num_frames=8, **shape)
    return save(hub.TimesformerModel(config), folder, size={"shortest_edge": SIDE})


def _clip_vision(shape: dict, folder: Path) -> str:
    config = hub.CLIPVisionConfig(image_size=SIDE, patch_size=16, **shape)
    return save(hub.CLIPVisionModel(config), folder, size={"shortest_edge": SIDE})


def _vit(shape: dict, folder: Path) -> str:
    return save(hub.ViTModel(hub.ViTConfig(**shape), add_pooling_layer=False), folder, size={"shortest_edge": SIDE})


def _resnet(shape: dict, folder: Path) -> str:
    return save(hub.ResNetModel(hub.ResNetConfig()), folder, size={"shortest_edge": SIDE}, crop_pct=0.875)


def _convnext(shape: dict, folder: Path) -> str:
    return save(hub.ConvNextModel(hub.ConvNextConfig()), folder, size={"shortest_edge": SIDE}, crop_pct=0.875)


def _efficientnet_lite(shape: dict, folder: Path) -> str:
    from pipeline.backbone.encoders.efficientnet import EfficientNetLite

    return _fetched("efficientnet-lite0", EfficientNetLite, folder)


# ------------------------------------------------------------------------------------------------------ dual encoders


def _tokenizer(folder: Path) -> str:
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((PROJECT / "pipeline/demo/encoders/dual_encoder" / file).read_bytes())
    return str(folder)


def _clip(shape: dict, folder: Path) -> str:
    vision, text = {**shape, "image_size": SIDE, "patch_size": 16}, {**TEXT, "intermediate_size": 16}
    config = hub.CLIPConfig(vision_config=vision, text_config=text, projection_dim=512)
    save(hub.CLIPModel(config), folder, size={"shortest_edge": SIDE}, resample=3)
    return _tokenizer(folder)


def _xclip(shape: dict, folder: Path) -> str:
    little = {"mit_hidden_size": 512, "mit_intermediate_size": 2048, "mit_num_hidden_layers": 1, "num_frames": 8}
    vision, text = {**shape, "image_size": SIDE, "patch_size": 32, **little}, {**TEXT, "intermediate_size": 16}
    config = hub.XCLIPConfig(vision_config=vision, text_config=text, projection_dim=512)
    save(hub.XCLIPModel(config), folder, size={"shortest_edge": SIDE})
    return _tokenizer(folder)


def _videoprism(shape: dict, folder: Path) -> str:
    width, layers, heads = (shape[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"))
    vision = {"hidden_size": width, "num_attention_heads": heads, "num_spatial_layers": layers}
    vision["intermediate_size"] = shape["intermediate_size"]
    text = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": 16, "num_hidden_layers": 1}
    config = hub.VideoPrismConfig(vision_config=vision, text_config={**text, "vocab_size": 120})
    hub.VideoPrismClipModel(config).save_pretrained(folder)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("a", -3.0)]
    hub.VideoPrismTokenizer(pieces, extra_ids=0).save_pretrained(folder)
    return str(folder)


def _port(named: dict, network: type, n_frames: int, shape: dict, folder: Path) -> str:
    vision = {name: value for name, value in shape.items() if name != "intermediate_size"}
    vision |= {"image_size": SIDE, "patch_size": 16, "num_frames": n_frames}
    text = {**TEXT, "vocab_size": 1264, "max_position_embeddings": 77}
    config = {"vision_config": vision, "text_config": text, "projection_dim": 512}
    save_own(network(vision, text, 512), {**named, **config}, folder)
    return _tokenizer(folder)


def _viclip(shape: dict, folder: Path) -> str:
    return _port({"architectures": ["ViCLIP"]}, ViCLIPModel, 8, shape, folder)


def _lavila(shape: dict, folder: Path) -> str:
    return _port({"model_type": "lavila"}, LaViLaModel, 4, shape, folder)


# ---------------------------------------------------------------------------------------------------------------- pose


def _vitpose(shape: dict, folder: Path) -> str:
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    own = {name: shape[name] for name in names}
    network = hub.VitPoseBackboneConfig(image_size=[256, 192], mlp_ratio=4, out_indices=[own[names[1]]], **own)
    model = hub.VitPoseForPoseEstimation(hub.VitPoseConfig(backbone_config=network, num_labels=17))
    return save(model, folder)


def _movenet(shape: dict, folder: Path) -> str:
    from pipeline.motion.pose.movenet import MoveNetModel

    return _fetched("movenet-thunder", MoveNetModel, folder)


# Role → architecture → what writes a checkpoint of it.
MAKERS = {
    "backbone": {
        "videomae": _videomae,
        "vjepa2": _vjepa2,
        "timesformer": _timesformer,
        "clip": _clip_vision,
        "vit": _vit,
        "resnet": _resnet,
        "convnext": _convnext,
        "efficientnet_lite": _efficientnet_lite,
    },
    "dual_encoder": {
        "clip": _clip,
        "xclip": _xclip,
        "viclip": _viclip,
        "videoprism": _videoprism,
        "lavila": _lavila,
    },
    "pose": {"vitpose": _vitpose, "movenet": _movenet},
}


def checkpoint(role: str, kind: str, size: str, folder: Path) -> str:
    """Write a checkpoint and give its folder as a name; ``size`` is of those that are transformers."""
    torch.manual_seed(0)
    return MAKERS[role][kind](transformer(size), folder)


def detector(folder: Path, side: int) -> str:
    """An RT-DETR with ResNet-50; 640 pixels are published."""
    labels = {k: "person" if k == 0 else str(k) for k in range(80)}
    network = hub.RTDetrForObjectDetection(
        hub.RTDetrConfig(id2label=labels, label2id={v: k for k, v in labels.items()})
    )
    for head in network.model.decoder.class_embed:
        torch.nn.init.constant_(head.bias[:1], 3)  # random weights must see persons, or there is nothing to pose
    return save(network, folder, size={"height": side, "width": side}, do_normalize=False)
