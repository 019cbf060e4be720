"""Stage `sanity`: what a model says to clips that cannot be what they were: played backwards, or frozen in one frame.

A model that reads motion must lose it in a frozen clip, and should keep objects and scenes in both.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.jobs import stage
from pipeline.jobs.stage import Job, StageError
from pipeline.methods.dance.bottleneck.activations import TYPES
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, read_model
from pipeline.methods.dance.settings import Sanity

CHECKS = ("backwards", "frozen")
# Clips at a time: so many are in memory, and one line of progress stands for them.
BLOCK = 32


def perturbed(frames: np.ndarray, check: str) -> np.ndarray:
    """Clips ``[n, T, H, W, 3]`` played backwards, or with the middle frame in place of every frame (frozen)."""
    if check == "backwards":
        return np.ascontiguousarray(frames[:, ::-1])
    middle = frames.shape[1] // 2
    return np.repeat(frames[:, middle : middle + 1], frames.shape[1], 1)


def perturbed_pose(
    pose: dict[str, np.ndarray], keyframes: np.ndarray, check: str, middle: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Poses and key frames of a video that was changed likewise: what an estimator would see frame by frame.

    Args:
        pose: ``[F, ...]`` each; keyframes: ``[k]``; middle: the frame that a frozen video repeats.
    """
    n_frames = len(pose["present"])
    if check == "backwards":
        # What changed between frames t - 1 and t now changes between F - 1 - t and F - t.
        return {name: values[::-1] for name, values in pose.items()}, np.sort(n_frames - keyframes[keyframes > 0])
    return {name: np.repeat(values[[middle]], n_frames, 0) for name, values in pose.items()}, np.array([n_frames // 2])


def read_motion_inputs(job: Job) -> dict[str, tuple[dict[str, np.ndarray], np.ndarray]]:
    """Video id → poses and key frames, where the model reads motion."""
    found = {}
    for (poses, posed), (clips, cut) in zip(job.read_arrays("poses"), job.read_arrays("pose_clips"), strict=True):
        keyframes = {key: clips["keyframe"][clips["row"] == row] for row, key in enumerate(cut["video_id"])}
        for row, video_id in enumerate(posed["video_id"]):
            span = slice(*poses["offsets"][row : row + 2])
            pose = {name: poses[name][span] for name in ("keypoints", "confidence", "present")}
            found[video_id] = pose, keyframes.get(video_id, np.zeros(0, np.int32))
    return found


def response(model: ConceptModel, before: np.ndarray, after: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """How decisions and activations answer to a change of the clips.

    Args:
        before, after: activations ``[n, M]``; y: labels ``[n]``.

    Returns:
        ``top1_before``, ``top1_after``; ``changed``: part of the decisions that are others now; ``probability_before``
        and ``probability_after`` of the true class, means; per type ``shift_<type>``: mean absolute change of an
        activation in standard deviations of the training videos, and ``kept_<type>``: correlation of an activation
        before and after over the videos, mean over the concepts.
    """
    was, is_now = model.probabilities(before), model.probabilities(after)
    rows = np.arange(len(y))
    figures = {
        "n_videos": float(len(y)),
        "top1_before": float((was.argmax(1) == y).mean()),
        "top1_after": float((is_now.argmax(1) == y).mean()),
        "changed": float((was.argmax(1) != is_now.argmax(1)).mean()),
        "probability_before": float(was[rows, y].mean()),
        "probability_after": float(is_now[rows, y].mean()),
    }
    for kind in TYPES:
        own = np.array(model.types) == kind
        if own.any():
            figures[f"shift_{kind}"] = float(np.abs(after[:, own] - before[:, own]).mean())
            figures[f"kept_{kind}"] = float(correlations(before[:, own], after[:, own]).mean())
    return figures


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson correlation of each column with its counterpart, ``[n, M]`` → ``[M]``; 0 where one is constant."""
    a, b = first - first.mean(0), second - second.mean(0)
    scale = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return np.where(scale > 1e-12, (a * b).sum(0) / np.where(scale > 1e-12, scale, 1), 0)


def read_run(job: Job) -> tuple[ConceptModel, dict[str, np.ndarray], dict]:
    """The model of the run and its activations, which belong together.

    Raises:
        StageError: they do not.
    """
    model = read_model(job.note_file("model", job.input("model")))
    ((arrays, described),) = job.read_arrays("activations")
    if described["content_digest"] != model.about.get("activations"):
        raise StageError(f"{job.input('model')} and its activations are of different runs; run the pipeline again")
    return model, arrays, described


def build(job: Job) -> None:
    """Write the activations under each change, and one row per check, split and figure."""
    from pipeline.encoding.hardware import batch_size
    from pipeline.methods.dance.explain.predict import VideoPredictor

    settings = Sanity.model_validate(job.settings)
    model, arrays, described = read_run(job)
    row_of = {key: row for row, key in enumerate(described["video_id"])}
    split = np.array(described["split"], object)
    asked = settings.splits
    if asked == ["test"] and "test" not in split:
        job.warn("there is no test video: the sanity checks are of validation")
        asked = ["val"]
    wanted = np.isin(split, asked)
    if not wanted.any():
        raise StageError(f"explain.sanity.splits: no video is in {asked}; there are {sorted(set(split))}")
    predictor = VideoPredictor(model, job.runtime)
    batch = batch_size("features", job.runtime)
    reader = predictor.reader
    moving = read_motion_inputs(job) if job.given("poses") else {}

    def read(check: str, ids: list[str], frames: np.ndarray, index: np.ndarray) -> np.ndarray | None:
        if reader is None:
            return None
        parts = [reader.words(frames)]
        if reader.reads_motion:
            rows = []
            for key, shown in zip(ids, index, strict=True):
                pose, keyframes = moving.get(key, (None, np.zeros(0, np.int32)))
                if pose is not None:
                    pose, keyframes = perturbed_pose(pose, keyframes, check, int(shown[len(shown) // 2]))
                rows.append(reader.motions(pose, keyframes, key))
            parts.insert(0, np.stack(rows))
        return np.concatenate(parts, 1)

    rows: list[int] = []
    parts: list[np.ndarray] = []
    for clips, about in job.read_arrays("clips"):
        own = [i for i, key in enumerate(about["video_id"]) if key in row_of and wanted[row_of[key]]]
        rows += [row_of[about["video_id"][i]] for i in own]
        for block in stage.progress([own[i : i + BLOCK] for i in range(0, len(own), BLOCK)], "sanity", unit="block"):
            frames = clips["frames"][block]
            ids, index = [about["video_id"][i] for i in block], clips["frame_index"][block] if moving else ()
            found = []
            for check in CHECKS:
                changed = perturbed(frames, check)
                found.append(predictor.activations(changed, batch, read(check, ids, changed, index)))
            parts.append(np.stack(found))
    order = np.argsort(rows)
    after, rows = np.concatenate(parts, 1)[:, order], np.array(rows)[order]  # [checks, n, M]
    before, y = arrays["z"][rows].astype(np.float64), arrays["label"][rows]
    table = [
        (check, name, figure, value)
        for check, z in zip(CHECKS, after, strict=True)
        for name in asked
        if (chosen := split[rows] == name).any()
        for figure, value in response(model, before[chosen], z[chosen], y[chosen]).items()
    ]
    job.write_arrays(
        "sanity",
        {"z": after.astype(np.float32)},
        {
            "video_id": [described["video_id"][row] for row in rows],
            "checks": list(CHECKS),
            "activations": described["content_digest"],
        },
        n_ok=len(rows),
    )
    columns = ("check", "split", "figure", "value")
    job.write_table(
        "sanity_table",
        pa.table({name: [row[i] for row in table] for i, name in enumerate(columns)}),
        {"activations": described["content_digest"]},
    )


if __name__ == "__main__":
    stage.run("sanity", build)
