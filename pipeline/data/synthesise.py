"""Stage `synthesise`: the videos of Syn-TA, rendered, with their truth."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.data.table import read_videos
from pipeline.demo.settings import Synta
from pipeline.demo.synta.classes import Clip, clip_of
from pipeline.demo.synta.clips import Rendered, length_of, render
from pipeline.demo.videos import write_video
from pipeline.jobs import stage
from pipeline.store.provenance import digest_of_file

FPS = 24
FOLDER = "videos/"
# One row per body and frame.
BODIES = ("tracks", "position", "scale", "value", "box", "visible", "shape")


def packed(ids: np.ndarray) -> np.ndarray:
    """Two pixels per byte, the left one in the lower half: ids ``[F, H, W]`` up to 15 → ``[F, H, W / 2]``."""
    return ids[..., 0::2] | (ids[..., 1::2] << 4)


def unpacked(pairs: np.ndarray) -> np.ndarray:
    """The reverse of `packed`."""
    return np.stack([pairs & 15, pairs >> 4], -1).reshape(*pairs.shape[:-1], -1)


def row_of(clip: Clip, path: str, rendered: Rendered, digest: str) -> dict:
    """What the manifest says of a clip."""
    return {
        "path": path,
        "digest": digest,
        "coarse": clip.coarse,
        "n": clip.n,
        "fine": clip.words,
        "set": clip.set,
        "id": clip.id,
        "view": clip.view,
        "background": clip.background,
        "factor": clip.factor,
        "shape_set": clip.shape_set,
        "scene_set": clip.scene_set,
        "n_frames": len(rendered.frames),
        "n_bodies": rendered.scale.shape[1],
        "shapes": rendered.about["shapes"],
        "scene": rendered.about["scene"],
        "attempt": rendered.about["attempt"],
        "eye": rendered.about["eye"],
    }


def build(job: stage.Job) -> None:
    """Write the videos of one shard, then what is known of them.

    The truth holds, frames of all clips concatenated (``offsets``): ids ``[F, H, W / 2]``, see `packed`; and bodies of
    all frames concatenated (``body_offsets``, of clips): the arrays of `Rendered`, ``[sum of F × N, ...]``.
    """
    settings = Synta.model_validate(job.settings)
    videos = read_videos(job)
    clips = [clip_of(path.removeprefix(FOLDER)) for path in videos.path]
    lengths = np.array([length_of(settings, clip) for clip in clips], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.empty((offsets[-1], settings.size, settings.size // 2), np.uint8)
    rows, bodies = [], {name: [] for name in BODIES}
    named = zip(videos.video_id, videos.path, clips, offsets, strict=False)
    for video_id, path, clip, start in stage.progress(named, "synthesise", total=len(clips)):
        rendered = render(settings, clip)
        file = job.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        write_video(file, rendered.frames, FPS)
        ids[start : start + len(rendered.ids)] = packed(rendered.ids)
        for name in BODIES:
            values = getattr(rendered, name)
            bodies[name].append(values.reshape(-1, *values.shape[2:]))
        rows.append({"video_id": video_id, **row_of(clip, path, rendered, digest_of_file(file))})
    shapes = {"tracks": (6,), "position": (3,), "box": (4,)}
    arrays = {
        name: np.concatenate(parts) if parts else np.zeros((0, *shapes.get(name, ())), np.float32)
        for name, parts in bodies.items()
    }
    counts = [len(part) for part in bodies["scale"]]
    arrays |= {"ids": ids, "offsets": offsets, "body_offsets": np.cumsum([0, *counts])}
    job.write_arrays("truth", arrays, {"video_id": videos.video_id.tolist()}, n_ok=len(rows))
    # The manifest is last: it tells that all of its videos are there.
    job.write_table("manifest", pa.Table.from_pylist(rows, SCHEMA), {"fps": FPS, "size": settings.size})


_WORDS = ("video_id", "path", "digest", "coarse", "fine", "view", "background", "factor")
_NUMBERS = ("n", "set", "id", "shape_set", "scene_set", "n_frames", "n_bodies", "scene", "attempt")
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _WORDS),
        *((name, pa.int32()) for name in _NUMBERS),
        ("shapes", pa.list_(pa.string())),
        ("eye", pa.list_(pa.float64())),
    ]
)


if __name__ == "__main__":
    stage.run("synthesise", build)
