"""Person boxes by RT-DETR (Zhao et al. 2024) through ``transformers``, in batch, on the device."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.encoding.checkpoints import check_kind, processor_settings
from pipeline.encoding.encoder import Encoder
from pipeline.encoding.loading import load_model
from pipeline.encoding.pixels import Preprocessing
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.store.atomic import StageError

# The published processor: both sides scaled to 640, pixels in [0, 1].
SETTINGS = {"do_normalize": False, "size": {"height": 640, "width": 640}, "resample": 2}
# Unsure boxes are handed on too: `pipeline.data.tracks.link` continues tracks with them.
MIN_SCORE, MAX_BOXES = 0.1, 50


class PersonDetector(Encoder):
    """Boxes of all persons in a picture.

    Args:
        name, revision: hub id or folder; sha256: digest that the weights must have, empty for any.

    Raises:
        StageError: it cannot be loaded, is another network, or knows no class `person`.
    """

    def __init__(self, name: str, revision: str = "main", sha256: str = "", runtime: Runtime = AUTO):
        from transformers import RTDetrForObjectDetection

        check_kind(name, revision, "person detectors", ("rt_detr",))
        # The heads are the decoder's; files may hold them under both names.
        twice = ("class_embed.", "bbox_embed.")
        super().__init__(load_model(RTDetrForObjectDetection, name, revision, sha256, runtime, twice), runtime)
        names = {str(label).lower(): int(index) for index, label in self.model.config.id2label.items()}
        if "person" not in names:
            raise StageError(f"`{name}` knows no class `person` (its config.json lists id2label); take a COCO detector")
        self.person = names["person"]
        settings = processor_settings(name, revision, SETTINGS)
        named = settings.get("size")
        size = named if isinstance(named, dict) and {"height", "width"} <= named.keys() else SETTINGS["size"]
        self.preprocessing = Preprocessing.of({**settings, "size": size}, (size["height"], size["width"]))

    def pixels(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 ``[n, H, W, 3]`` → ``[n, 3, height, width]``; frames of all videos then have one size."""
        return self.preprocessing(frames.to(self.device))

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Persons as parts of the picture: ``[n, MAX_BOXES, 5]`` x0, y0, x1, y1, score, surest first."""
        with self.autocast():
            output = self.model(pixel_values=pixels)
        scores = output.logits.float().sigmoid()[..., self.person]  # [n, queries]
        scores, best = scores.topk(min(MAX_BOXES, scores.shape[1]), dim=1)
        x, y, width, height = output.pred_boxes.float().gather(1, best[..., None].expand(-1, -1, 4)).unbind(-1)
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return torch.stack([*corners, scores], -1)


def in_pixels(found: np.ndarray, height: int, width: int) -> np.ndarray:
    """Persons of one picture in its pixels, cut at its border: ``[MAX_BOXES, 5]`` → ``[k, 5]`` above `MIN_SCORE`."""
    found = found[found[:, 4] >= MIN_SCORE].astype(np.float64)
    found[:, :4] = np.clip(found[:, :4], 0, 1) * [width, height, width, height]
    return found[(found[:, 2] - found[:, 0] >= 1) & (found[:, 3] - found[:, 1] >= 1)]
