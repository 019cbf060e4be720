"""Stage `evaluate`: the encoders against the demo's ground truth; the only reader of that truth."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.data.table import join_shards, read_index
from pipeline.demo.classes import OBJECTS, SCENES, ceilings
from pipeline.jobs import stage


def pck(
    estimated: np.ndarray, truth: np.ndarray, counted: np.ndarray, person: np.ndarray, share: float = 0.1
) -> tuple[int, int]:
    """Percentage of correct keypoints (Yang & Ramanan 2013): within ``share`` of the person box's longer side.

    Args:
        estimated, truth: ``[F, J, 2]`` pixels; counted bool ``[F, J]``; person ``[F, 4]`` as x0, y0, x1, y1.

    Returns:
        (correct, counted): numbers of joints.
    """
    distance = np.linalg.norm(estimated - truth, axis=2)
    longer = np.maximum(person[:, 2] - person[:, 0], person[:, 3] - person[:, 1])
    correct = (distance <= share * longer[:, None]) & counted
    return int(correct.sum()), int(counted.sum())


def boxes_of(keypoints: np.ndarray) -> np.ndarray:
    """Person box ``[F, 4]`` around all true joints."""
    return np.concatenate([keypoints.min(1), keypoints.max(1)], 1)


def _of_dual_encoder(
    job: stage.Job, split_of: dict[str, str], known: dict, row_of: dict[str, int]
) -> list[tuple[str, float]]:
    """How often the dual encoder finds the true object and scene among all: figure and value."""
    from pipeline.context.encoders import load_dual_encoder
    from pipeline.context.settings import Texts

    rows = []
    texts = Texts.model_validate(job.settings["texts"])
    encoder = load_dual_encoder(texts.model, texts.revision, texts.sha256, job.runtime)
    joined = join_shards(job, "dual_encoder", "embeddings")
    for factor, vocabulary in (("object", OBJECTS), ("scene", SCENES)):
        prompts = encoder.texts([texts.prompt.format(concept=name) for name in vocabulary])
        for split in ("test", "shifted"):
            rows_of_split = [i for i, key in enumerate(joined.video_id) if split_of.get(key) == split]
            if rows_of_split:
                picked = (joined.values[rows_of_split] @ prompts.T).argmax(1)
                right = [
                    vocabulary[p] == known[factor][row_of[joined.video_id[i]]]
                    for p, i in zip(picked, rows_of_split, strict=True)
                ]
                rows.append((f"dual_encoder_{factor}_{split}", float(np.mean(right))))
    return rows


def build(job: stage.Job) -> None:
    """Write one row per figure."""
    videos = read_index(job)
    ((truth, known),) = job.read_arrays("truth")
    row_of = {key: row for row, key in enumerate(known["video_id"])}
    split_of = dict(zip(videos.video_id, videos.split, strict=True))
    counts = {("test", "visible"): [0, 0], ("test", "all"): [0, 0], ("shifted", "visible"): [0, 0]}
    for arrays, described in job.read_arrays("poses"):
        for row, video_id in enumerate(described["video_id"]):
            span = slice(*arrays["offsets"][row : row + 2])
            start, end = truth["offsets"][row_of[video_id] : row_of[video_id] + 2]
            points, visible = truth["keypoints"][start:end], truth["visible"][start:end]
            for (split, which), total in counts.items():
                if split_of.get(video_id) == split:
                    counted = visible if which == "visible" else np.ones_like(visible)
                    correct, number = pck(arrays["keypoints"][span], points, counted, boxes_of(points))
                    total[0] += correct
                    total[1] += number
    rows = [(f"pck_{split}_{which}", c / n) for (split, which), (c, n) in counts.items() if n]

    rows += _of_dual_encoder(job, split_of, known, row_of) if job.given("dual_encoder") else []
    rows += [(f"ceiling_{name}", value) for name, value in ceilings().items()]
    job.write_table("evaluation", pa.table({"figure": [r[0] for r in rows], "value": [float(r[1]) for r in rows]}))


if __name__ == "__main__":
    stage.run("evaluate", build)
