"""How large and how fast the encoders are that the defaults and the documentation name: what plans rest on.

Standard library only: the Snakefile reads it. Sizes are those of the files to download, as the hub showed them
(docs/encoders.md); multiply-adds and seconds of one core are what ``python bench/rates.py`` prints, on an AMD EPYC.
A checkpoint of MMPose was measured when it was converted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

# Where config.json of a folder says how large and fast its network is.
SPEED = "speed"


@dataclass(frozen=True)
class Known:
    """One encoder.

    Attributes:
        megabytes: of its weights; 0 where they come with the project or by `conceptreel fetch`.
        multiply_adds: billions of one pass: of a crop, a picture or a clip; None where not counted.
        seconds: of one core for one pass; None where not measured.
        n_frames: of a dual encoder that sees a clip in one pass; 1 sees single pictures.
        map_values: of a backbone: numbers per place of its maps, times × channels.
        self_supervised: it was never told what a video shows, so that its features say little before it is tuned.
    """

    megabytes: float = 0
    multiply_adds: float | None = None
    seconds: float | None = None
    n_frames: int = 1
    map_values: int = 0
    self_supervised: bool = False


_VIDEOMAE = {"multiply_adds": 180.3, "seconds": 3.68, "map_values": 8 * 768}
_CLIP = {"multiply_adds": 17.6, "seconds": 0.38}

KNOWN: dict[str, Known] = {
    "usyd-community/vitpose-plus-large": Known(1600, 60.4, 1.33),
    "usyd-community/vitpose-plus-base": Known(502, 17.5, 0.39),
    "usyd-community/vitpose-plus-small": Known(133, 4.7, 0.12),
    "PekingU/rtdetr_r50vd_coco_o365": Known(172, 68.7, 1.23),
    "MCG-NJU/videomae-base": Known(377, **_VIDEOMAE, self_supervised=True),
    "MCG-NJU/videomae-base-ssv2": Known(377, **_VIDEOMAE, self_supervised=True),
    "MCG-NJU/videomae-base-finetuned-kinetics": Known(346, **_VIDEOMAE),
    "MCG-NJU/videomae-base-finetuned-ssv2": Known(346, **_VIDEOMAE),
    "openai/clip-vit-base-patch16": Known(599, **_CLIP, map_values=16 * 768),
    "OpenGVLab/ViCLIP-B-16-hf": Known(598, n_frames=8),
    "facebook/timesformer-base-finetuned-k400": Known(486, map_values=8 * 768),
    "microsoft/resnet-50": Known(102, map_values=16 * 2048),
    "small/movenet-thunder": Known(0, 1.2, 0.050),
    "small/movenet-lightning": Known(0, 0.3, 0.009),
    "small/movenet-multipose": Known(0, 1.0, 0.037),
    "small/efficientnet-lite0": Known(0, 12.3, 0.53, map_values=16 * 1280),
    "pipeline/demo/encoders/pose": Known(0, seconds=0.001),
    "pipeline/demo/encoders/backbone": Known(0, 1.0, 0.025, map_values=8 * 176),
    "pipeline/demo/encoders/dual_encoder": Known(0, 0.1, 0.0016),
}


def known(model: str) -> Known | None:
    """What is known of a hub id or folder; a folder is there already, and nothing of it is downloaded."""
    folder = Path(model)
    if model in KNOWN or not folder.is_dir():
        return KNOWN.get(model)
    try:
        speed = json.loads((folder / "config.json").read_text())[SPEED]
        return Known(0, speed["multiply_adds"], speed["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return Known()


def is_of_mmpose(model: str) -> bool:
    """Whether a folder holds a checkpoint that `conceptreel convert` made of one of MMPose."""
    try:
        return json.loads(Path(model, "config.json").read_text()).get("model_type") == "mmpose"
    except (OSError, ValueError, AttributeError):
        return False


def frames_seen(model: str, n_frames: int) -> int:
    """Passes of a dual encoder for one video: one per picture, or one in all."""
    return 1 if KNOWN.get(model, Known()).n_frames > 1 else n_frames
