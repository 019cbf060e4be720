"""Stage `generate`: the demo's videos, list and ground truth, made from a seed."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image

from pipeline.demo.clips import render
from pipeline.demo.plan import place, planned
from pipeline.demo.settings import Generate
from pipeline.demo.videos import write_video
from pipeline.jobs import stage
from pipeline.store.arrays import ragged
from pipeline.store.atomic import replace_when_done


def make_clip(call: tuple) -> dict[str, np.ndarray]:
    """Render one clip and write its video, or its middle frame as a picture; returns its ground truth."""
    spec, size, media, path = call
    if media == "videos":
        clip = render(spec, size)
        write_video(path, clip.frames)
    else:
        clip = render(spec, size, [spec.n_frames // 2])
        with replace_when_done(path) as temporary:
            Image.fromarray(clip.frames[0]).save(temporary, format="PNG")
    return {
        "keypoints": clip.keypoints,
        "visible": clip.visible,
        "person_mask": np.packbits(clip.person_mask, axis=2),
        "object_mask": np.packbits(clip.object_mask, axis=2),
    }


def build(job: stage.Job) -> None:
    """Write everything below ``results/<data set>/demo/``.

    The truth holds, frames of all clips concatenated (``offsets``): keypoints ``[F, 17, 2]`` in pixels, visible
    ``[F, 17]``, and the masks ``[F, size, size / 8]`` packed to bits along x; and per clip its three factors.
    """
    settings = Generate.model_validate(job.settings)
    folder = job.outputs["lists"].parent
    clips = planned(settings)
    (folder / settings.media).mkdir(parents=True, exist_ok=True)
    calls = [(clip.spec, settings.size, settings.media, folder / place(clip, settings)) for clip in clips]
    with ProcessPoolExecutor(job.threads) as pool:
        truth = list(stage.progress(pool.map(make_clip, calls, chunksize=4), "generate", total=len(calls)))

    with replace_when_done(job.outputs["lists"]) as temporary:
        rows = [f"{clip.split},{place(clip, settings)},{clip.label},{clip.class_name},{clip.group}" for clip in clips]
        temporary.write_text("split,path,label,class,actor\n" + "\n".join(rows) + "\n")

    arrays = {}
    width = settings.size // 8
    for name, shape, dtype in (
        ("keypoints", (17, 2), np.float32),
        ("visible", (17,), bool),
        ("person_mask", (settings.size, width), np.uint8),
        ("object_mask", (settings.size, width), np.uint8),
    ):
        arrays[name], arrays["offsets"] = ragged([item[name] for item in truth], shape, dtype)
    content = {"video_id": [clip.video_id for clip in clips]}
    for factor in ("motion", "object", "scene"):
        content[factor] = [getattr(clip.spec, factor) for clip in clips]
    job.write_arrays("truth", arrays, content, n_ok=len(clips))


if __name__ == "__main__":
    stage.run("generate", build)
