"""What may be configured about the floor `backbone`: one model per stage."""

from typing import Literal

import pydantic
from pydantic import Field

from pipeline.settings import SHA256, Section


class Features(Section):
    source: Literal["computed", "tensor"] = Field("computed", description="tensor: imported (docs/exchange.md)")
    path: dict[str, str] = Field(
        default_factory=dict,
        description="split → .pt, .npy, .npz or .mat file; rows are named, or in the order of that list",
    )
    array: str = Field("", description="name of the matrix in files that hold several")
    model: str = Field(
        "MCG-NJU/videomae-base-finetuned-kinetics",
        description="hub id or folder: VideoMAE, V-JEPA 2, TimeSformer, CLIP, ViT, ResNet, ConvNeXt, EfficientNet-Lite",
    )
    revision: str = "main"
    sha256: str = SHA256


class Finetune(Section):
    enabled: bool = Field(False, description="fine-tune features.model on the train split and use its features")
    head: Literal["random", "probe"] = Field(
        "random", description="initial head; probe: logistic regression on the untuned features, for few clips"
    )
    probe_views: int = Field(
        0, ge=0, description="random views of each train clip, drawn as in training, that the probe is also fitted on"
    )
    epochs: int = Field(50, ge=1, description="number of epochs (S)")
    views: int = Field(
        4,
        ge=1,
        description="frames kept per segment of a train video, or clips per video if sampling is dense; every epoch "
        "draws its clip from them. 1: all epochs use the clip of stage decode",
    )
    warmup_epochs: float = Field(5, ge=0, description="epochs of linear warm-up (S)")
    batch_size: int = Field(40, ge=1, description="clips per step, over all GPUs (S: 4 GPUs × 10)")
    base_learning_rate: float = Field(1e-3, gt=0, description="for 256 clips per step; scaled by batch_size / 256 (S)")
    weight_decay: float = Field(0.05, ge=0, description="of AdamW (S)")
    layer_decay: float = Field(
        0.75, gt=0, le=1, description="ratio of each block's learning rate to the next block's (S)"
    )
    drop_path: float = Field(0.1, ge=0, lt=1, description="rate of the last block, rising from 0 (S)")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="VideoMAE's value; S gives none")
    flip: bool = Field(True, description="mirror half of the clips; set false if left and right are classes (S: true)")
    crop_scale: tuple[float, float] = Field(
        (0.08, 1.0), description="smallest and largest fraction of the picture that a crop keeps (VideoMAE)"
    )
    colour_jitter: float = Field(0.4, ge=0, description="strength, for brightness, contrast and saturation (S)")
    rand_augment_operations: int = Field(2, ge=0, description="operations per clip, each applied to half of the clips")
    rand_augment_magnitude: float = Field(9, ge=0, le=10, description="mean magnitude (S)")
    rand_augment_std: float = Field(0.5, ge=0, description="standard deviation of the magnitude (S)")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of matrix products; auto: bfloat16 or float16 on a GPU, float32 on a CPU"
    )
    seed: int = 0

    @pydantic.field_validator("crop_scale")
    @classmethod
    def _is_a_part(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("must be two fractions of the picture, the smaller first, such as [0.08, 1.0]")
        return value


class Maps(Section):
    cls_token: bool = Field(
        False, description="append the CLS token of a ViT to the channels of every position (SALF-CBM B.1)"
    )


class Backbone(Section):
    finetune: Finetune = Finetune()
    features: Features = Features()
    maps: Maps = Maps()
