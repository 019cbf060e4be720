"""New videos through the backbone of a model: what its file says of decoding and encoding, applied to one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.backbone.encoders import Backbone, encode, load_backbone
from pipeline.backbone.finetuning.tuned import check
from pipeline.backbone.settings import Features
from pipeline.data.decode import decode_video
from pipeline.data.readers import BackendError, say_once
from pipeline.data.settings import Decode
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.store.atomic import StageError


class Look:
    """A backbone and how clips are cut for it, loaded once for many videos.

    Args:
        about: what a model file tells: ``decode``, ``features`` and, of a tuned backbone, ``finetuned``; see
            `pipeline.backbone.finetuning.tuned.named_backbone`.

    Raises:
        StageError: the features were imported, or the backbone cannot be loaded. ArtifactError: it has been changed.
    """

    def __init__(self, about: Mapping[str, Any], runtime: Runtime = AUTO):
        self.decode = Decode.model_validate(about["decode"])
        self.features, self.runtime = Features.model_validate(about["features"]), runtime
        if self.features.source != "computed":
            raise StageError(
                f"this model was trained on imported features ({about.get('dataset', 'of others')}); the encoder that "
                f"made them is not known, so it cannot look at a video. From features it predicts: conceptreel "
                f"predict-features, in Python model.predict(features)"
            )
        if "finetuned" in about:
            check(Path(self.features.model), about["finetuned"])
        self.backbone = self.load()

    def load(self, **options: Any) -> Backbone:
        """The backbone, or the same with other options of `pipeline.backbone.encoders.load_backbone`."""
        named = self.features.model, self.features.revision
        return load_backbone(*named, sha256=self.features.sha256, runtime=self.runtime, **options)

    def clip(self, path: str | Path) -> dict[str, Any]:
        """What stage `decode` would keep of a video or picture; VideoError where it cannot be read."""
        try:
            found = decode_video(Path(path), self.decode)
        except BackendError as error:
            # The model was made elsewhere: what it needs of decoding, the frames, PyAV gives too.
            say_once(f"pyav decodes: {error}")
            self.decode = self.decode.model_copy(update={"backend": "pyav"})
            found = decode_video(Path(path), self.decode)
        if found["note"]:
            say_once(f"{path}: {found['note']}")
        return found

    def feature(self, frames: np.ndarray) -> np.ndarray:
        """Feature ``[1, D]`` of a clip, uint8 ``[T, H, W, 3]``."""
        return encode(self.backbone, frames[None], 1)
