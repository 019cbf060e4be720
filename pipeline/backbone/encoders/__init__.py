"""Backbones by the architecture that a checkpoint's config.json names; see `docs/encoders.md`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.backbone.encoders.base import CONVOLUTIONAL, IMAGE, VIDEO, Backbone, encode
from pipeline.backbone.encoders.efficientnet import EfficientNetLite, FramesAndChanges
from pipeline.backbone.encoders.image import Convolutional, ImageTransformer
from pipeline.backbone.encoders.video import VJEPA2, TimeSformer, VideoMAE
from pipeline.encoding.checkpoints import check_kind, config_of, processor_settings
from pipeline.encoding.loading import load_model, load_tensors
from pipeline.encoding.pixels import Preprocessing
from pipeline.jobs.runtime import AUTO, Runtime

__all__ = ["CONVOLUTIONAL", "IMAGE", "VIDEO", "Backbone", "encode", "load_backbone"]


@dataclass(frozen=True)
class Family:
    """How one architecture is loaded.

    Attributes:
        network: class of ``transformers``.
        adapter: class of this package.
        side: network's config → side of its input, None for any.
        surplus: weights that published files have beyond the network's.
        how: filter of its processor, where the settings name none.
        options: further arguments of the network's loader.
    """

    network: str
    adapter: Callable[..., Backbone]
    side: str | None
    surplus: tuple[str, ...]
    how: str = "bilinear"
    options: tuple[tuple[str, bool], ...] = ()


_CLIP = Family(
    "CLIPVisionModel",
    ImageTransformer,
    "image_size",
    ("text_model.", "text_projection", "visual_projection", "logit_scale"),
    "bicubic",
)
# `model_type` of a checkpoint's config.json → family.
FAMILIES = {
    "videomae": Family(
        "VideoMAEModel", VideoMAE, "image_size", ("decoder.", "encoder_to_decoder.", "mask_token", "classifier.")
    ),
    "vjepa2": Family("VJEPA2Model", VJEPA2, "crop_size", ("pooler.", "classifier.")),
    "timesformer": Family("TimesformerModel", TimeSformer, "image_size", ("classifier.",)),
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "vit": Family(
        "ViTModel",
        ImageTransformer,
        "image_size",
        ("classifier.", "pooler.", "vit.pooler."),
        options=(("add_pooling_layer", False),),
    ),
    "resnet": Family("ResNetModel", Convolutional, None, ("classifier.",), "bicubic"),
    "convnext": Family("ConvNextModel", Convolutional, None, ("classifier.",), "bicubic"),
}

# Of this package's own, as `conceptreel fetch` brings it.
LITE = "efficientnet_lite"
HALF = (0.5, 0.5, 0.5)


def load_backbone(
    name: str, revision: str = "main", cls_token: bool = False, sha256: str = "", runtime: Runtime = AUTO
) -> Backbone:
    """A backbone from a hub id or a folder.

    Args:
        cls_token: see `Backbone`.
        sha256: digest that the weights must have; empty for any.

    Raises:
        StageError: it cannot be loaded, or its architecture is none of those that are known here.
    """
    import transformers

    kind = check_kind(name, revision, "backbones", (*FAMILIES, LITE))
    config = config_of(name, revision)
    if kind == LITE:
        lite = load_tensors(EfficientNetLite(config), name, revision, sha256, runtime)
        side = lite.config.image_size
        return FramesAndChanges(lite, Preprocessing(HALF, HALF, (side, side), "bilinear"), runtime, cls_token)
    family = FAMILIES[kind]
    settings = processor_settings(name, revision)
    # A fine-tuned VideoMAE normalises the mean of its tokens; the bare model would lose that layer.
    tuned = kind == "videomae" and "VideoMAEForVideoClassification" in (config.get("architectures") or [])
    if tuned and config.get("use_mean_pooling", True):
        whole = load_model(transformers.VideoMAEForVideoClassification, name, revision, sha256, runtime)
        preprocessing = Preprocessing.of(settings, whole.config.image_size)
        return VideoMAE(whole.videomae, preprocessing, runtime, cls_token, whole.fc_norm)
    model = load_model(
        getattr(transformers, family.network),
        name,
        revision,
        sha256,
        runtime,
        family.surplus,
        **dict(family.options),
    )
    if family.side:
        side = getattr(model.config, family.side)
    else:
        named = settings.get("size", {})
        side = named.get("shortest_edge", named.get("height")) if isinstance(named, dict) else named
    return family.adapter(model, Preprocessing.of(settings, side, family.how), runtime, cls_token)
