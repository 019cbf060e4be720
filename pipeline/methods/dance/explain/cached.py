"""The videos of a finished run as its model sees them, from the cache: no video is decoded and no network runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.entries import shard_of
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.animation import Person, fitted, thinned
from pipeline.methods.dance.explain.regions import View
from pipeline.methods.dance.explain.seen import Seen
from pipeline.motion.sheet import SURE, on_clip
from pipeline.store.arrays import Arrays
from pipeline.store.atomic import ArtifactError
from pipeline.store.names import find
from pipeline.store.places import shards_of

# An activation that is computed again from the cache differs by the rounding of float16 maps.
SAME = 0.05


@dataclass(frozen=True)
class Cached:
    """What a model sees in the videos that it was trained and tested on.

    Attributes:
        video_id: ids; split: their splits, object ``[n]``.
        z: activations float64 ``[n, M]``; label: int64 ``[n]``.
        distance: from the training videos ``[n]``; of None where the model cannot tell.
    """

    video_id: list[str]
    split: np.ndarray
    z: np.ndarray
    label: np.ndarray
    distance: np.ndarray | list[None]

    def rows(self, split: str) -> np.ndarray:
        """Rows of a split.

        Raises:
            NameUnknown: there is no such split.
        """
        find(split, list(dict.fromkeys(self.split)), "split")
        return np.flatnonzero(self.split == split)


def _again(folder: Path) -> str:
    return f"`snakemake --cores all {folder / 'model.pt'}` makes both again"


def read_cached(folder: Path, model: ConceptModel) -> Cached:
    """Activations of the run below ``results/<data set>``, refused where they are another model's.

    Raises:
        ArtifactError: absent, or made by another run than the model.
    """
    path = folder / "bottleneck" / "activations.zarr.zip"
    with Arrays(path) as artifact:
        attributes = artifact.attributes
        if attributes["content_digest"] != model.about.get("activations"):
            raise ArtifactError(f"{path} is not what this model has seen: one of the two is stale. {_again(folder)}")
        return Cached(
            attributes["video_id"],
            np.array(attributes["split"], object),
            artifact["z"].astype(np.float64),
            artifact["label"].astype(np.int64),
            artifact["distance"] if model.reach else [None] * len(attributes["video_id"]),
        )


def _row(folder: Path, floor: str, video_id: str) -> tuple[Arrays, int] | None:
    """The opened shard that holds a video, and its row there."""
    for path in shards_of(folder, floor):
        index, _, count = path.name.split(".")[0].partition("-of-")
        if shard_of(video_id, int(count)) == int(index):
            artifact = Arrays(path)
            if video_id in artifact.attributes["video_id"]:
                return artifact, artifact.attributes["video_id"].index(video_id)
    return None


def look(folder: Path, model: ConceptModel, video_id: str, z: np.ndarray) -> Seen | None:
    """Frames, feature and concept maps of one video of the run; None where the run has no clips.

    Args:
        z: its activations ``[M]`` as the model knows them.

    Raises:
        ArtifactError: the cache holds something else than the model has seen.
    """
    places = ("data/clips", "data/signal", "backbone/features", "backbone/maps")
    clip, signal, feature, maps = (_row(folder, part, video_id) for part in places)
    if clip is None or signal is None or feature is None or (model.has_maps and maps is None):
        return None
    frames = clip[0].part("frames", clip[1])
    height, width = (int(clip[0].attributes[name][clip[1]]) for name in ("height", "width"))
    first, end = signal[0].part("offsets", slice(signal[1], signal[1] + 2))
    times = signal[0].part("timestamps", slice(int(first), int(end)))[clip[0].part("frame_index", clip[1])]
    vector = feature[0].part("features", feature[1])[None]
    found = view = None
    if model.has_maps:
        found = model.maps(maps[0].part("maps", maps[1])[None])
        view = View.of(height, width, model.about["maps"])
    # What was read is known from the activations themselves.
    own = slice(None, model.n_read)
    read = (z[own] * model.layer["std"][own] + model.layer["mean"][own])[None]
    if np.abs(model.activations(vector, found, read)[0] - z).max() > SAME:
        raise ArtifactError(f"the cache below {folder} is not what this model has seen; one is stale. {_again(folder)}")
    return Seen(frames, times, vector, None if found is None else found[0], view, read if model.n_read else None)


def person_of(folder: Path, video_id: str, pixels: bool) -> Person | None:
    """What an animation draws of a video of the run; None where the run has neither its clip nor its poses.

    Args:
        pixels: the clip with poses over it; otherwise, and where the run has no clip, poses alone.
    """
    poses, signal = _row(folder, "motion/poses", video_id), _row(folder, "data/signal", video_id)
    clip = _row(folder, "data/clips", video_id) if pixels else None
    keypoints = None
    if poses is not None:
        span = slice(*map(int, poses[0].part("offsets", slice(poses[1], poses[1] + 2))))
        keypoints, confidence = (poses[0].part(name, span).astype(float) for name in ("keypoints", "confidence"))
        keypoints[(confidence < SURE) | ~poses[0].part("present", span)[:, None]] = np.nan
    times = None
    if signal is not None:
        times = signal[0].part(
            "timestamps", slice(*map(int, signal[0].part("offsets", slice(signal[1], signal[1] + 2))))
        )
    if clip is not None and times is not None:
        frames, shown = clip[0].part("frames", clip[1]), clip[0].part("frame_index", clip[1])
        height, width = (int(clip[0].attributes[name][clip[1]]) for name in ("height", "width"))
        points = None
        if keypoints is not None and len(keypoints):
            points = on_clip(keypoints[np.minimum(shown, len(keypoints) - 1)], height, width, frames.shape[1])
            points = (points + 0.5) / frames.shape[1]
        return Person(times[shown], frames, points)
    if keypoints is None or not len(keypoints):
        return None
    # Imported poses come without times: 25 frames a second are the usual rate.
    times = np.arange(len(keypoints)) / 25 if times is None else times[: len(keypoints)]
    kept = thinned(times)
    return Person(times[kept], None, fitted(keypoints)[kept])
