"""From a video file to a decision with its reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline import checkpoints
from pipeline.backbone.features import encode
from pipeline.bottleneck.recogniser import ConceptModel, Prediction
from pipeline.config import Decode, Features
from pipeline.data.decode import decode_video
from pipeline.stage import StageError


class VideoPredictor:
    """A model together with its backbone, loaded once for many videos."""

    def __init__(self, model: ConceptModel):
        from transformers import VideoMAEModel

        self.model = model
        self.decode = Decode.model_validate(model.about["decode"])
        self.features = Features.model_validate(model.about["features"])
        if self.features.source != "computed":
            raise StageError(
                f"this model was trained on imported features ({model.about['dataset']}); the encoder that made them "
                f"is not known, so it cannot look at a video. Predict from features in Python: model.predict(features)"
            )
        self.backbone = checkpoints.load_model(VideoMAEModel, self.features.model, self.features.revision)
        self.processor = checkpoints.processor_settings(self.features.model, self.features.revision)

    def feature(self, path: Path) -> np.ndarray:
        """Backbone feature ``[1, D]`` of a video.

        Raises:
            VideoError: it cannot be read.
        """
        clip = decode_video(path, self.decode)["frames"]
        return encode(
            self.backbone, clip[None], self.processor["image_mean"], self.processor["image_std"], 1, tokens=False
        )["features"]

    def activations(self, path: Path) -> np.ndarray:
        """Standardised concept activations ``[M]`` of a video; see `feature`."""
        return self.model.activations(self.feature(path))[0]

    def predict(self, path: Path, top_k: int = 5) -> Prediction:
        """The decision on one video file."""
        return self.model.predict(self.feature(path), top_k)[0]
