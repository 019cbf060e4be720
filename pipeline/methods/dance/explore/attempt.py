"""A file of a person's own before the model of a run: decoded in a process of its own, within a time."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.isolated import Decoder, RemoteVideo
from pipeline.data.readers import BackendError, VideoError
from pipeline.data.settings import MIN_FRACTION
from pipeline.jobs.runtime import AUTO
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.predict import VideoPredictor
from pipeline.methods.dance.explore.media import THUMB, player, sheet, sized, timeline, webp
from pipeline.methods.explored import Refused, Upload

# Files whose pictures are held, and windows of a timeline.
HELD, WINDOWS = 8, 40


@dataclass(frozen=True)
class Hurried:
    """An opened video that is read until a moment of the monotonic clock, and not longer."""

    video: RemoteVideo
    deadline: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.video, name)

    def batches(self, size: int = 32) -> Iterator[tuple[int, np.ndarray]]:
        """See `pipeline.data.readers.Video.batches`; VideoError where the time is over."""
        for found in self.video.batches(size):
            if time.monotonic() > self.deadline:
                raise VideoError("too_slow", "looking at it takes longer than --upload-seconds allows")
            yield found


@contextlib.contextmanager
def isolated(
    path: Path,
    backend: str,
    frames: tuple[int, int] | None = None,
    min_fraction: float = MIN_FRACTION,
    *,
    deadline: float,
) -> Iterator[Hurried]:
    """A video in a process of its own, as `pipeline.data.readers.open_video` opens it."""
    left = max(0.1, deadline - time.monotonic())
    with Decoder(left) as decoder, decoder.open(path, backend, frames, min_fraction) as video:
        yield Hurried(video, deadline)


@dataclass
class Attempts:
    """Own files of this session; their pictures go with it."""

    core: ConceptModel
    pictures: OrderedDict[str, dict[str, bytes]] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self._predictor: VideoPredictor | None = None

    def read(self, token: str, name: str) -> bytes | None:
        """A picture of a file that was tried."""
        return self.pictures.get(token, {}).get(name)

    def forget(self) -> None:
        """Let go of all but the last pictures."""
        while len(self.pictures) > HELD:
            self.pictures.popitem(last=False)

    def attempt(self, upload: Upload) -> dict[str, Any]:
        """What the model makes of a file.

        Raises:
            Refused: it cannot be read, or not in time.
        """
        opener = partial(isolated, deadline=time.monotonic() + upload.seconds)
        if self._predictor is None:
            self._predictor = VideoPredictor(self.core, AUTO)
        predictor = self._predictor
        try:
            seen = predictor.look(upload.path, opener)
            along = self._along(predictor, upload.path, opener)
        except (VideoError, BackendError) as error:
            # The copy's name says nothing to the person.
            raise Refused(f"it cannot be read: {str(error).replace(upload.path.name, 'the file')}") from None
        core = self.core
        z = core.activations(seen.feature, None if seen.maps is None else seen.maps[None], seen.read)[0]
        (distance,) = core.distance(seen.feature)
        token = secrets.token_hex(8)
        address = f"media/try/{token}"
        height, width = (seen.view.height, seen.view.width) if seen.view else seen.frames.shape[1:3]
        clip = player(core, seen.frames, seen.times, (int(height), int(width)), seen.maps)
        clip |= {"picture": f"{address}/clip.webp", "timeline": along}
        own = {
            "clip.webp": sheet(seen.frames),
            "thumb.webp": webp(sized(seen.frames[len(seen.frames) // 2], THUMB)),
        }
        if seen.maps is not None:
            clip["maps"] = f"{address}/maps.f32"
            own["maps.f32"] = np.ascontiguousarray(seen.maps, "<f4").tobytes()
        self.pictures[token] = own
        self.forget()
        return {
            "id": upload.name,
            "z": z.tolist(),
            "distance": None if distance is None else float(distance),
            "thumb": f"{address}/thumb.webp",
            "clip": clip,
        }

    def _along(self, predictor: VideoPredictor, path: Path, opener: Any) -> dict[str, Any] | None:
        """What is seen when; None for a model that reads whole videos, or that does not know how long a clip is."""
        length = self.core.about.get("window")
        if length is None or predictor.reader:
            return None
        with opener(path, predictor.decode.backend, min_fraction=0) as video:
            times = video.timestamps
        lasts = float(times[-1] - times[0]) if len(times) else 0.0
        if lasts <= length:
            return None
        hop = max(length / 4, (lasts - length) / WINDOWS)
        found, z = predictor.over_time(path, length, hop, opener=opener)
        return timeline(np.array([(window.start, window.end) for window in found]), z)
