"""New videos through the backbone of a model: what its file says of decoding and encoding, applied to one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.backbone.encoders import Backbone, encode, load_backbone
from pipeline.backbone.finetuning.tuned import check
from pipeline.backbone.settings import Features
from pipeline.backbone.window import Window
from pipeline.data.decode import decode_video
from pipeline.data.readers import BackendError, VideoError, open_video, resize_and_crop, sample_indices, say_once
from pipeline.data.settings import Decode
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.store.atomic import StageError

Opener = Callable[..., AbstractContextManager[Any]]


def windows(times: np.ndarray, length: float, hop: float) -> list[tuple[float, float, int, int]]:
    """Windows over a video: start and end in seconds, first and last frame. The last one ends with the video.

    Args:
        times: of the frames, in seconds, never decreasing, ``[F]``; length, hop: of and between windows, in seconds.

    Raises:
        ValueError: length or hop is not above 0.
    """
    if not (length > 0 and hop > 0):
        raise ValueError(f"windows need a length and a hop above 0 s, got {length:g} and {hop:g}")
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    end = float(times[-1]) + step
    last = max(0.0, end - length)
    # A rest of less than a frame is no window of its own.
    starts = [*(start for start in np.arange(0, last, hop) if last - start > step), last]
    found = []
    for start in starts:
        first, after = np.searchsorted(times, [start - step / 2, start + length - step / 2])
        if after > first:
            found.append((float(start), float(min(start + length, end)), int(first), int(after) - 1))
    return found


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
                f"made them is unknown, so it cannot read a video. To predict from features: conceptreel "
                f"predict-features, in Python model.predict(features)"
            )
        if "finetuned" in about:
            check(Path(self.features.model), about["finetuned"])
        self.backbone = self.load()

    def load(self, **options: Any) -> Backbone:
        """The backbone, or the same with other options of `pipeline.backbone.encoders.load_backbone`."""
        named = self.features.model, self.features.revision
        return load_backbone(*named, sha256=self.features.sha256, runtime=self.runtime, **options)

    def clip(self, path: str | Path, opener: Opener | None = None) -> dict[str, Any]:
        """What stage `decode` would keep of a video or picture; VideoError where it cannot be read.

        Args:
            opener: see `pipeline.data.decode.decode_video`.
        """
        try:
            found = decode_video(Path(path), self.decode, opener)
        except BackendError as error:
            # The model was made elsewhere: what it needs of decoding, the frames, PyAV gives too.
            say_once(f"pyav decodes: {error}")
            self.decode = self.decode.model_copy(update={"backend": "pyav"})
            found = decode_video(Path(path), self.decode, opener)
        if found["note"]:
            say_once(f"{path}: {found['note']}")
        return found

    def windows(
        self,
        path: str | Path,
        length: float,
        hop: float,
        excerpt: tuple[int, int] | None = None,
        opener: Opener = open_video,
    ) -> Iterator[Window]:
        """Windows of a video of any length, in one pass; only frames of those that overlap are held.

        Args:
            length, hop: in seconds, see `windows`.
            excerpt: first frame and end of the part that is the video; None for the whole file.
            opener: what opens it, as `pipeline.data.readers.open_video` does.

        Raises:
            VideoError: it cannot be read, or ends before the first window does. ValueError: see `windows`.
        """
        settings, done = self.decode, 0
        try:
            opened = opener(path, settings.backend, frames=excerpt, min_fraction=0)
        except BackendError as error:
            say_once(f"pyav decodes: {error}")
            opened = opener(path, "pyav", frames=excerpt, min_fraction=0)
        with opened as video:
            planned = windows(video.timestamps, length, hop)
            chosen = [
                first + sample_indices(last - first + 1, settings.n_frames, settings.sampling, settings.stride)
                for _, _, first, last in planned
            ]
            wanted = set(np.concatenate(chosen).tolist())
            kept: dict[int, np.ndarray] = {}
            for start, batch in video.batches():
                for place in range(len(batch)):
                    if start + place in wanted:
                        kept[start + place] = resize_and_crop(batch[place : place + 1], settings.size)[0]
                while done < len(planned) and chosen[done][-1] < start + len(batch):
                    yield Window(*planned[done], np.stack([kept[index] for index in chosen[done].tolist()]))
                    done += 1
                    oldest = chosen[done][0] if done < len(planned) else 0
                    kept = {index: frame for index, frame in kept.items() if index >= oldest}
        if not done:
            raise VideoError("damaged", f"{Path(path).name}: it ends before the first window of {length:g} s")
        if video.note:
            say_once(f"{path}: {video.note}")

    def feature(self, frames: np.ndarray) -> np.ndarray:
        """Feature ``[1, D]`` of a clip, uint8 ``[T, H, W, 3]``."""
        return encode(self.backbone, frames[None], 1)
