"""Pictures of clips and medoids for the page, made from the caches when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from pipeline.methods.dance.bottleneck.reading import cosine
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.regions import View
from pipeline.methods.dance.explain.seen import medoid_of, scale_of
from pipeline.methods.dance.explore.shards import Memory, Shards, remembered
from pipeline.motion.drawing import draw_strip
from pipeline.motion.skeleton import Skeleton, skeleton
from pipeline.store.arrays import Arrays

THUMB, MEDOID = 160, 128
# WebP's: a sprite of 16 frames of 224 pixels takes 100 kB.
QUALITY = 68
LARGEST = 320
COLUMNS = 8


def webp(picture: np.ndarray, quality: int = QUALITY) -> bytes:
    """A picture uint8 ``[H, W, 3]`` as WebP."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="WEBP", quality=quality, method=2)
    return buffer.getvalue()


def sized(picture: np.ndarray, largest: int) -> np.ndarray:
    """A picture made smaller where its longer side is above ``largest``."""
    scale = largest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.shape[1::-1])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def sprite(frames: np.ndarray) -> tuple[np.ndarray, int]:
    """Frames ``[T, H, W, 3]`` in one picture, row by row, and how many stand in a row."""
    columns = min(COLUMNS, len(frames))
    rows = -(-len(frames) // columns)
    height, width = frames.shape[1:3]
    canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
    for number, frame in enumerate(frames):
        y, x = number // columns * height, number % columns * width
        canvas[y : y + height, x : x + width] = frame
    return canvas, columns


def medoid_frames(medoid: np.ndarray, joints: Skeleton | None) -> np.ndarray:
    """A medoid in motion, one picture a pose: uint8 ``[L, MEDOID, w, 3]``; one picture for paths of things."""
    if joints is None:
        return draw_strip(medoid, None, height=MEDOID)[None]
    # One panel per pose of a strip, so that all poses stand on the same place at the same scale.
    return np.stack(np.split(draw_strip(medoid, joints, len(medoid), height=MEDOID), len(medoid), 1))


def in_square(points: np.ndarray, confidence: np.ndarray, height: int, width: int) -> list[Any]:
    """Joints ``[T, J, 2]`` in pixels of a picture as fractions of its middle square, with their confidence ``[T, J]``.

    Returns:
        ``T`` lists of ``J`` times x, y, confidence; None for a joint that was not found.
    """
    top, left, side = square_of(height, width)
    placed = (points - [left, top]) / side
    found = np.concatenate([placed, confidence[..., None]], -1).astype(np.float64).round(3)
    return [[joint.tolist() if np.isfinite(joint).all() else None for joint in frame] for frame in found]


def square_of(height: int, width: int) -> tuple[int, int, int]:
    """Upper border, left border and side of the middle square of a picture: what the frames show of it."""
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def located(core: ConceptModel, view: View) -> dict[str, Any]:
    """What a page needs to draw and to change maps: their places in the square, and their heat."""
    scales = [scale_of(core, m) for m in range(core.n_whole, len(core.concepts))]
    return {
        "place_rows": view.rows.tolist(),
        "place_columns": view.columns.tolist(),
        "heat": [None if scale is None else [scale.seen, scale.full] for scale in scales],
    }


def player(
    core: ConceptModel, frames: np.ndarray, times: np.ndarray, original: tuple[int, int], maps: np.ndarray | None
) -> dict[str, Any]:
    """What a page needs to play a clip and to draw over it, but for the addresses of its pictures.

    Args:
        frames: ``[T, H, W, 3]``; times: of them, in seconds, ``[T]``; original: height and width of the video.
        maps: concept maps ``[S, h, w, l]``, or None.
    """
    height, width = sized(frames[0], LARGEST).shape[:2]
    about = {
        "frames": len(frames),
        "columns": min(COLUMNS, len(frames)),
        "width": width,
        "height": height,
        "original": original,
        "square": square_of(*original),
        "times": np.asarray(times, np.float64).round(3).tolist(),
        "skeleton": None,
        "bones": [],
        "medoids": [],
        "timeline": None,
        **dict.fromkeys(("maps", "map_shape", "heat", "place_rows", "place_columns")),
    }
    if maps is None:
        return about
    return {**about, "map_shape": maps.shape, **located(core, View.of(*original, core.about["maps"]))}


def sheet(frames: np.ndarray) -> bytes:
    """The frames of a clip in one picture, see `sprite`."""
    return webp(sprite(np.stack([sized(frame, LARGEST) for frame in frames]))[0])


def timeline(windows: np.ndarray, z: np.ndarray) -> dict[str, Any]:
    """Windows ``[n, 2]`` in seconds with what the model makes of each, ``[n, M]``."""
    return {"windows": windows.round(3).tolist(), "z": z.astype(np.float64).round(5).tolist()}


@dataclass
class Media:
    """Pictures of the clips of a run, by their ids."""

    folder: Path
    core: ConceptModel
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        floors = {"clips": "data/clips", "signal": "data/signal", "maps": "backbone/maps"}
        floors |= {"poses": "motion/poses", "key_clips": "motion/pose_clips"}
        self.shards = {name: Shards(self.folder, floor) for name, floor in floors.items()}

    @property
    def there(self) -> bool:
        """Whether the run keeps pictures at all."""
        return bool(self.shards["clips"])

    def has(self, video_id: str) -> bool:
        """Whether the run keeps a clip of a video."""
        return self.there and self.shards["clips"].find(video_id) is not None

    def has_medoid(self, concept: int) -> bool:
        return medoid_of(self.core, concept) is not None

    def seconds(self) -> dict[str, float]:
        """How long each video is, from its number of frames."""
        found: dict[str, float] = {}
        signal = self.shards["signal"]
        for number in signal.each():
            frames = np.diff(signal.part(number, "offsets", slice(None)))
            rates = signal.attribute(number, "fps")
            for key, row in signal.rows(number).items():
                if rates[row]:
                    found[key] = round(float(frames[row] / rates[row]), 2)
        return found

    def thumb(self, video_id: str) -> bytes | None:
        """The middle frame; None where the run keeps no clip of it."""
        held = self.memory.get(("thumb", video_id))
        return held or self._thumbs(video_id)

    def _thumbs(self, video_id: str) -> bytes | None:
        """All thumbs of the block that a clip lies in: it is unpacked as a whole in any case."""
        clips = self.shards["clips"]
        found = clips.find(video_id)
        if found is None:
            return None
        number, place = found
        first, frames = clips.block(number, "frames", place)
        for key, row in clips.rows(number).items():
            if first <= row < first + len(frames):
                own = frames[row - first]
                made = webp(sized(own[len(own) // 2], THUMB))
                self.memory.put(("thumb", key), made, len(made))
        return self.memory.get(("thumb", video_id))

    def frames(self, video_id: str) -> np.ndarray | None:
        """uint8 ``[T, H, W, 3]``."""
        found = self.shards["clips"].find(video_id)
        return None if found is None else self.shards["clips"].row(found[0], "frames", found[1])

    def sheet(self, video_id: str) -> bytes | None:
        """The frames of a clip in one picture."""
        frames = self.frames(video_id)
        return None if frames is None else sheet(frames)

    def maps(self, video_id: str) -> np.ndarray | None:
        """Concept maps float32 ``[S, h, w, l]``; None where there are none."""
        if not self.core.has_maps or (found := self.shards["maps"].find(video_id)) is None:
            return None
        return self.core.maps(self.shards["maps"].row(found[0], "maps", found[1])[None])[0]

    def medoid(self, concept: int) -> bytes | None:
        """The poses of a motion concept side by side."""
        poses = medoid_of(self.core, concept)
        if poses is None:
            return None
        joints = skeleton(self.core.about["skeleton"])
        return remembered(
            self.memory, ("medoid", concept), lambda: webp(np.concatenate(list(medoid_frames(poses, joints)), 1))
        )

    def clip(self, row: int, video_id: str) -> dict[str, Any] | None:
        """What a player needs to know of a clip; None where the run keeps none of it."""
        found = self.shards["clips"].find(video_id)
        if found is None:
            return None
        number, place = found
        clips = self.shards["clips"]
        frames = clips.row(number, "frames", place)
        index = clips.part(number, "frame_index", place)
        height, width = (int(clips.attribute(number, name)[place]) for name in ("height", "width"))
        times = self._times(video_id)
        if times is None:
            times = np.arange(int(index.max()) + 1) / (clips.attribute(number, "fps")[place] or 25)
        maps = self.maps(video_id)
        return {
            **player(self.core, frames, times[index], (height, width), maps),
            **self._moving(video_id, index, times, height, width),
            "picture": f"media/clip/{row}.webp",
            "maps": None if maps is None else f"media/maps/{row}.f32",
            "timeline": self._timeline(video_id),
        }

    def _timeline(self, video_id: str) -> dict[str, Any] | None:
        """What the stage `timelines` has found in a video; None where it has not looked at it."""
        path = self.folder / "explain" / "timelines.zarr.zip"
        if not path.is_file():
            return None
        with Arrays(path) as artifact:
            about = artifact.attributes
            if about["activations"] != self.core.about.get("activations") or video_id not in about["video_id"]:
                return None
            place = about["video_id"].index(video_id)
            rows = slice(*map(int, artifact.part("offsets", slice(place, place + 2))))
            return timeline(artifact.part("windows", rows)[:, :2], artifact.part("z", rows))

    def _times(self, video_id: str) -> np.ndarray | None:
        """Of all frames of a video, in seconds."""
        signal = self.shards["signal"]
        found = signal.find(video_id)
        if found is None:
            return None
        start, end = signal.part(found[0], "offsets", slice(found[1], found[1] + 2))
        return signal.part(found[0], "timestamps", slice(int(start), int(end)))

    def _moving(self, video_id: str, index: np.ndarray, times: np.ndarray, height: int, width: int) -> dict[str, Any]:
        """Skeletons in the frames of a clip, and where it is most like each medoid."""
        nothing = {"skeleton": None, "bones": [], "medoids": []}
        poses = self.shards["poses"]
        joints = skeleton(self.core.about["skeleton"]) if self.core.about.get("skeleton") else None
        if joints is None or (found := poses.find(video_id)) is None:
            return nothing
        start, end = map(int, poses.part(found[0], "offsets", slice(found[1], found[1] + 2)))
        parts = {name: poses.part(found[0], name, slice(start, end)) for name in ("keypoints", "confidence", "present")}
        shown = index[index < end - start]
        if len(shown) < len(index) or parts["keypoints"].shape[1] != len(joints.joints):
            return nothing
        points, sure, present = (parts[name][shown] for name in ("keypoints", "confidence", "present"))
        placed = in_square(points, np.nan_to_num(sure), height, width)
        return {
            "skeleton": [frame if there else None for frame, there in zip(placed, present, strict=True)],
            "bones": joints.edges,
            "medoids": self._matches(video_id, parts, times),
        }

    def _matches(self, video_id: str, parts: Mapping[str, np.ndarray], times: np.ndarray) -> list[dict[str, Any]]:
        """For each medoid the frames that are most like it, by cosine over the joints that are seen."""
        clips = self.shards["key_clips"]
        if not len(self.core.medoids) or (found := clips.find(video_id)) is None:
            return []
        own = np.flatnonzero(clips.part(found[0], "row", slice(None)) == found[1])
        if not len(own):
            return []
        rows = slice(int(own[0]), int(own[-1]) + 1)
        poses, start = (clips.part(found[0], name, rows)[own - own[0]] for name in ("poses", "start"))
        if poses.shape[1:] != self.core.medoids.shape[1:]:
            return []
        last = len(parts["present"]) - 1
        frames = np.minimum(start[:, None] + np.arange(poses.shape[1]), last)
        sure = np.where(np.isfinite(parts["keypoints"]).all(2), np.nan_to_num(parts["confidence"]).clip(0, 1), 0)
        like = cosine(np.nan_to_num(poses), sure[frames], self.core.medoids)
        motion = [m for m, kind in enumerate(self.core.types) if kind == "motion"]
        best = like.argmax(0)
        return [
            {
                "concept": m,
                "from": round(float(times[min(int(start[best[k]]), len(times) - 1)]), 3),
                "to": round(float(times[min(int(frames[best[k], -1]), len(times) - 1)]), 3),
                "similarity": round(float(like[best[k], k]), 4),
            }
            for k, m in enumerate(motion)
        ]
