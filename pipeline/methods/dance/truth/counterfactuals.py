"""Stage `counterfactuals`: every test clip once more with another motion, another object or another scene.

All else of a clip (actor, viewpoint, colours, layout, camera, light) has random streams of its own and stays, so what
changes in the activations is the model's answer to one factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.data.readers import resize_and_crop
from pipeline.data.settings import Decode
from pipeline.demo.classes import CLASSES, FACTORS
from pipeline.demo.clips import ClipSpec, render
from pipeline.demo.plan import planned
from pipeline.demo.settings import Generate
from pipeline.encoding.hardware import batch_size
from pipeline.jobs import stage
from pipeline.jobs.stage import Job, StageError
from pipeline.methods.dance.explain.predict import VideoPredictor
from pipeline.methods.dance.explain.sanity import read_run
from pipeline.methods.dance.settings import Counterfactuals

VARIANTS = ("as it was", *FACTORS)


def changed(spec: ClipSpec, factor: str, values: Sequence[str], seed: int) -> ClipSpec:
    """The clip with another value of one factor, drawn from those that the data set has."""
    others = [value for value in values if value != getattr(spec, factor)]
    rng = np.random.default_rng([7201, seed, spec.seed, FACTORS.index(factor)])
    return replace(spec, **{factor: others[int(rng.integers(len(others)))]})


def class_of(spec: ClipSpec) -> str | None:
    """The demo's class that shows this, or None; an object that one scene goes with defines its class elsewhere too."""
    same = [item for item in CLASSES if (item.motion, item.object) == (spec.motion, spec.object)]
    scenes = {item.scene for item in CLASSES if item.object == spec.object}
    if len(scenes) > 1:
        same = [item for item in same if item.scene == spec.scene]
    return same[0].name if same else None


def model_clip(
    spec: ClipSpec, settings: Generate, decode: Decode, frame_index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the model would see of a clip, without the video file between.

    Returns:
        uint8 ``[T, size, size, 3]``; the object's mask in the picture as it was rendered, bool ``[T, side, side]``.
    """
    # A picture is the middle frame of its clip, seen T times.
    wanted = frame_index if settings.media == "videos" else np.full(len(frame_index), spec.n_frames // 2)
    shown, where = np.unique(wanted, return_inverse=True)
    clip = render(spec, settings.size, shown.tolist())
    return resize_and_crop(clip.frames, decode.size)[where], clip.object_mask[where]


def build(job: Job) -> None:
    """Write the activations of all variants of the clips, and what they show."""
    settings = Counterfactuals.model_validate(job.settings["counterfactuals"])
    generate = Generate.model_validate(job.settings["generate"])
    decode = Decode.model_validate(job.settings["decode"])
    model, _, described = read_run(job)
    clips = {clip.video_id: clip for clip in planned(generate)}
    known = set(described["video_id"])
    values = {factor: sorted({getattr(clip.spec, factor) for clip in clips.values()}) for factor in FACTORS}
    frame_index: dict[str, np.ndarray] = {}
    for arrays, about in job.read_arrays("clips"):
        frame_index |= dict(zip(about["video_id"], arrays["frame_index"], strict=True))
    asked = [clip for key, clip in clips.items() if clip.split == settings.split and key in known & frame_index.keys()]
    if not asked:
        raise StageError(f"explain.counterfactuals.split: no clip is in `{settings.split}`")
    predictor = VideoPredictor(model, job.runtime)
    batch = batch_size("features", job.runtime)
    reader = predictor.reader
    specs = [
        [clip.spec, *(changed(clip.spec, factor, values[factor], settings.seed) for factor in FACTORS)]
        for clip in asked
    ]
    z = []
    for clip, variants in stage.progress(list(zip(asked, specs, strict=True)), "counterfactuals"):
        frames = np.stack([model_clip(spec, generate, decode, frame_index[clip.video_id])[0] for spec in variants])
        read = None
        if reader:
            # Motion is read in all frames, not in those of the clip alone.
            whole = [render(spec, generate.size, list(range(spec.n_frames))).frames for spec in variants]
            read = reader.memory(whole, frames, [clip.video_id] * len(variants))
        z.append(predictor.activations(frames, batch, read))
    job.write_arrays(
        "counterfactuals",
        {"z": np.stack(z, 1).astype(np.float32), "label": np.array([clip.label for clip in asked], np.int32)},
        {
            "video_id": [clip.video_id for clip in asked],
            "variants": list(VARIANTS),
            "shown": [[[getattr(spec, factor) for factor in FACTORS] for spec in variants] for variants in specs],
            "class": [[class_of(spec) for spec in variants] for variants in specs],
            "activations": described["content_digest"],
        },
        n_ok=len(asked),
    )


if __name__ == "__main__":
    stage.run("counterfactuals", build)
