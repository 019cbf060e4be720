"""Tiny checkpoints with random weights, saved as the published ones are; for the tests of all roles."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import torch
import transformers

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PROJECT = Path(__file__).resolve().parent.parent
TOKENIZER = PROJECT / "pipeline/demo/encoders/dual_encoder"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def settings(folder: Path, **values) -> None:
    """A preprocessor_config.json; values replace ImageNet's."""
    content = {"image_mean": MEAN, "image_std": STD, "resample": 2, **values}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))


def cropped(side: int) -> dict:
    return {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}, "do_center_crop": True}


def save(model: torch.nn.Module, folder: Path) -> Path:
    """Weights of visible size: the usual initialisation makes every picture the same to bfloat16."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim > 1:
                value.copy_(noise * (0.2 if "position" in name or "token" in name else 1 / value[0].numel() ** 0.5))
            elif not name.endswith("weight"):
                value.copy_(0.1 * noise)
    model.eval().save_pretrained(folder)
    return folder


def as_hub(folder: Path, cache: Path, name: str, *refs: str) -> str:
    """The same checkpoint as a hub's local cache has it after a download: files are links to blobs.

    Args:
        refs: further names of its commit beside ``main``, such as ``refs/pr/5``.
    """
    place = cache / f"models--{name.replace('/', '--')}"
    snapshot, blobs = place / "snapshots" / COMMIT, place / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blobs / digest)
        (snapshot / path.name).symlink_to(f"../../blobs/{digest}")
    for ref in ("main", *refs):
        (place / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (place / "refs" / ref).write_text(COMMIT)
    return name


def copy_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder / name)


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def backbone(kind: str, folder: Path) -> Path:
    """A backbone of input 64 × 64 and, if it wants a number, 4 frames."""
    torch.manual_seed(0)
    vjepa2 = transformers.VJEPA2Config(
        crop_size=64, patch_size=16, frames_per_clip=4, tubelet_size=2, hidden_size=48, num_hidden_layers=2,
        num_attention_heads=2, mlp_ratio=2, pred_hidden_size=24, pred_num_hidden_layers=1,
        pred_num_attention_heads=2, pred_num_mask_tokens=1, num_pooler_layers=1,
    )  # fmt: skip
    if kind == "efficientnet_lite":
        from pipeline.backbone.encoders.efficientnet import EfficientNetLite

        return _fetched(EfficientNetLite, {"model_type": kind, "image_size": 64, "num_frames": 4, **TRUNK}, folder)
    make = {
        "videomae": lambda: transformers.VideoMAEForPreTraining(
            transformers.VideoMAEConfig(
                image_size=64, patch_size=16, num_frames=4, tubelet_size=2, decoder_hidden_size=16,
                decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=16, **SMALL,
                use_mean_pooling=False,
            )
        ),
        "videomae_tuned": lambda: transformers.VideoMAEForVideoClassification(
            transformers.VideoMAEConfig(image_size=64, patch_size=16, num_frames=4, tubelet_size=2, **SMALL)
        ),
        "vjepa2": lambda: transformers.VJEPA2Model(vjepa2),
        "vjepa2_tuned": lambda: transformers.VJEPA2ForVideoClassification(vjepa2),
        "timesformer": lambda: transformers.TimesformerForVideoClassification(
            transformers.TimesformerConfig(image_size=64, patch_size=16, num_frames=4, **SMALL)
        ),
        "clip": lambda: transformers.CLIPModel(
            transformers.CLIPConfig(
                vision_config={"image_size": 64, "patch_size": 16, **SMALL}, text_config=SMALL, projection_dim=16
            )
        ),
        "vit": lambda: transformers.ViTForImageClassification(
            transformers.ViTConfig(image_size=64, patch_size=16, **SMALL)
        ),
        "resnet": lambda: transformers.ResNetForImageClassification(
            transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1])
        ),
        "convnext": lambda: transformers.ConvNextForImageClassification(
            transformers.ConvNextConfig(hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1])
        ),
    }  # fmt: skip
    save(make[kind](), folder)
    convolutional = {"size": {"shortest_edge": 64}, "crop_pct": 0.875, "resample": 3}
    settings(folder, **(convolutional if kind in ("resnet", "convnext") else cropped(64)))
    return folder


def dual_encoder(kind: str, folder: Path) -> Path:
    """A dual encoder of input 32 × 32, width 16 and, if it wants a number, 4 frames."""
    torch.manual_seed(0)
    text = {**SMALL, "vocab_size": 1264, "max_position_embeddings": 12, "bos_token_id": 1262, "eos_token_id": 1263}
    vision = {"image_size": 32, "patch_size": 16, **SMALL}
    if kind == "clip":
        config = transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=16)
        save(transformers.CLIPModel(config), folder)
        settings(folder, **cropped(32))
        copy_tokenizer(folder)
    elif kind == "xclip":
        mit = {"mit_hidden_size": 16, "mit_intermediate_size": 32, "mit_num_hidden_layers": 1,
               "mit_num_attention_heads": 2, "num_frames": 4}  # fmt: skip
        config = transformers.XCLIPConfig(
            vision_config={**vision, **mit}, text_config=text, projection_dim=16, prompt_num_attention_heads=2
        )
        save(transformers.XCLIPModel(config), folder)
        settings(folder, **cropped(32))
        copy_tokenizer(folder)
    elif kind == "videoprism":
        config = transformers.VideoPrismConfig(
            vision_config={
                "image_size": 36, "num_frames": 4, "tubelet_size": [1, 18, 18], "hidden_size": 16,
                "intermediate_size": 32, "num_attention_heads": 2, "num_spatial_layers": 1, "num_temporal_layers": 1,
                "num_auxiliary_layers": 1,
            },
            text_config={
                "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1,
                "vocab_size": 120, "max_position_embeddings": 12,
            },
        )  # fmt: skip
        save(transformers.VideoPrismClipModel(config), folder)
        pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
        pieces += [(letter, -3.0 - place / 10) for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")]
        transformers.VideoPrismTokenizer(pieces, extra_ids=0).save_pretrained(folder)
    else:
        _port(kind, folder)
    return folder


def _port(kind: str, folder: Path) -> None:
    """A network of this project's own, in the form of its published file."""
    from safetensors.torch import save_file

    from pipeline.context.encoders.lavila import LaViLaModel
    from pipeline.context.encoders.viclip import ViCLIPModel

    vision = {"image_size": 32, "patch_size": 16, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
              "num_frames": 4}  # fmt: skip
    text = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 1264,
            "max_position_embeddings": 12}  # fmt: skip
    config = {"vision_config": vision, "text_config": text, "projection_dim": 16}
    model = {"viclip": ViCLIPModel, "lavila": LaViLaModel}[kind](vision, text, 16)
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, value in model.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        gain = key.endswith("weight") and value.ndim == 1
        state[key] = torch.ones_like(value) if gain else noise * (0.1 if value.ndim < 2 else value.shape[-1] ** -0.5)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    named = {"architectures": ["ViCLIP"]} if kind == "viclip" else {"model_type": "lavila"}
    (folder / "config.json").write_text(json.dumps({**named, **config}))
    copy_tokenizer(folder)


