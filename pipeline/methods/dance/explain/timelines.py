"""Stage `timelines`: what is seen when in the longest videos of a split, for the report."""

from __future__ import annotations

import numpy as np

from pipeline.data.readers import VideoError
from pipeline.data.table import read_index
from pipeline.encoding.hardware import batch_size
from pipeline.jobs import stage
from pipeline.jobs.stage import Job
from pipeline.methods.dance.explain.predict import VideoPredictor
from pipeline.methods.dance.explain.sanity import read_run
from pipeline.methods.dance.settings import Timelines


def durations(job: Job, wanted: set[str]) -> dict[str, float]:
    """Seconds of the wanted videos, from the motion signals."""
    found = {}
    for arrays, about in job.read_arrays("signal"):
        for row, key in enumerate(about["video_id"]):
            if key in wanted:
                first, end = arrays["offsets"][row : row + 2]
                found[key] = float(arrays["timestamps"][end - 1] - arrays["timestamps"][first])
    return found


def build(job: Job) -> None:
    """Write windows and activations of the chosen videos; one that cannot be read is warned of and left out."""
    settings = Timelines.model_validate(job.settings)
    model, _, described = read_run(job)
    length = model.about["window"]
    split = np.array(described["split"], object)
    asked = "test" if "test" in split else "val"
    known = {key for key, own in zip(described["video_id"], split, strict=True) if own == asked}
    lasts = durations(job, known)
    chosen = sorted(lasts, key=lambda key: (-lasts[key], key))[: settings.videos]
    videos = read_index(job)
    places = {key: (path, frames) for key, path, frames in videos.files()}
    predictor, batch = VideoPredictor(model, job.runtime), batch_size("features", job.runtime)
    ids, windows, parts = [], [], []
    for key in stage.progress(chosen, "timelines"):
        path, frames = places[key]
        hop = max(length / 4, (lasts[key] - length) / settings.max_windows)
        try:
            found, z = predictor.over_time(job.root / path, length, hop, batch, frames)
        except VideoError as error:
            job.warn(f"{key} has no timeline: {error}")
            continue
        ids.append(key)
        windows.append([(window.start, window.end, window.first, window.last) for window in found])
        parts.append(z.astype(np.float32))
    offsets = np.cumsum([0, *(len(part) for part in parts)])
    job.write_arrays(
        "timelines",
        {
            "offsets": offsets,
            "windows": np.array([window for own in windows for window in own], np.float64).reshape(-1, 4),
            "z": np.concatenate([np.zeros((0, len(model.concepts)), np.float32), *parts]),
        },
        {"video_id": ids, "activations": described["content_digest"]},
        n_ok=len(ids),
    )


if __name__ == "__main__":
    stage.run("timelines", build)
