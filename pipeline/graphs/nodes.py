"""Stage `nodes`: what the whole frame and each node look like, as features beside the graphs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.table import read_videos
from pipeline.graphs.graph import read_scenes
from pipeline.graphs.scene import Scenes
from pipeline.graphs.settings import Nodes
from pipeline.jobs import stage


def of_classes(scenes: Scenes, classes: int) -> np.ndarray:
    """One number per class: float16 ``[F, M + 1, classes]``; the whole frame has those of all that it shows."""
    owner = np.repeat(np.arange(len(scenes)), np.diff(scenes.offsets))
    kind = scenes.node_class[owner]
    one_hot = (kind[..., None] == np.arange(classes)) & scenes.present[..., None]
    return np.concatenate([one_hot.any(1, keepdims=True), one_hot], 1).astype(np.float16)


def crop(frame: np.ndarray, box: np.ndarray, margin: int) -> np.ndarray:
    """The part of a picture ``[H, W, 3]`` inside of a box (0–1), with a margin in pixels, at least one pixel."""
    height, width = frame.shape[:2]
    x1, y1 = np.floor(box[:2] * [width, height]).astype(int) - margin
    x2, y2 = np.ceil(box[2:] * [width, height]).astype(int) + margin
    x1, y1 = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    return frame[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]


def of_pictures(frames: np.ndarray, box: np.ndarray, present: np.ndarray, encoder, margin: int) -> np.ndarray:
    """Embeddings of frames ``[F, H, W, 3]`` and of what is present ``[F, M]`` in them: float16 ``[F, M + 1, D]``."""
    import torch

    result = np.zeros((len(frames), present.shape[1] + 1, encoder.width), np.float16)
    for number, frame in enumerate(frames):
        places = [0, *(np.flatnonzero(present[number]) + 1)]
        pictures = [frame, *(crop(frame, box[number, place - 1], margin) for place in places[1:])]
        with torch.inference_mode(), encoder.autocast():
            pixels = torch.cat(
                [encoder.preprocessing(torch.from_numpy(np.ascontiguousarray(p))[None]) for p in pictures]
            )
            rows = torch.nn.functional.normalize(encoder.project(pixels.to(encoder.device)).float(), dim=1)
        result[number, places] = rows.cpu().numpy()
    return result


def imported(folder: Path, scenes: Scenes) -> Iterator[np.ndarray]:
    """Features of each video from its file.

    Raises:
        StageError: a file is missing, is no array of numbers, is not finite, or has another shape than the graph.
    """
    for number, key in enumerate(scenes.video_id):
        path = folder / f"{key}.npy"
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise stage.StageError(
                f"{path} is no array of features ({error}); graphs.nodes.path names its folder"
            ) from None
        wanted = (int(np.diff(scenes.offsets)[number]), scenes.present.shape[1] + 1)
        if values.ndim != 3 or values.shape[:2] != wanted or values.dtype.kind != "f":
            raise stage.StageError(f"{path} has {values.dtype} {values.shape}; the graph needs numbers ({wanted}, D)")
        if not np.isfinite(values).all():
            raise stage.StageError(f"{path} holds NaN or infinity")
        yield values.astype(np.float16)


def _generated(job: stage.Job, scenes: Scenes, names: list[str]) -> np.ndarray:
    """Features that the generator drew, in the order of the nodes of these graphs, whose classes are named."""
    ((arrays, attributes),) = job.read_arrays("truth")
    row = {key: number for number, key in enumerate(attributes["video_id"])}
    wanted = np.array([row[key] for key in scenes.video_id])
    features, kinds = arrays["features"][wanted], arrays["node_class"][wanted]
    # Graphs order nodes by how long they are seen; their classes tell them apart.
    result = np.zeros((*features.shape[:2], scenes.present.shape[1] + 1, features.shape[3]), np.float16)
    result[:, :, 0] = features[:, :, 0]
    classes = {name: number for number, name in enumerate(attributes["node_classes"])}
    order = np.array([classes[name] for name in names])
    for place in range(scenes.present.shape[1]):
        kind = scenes.node_class[:, place]
        kind = np.where(kind >= 0, order[kind], -1)
        match = (kinds == kind[:, None]) & (kind >= 0)[:, None]
        has = match.any(1)
        result[has, :, place + 1] = features[has, :, 1 + match.argmax(1)[has]]
    return result.reshape(-1, *result.shape[2:])


def build(job: stage.Job) -> None:
    """Write features of one shard ``[F, M + 1, D]``, in the order of its graphs."""
    settings = Nodes.model_validate(job.settings["nodes"])
    ((arrays, attributes),) = job.read_arrays("graph")
    if not attributes["video_id"]:
        empty = np.zeros((0, arrays["present"].shape[1] + 1, 1), np.float16)
        job.write_arrays("nodes", {"features": empty}, {"video_id": []}, n_ok=0)
        return
    scenes, described = read_scenes(job, with_features=False)
    if settings.source == "classes":
        features = of_classes(scenes, len(described["node_classes"]))
    elif settings.source == "generated":
        features = _generated(job, scenes, described["node_classes"])
    elif settings.source == "imported":
        parts = list(imported(job.root / settings.path, scenes))
        if len({part.shape[2] for part in parts}) > 1:
            raise stage.StageError(f"features below {settings.path} differ in their width")
        features = np.concatenate(parts)
    else:
        features = _computed(job, settings, scenes)
    job.write_arrays("nodes", {"features": features}, {"video_id": scenes.video_id}, n_ok=len(scenes))


def _computed(job: stage.Job, settings: Nodes, scenes: Scenes) -> np.ndarray:
    from pipeline.context.encoders import load_dual_encoder
    from pipeline.data.readers import open_video

    encoder = load_dual_encoder(settings.model, settings.revision, settings.sha256, job.runtime)
    fps = job.settings["fps"]
    videos = {key: (path, frames) for key, path, frames in read_videos(job).files()}
    parts = []
    for number, key in enumerate(scenes.video_id):
        own = slice(scenes.offsets[number], scenes.offsets[number + 1])
        path, excerpt = videos[key]
        with open_video(job.root / path, frames=excerpt) as video:
            rate = fps or video.fps
            wanted = np.clip(np.round(scenes.times[own] * rate).astype(int), 0, video.n_frames - 1)
            frames = video.frames(wanted.tolist())
        parts.append(of_pictures(frames, scenes.box[own], scenes.present[own], encoder, settings.margin))
    return np.concatenate(parts)


if __name__ == "__main__":
    stage.run("nodes", build)