# A trunk with all strides of the published ones.
TRUNK = {"stem": 8, "stages": [[1, 8, 1, 1, 3], [2, 8, 2, 2, 3], [2, 12, 1, 2, 5], [2, 16, 1, 2, 3], [2, 20, 1, 2, 3]],
         "last": 24}  # fmt: skip


def _fetched(network: type, config: dict, folder: Path, **filled: float) -> Path:
    """A network of this project's own, in the form that `conceptreel fetch` gives it: half precision, no batch norms.

    Args:
        filled: what heads give, nearly: their biases.
    """
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, value in network(config).state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        state[key] = (noise * (2 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0.1 * noise).half()
    for part, value in filled.items():
        state[f"heads.{part}.1.bias"].fill_(value)
        state[f"heads.{part}.1.weight"] *= 0.05
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def movenet(folder: Path, people: bool = False) -> Path:
    """A MoveNet of input 64 × 64, for one person or for several."""
    from pipeline.motion.pose.movenet import HEADS, MoveNetModel

    kind, heads = ("movenet_multipose", list(HEADS)) if people else ("movenet", list(HEADS)[:4])
    config = {"model_type": kind, "image_size": 64, "heads": heads, **TRUNK}
    # Boxes of a few cells, and sure enough to be looked at.
    filled = {"box_scale": 8, "box_offset": 0, "kpt_regress": 0, "center": 4, "kpt_heatmap": 4} if people else {}
    return _fetched(MoveNetModel, config, folder, **filled)


def pose(folder: Path, experts: int = 1) -> Path:
    """A ViTPose, or a ViTPose++ with so many experts."""
    torch.manual_seed(0)
    backbone_config = transformers.VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        mlp_ratio=2, out_indices=[2], num_experts=experts, part_features=8 if experts > 1 else 0,
    )  # fmt: skip
    save(
        transformers.VitPoseForPoseEstimation(
            transformers.VitPoseConfig(backbone_config=backbone_config, num_labels=17)
        ),
        folder,
    )
    settings(folder, size={"height": 64, "width": 48})
    return folder


def detector(folder: Path) -> Path:
    """An RT-DETR of input 64 × 64."""
    torch.manual_seed(0)
    config = transformers.RTDetrConfig(
        backbone_config=transformers.RTDetrResNetConfig(
            embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], out_indices=[2, 3, 4],
            layer_type="basic",
        ),
        encoder_in_channels=[12, 16, 24], encoder_hidden_dim=16, encoder_ffn_dim=32, encoder_attention_heads=2,
        d_model=16, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=32, decoder_layers=2,
        decoder_attention_heads=2, num_queries=20, num_denoising=0, decoder_n_points=2,
        id2label={0: "person", 1: "bicycle", 2: "car"}, label2id={"person": 0, "bicycle": 1, "car": 2},
    )  # fmt: skip
    transformers.RTDetrForObjectDetection(config).eval().save_pretrained(folder)
    settings(folder, size={"height": 64, "width": 64}, do_normalize=False)
    return folder
