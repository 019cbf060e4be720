"""Scene graphs from a video alone: RT-DETR's boxes of all classes, linked by the tracker of persons."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from pipeline.data.readers import Video, VideoError, open_video
from pipeline.data.table import Files
from pipeline.data.tracks import link
from pipeline.graphs.build import Box
from pipeline.graphs.settings import Detect
from pipeline.jobs.stage import Job
from pipeline.motion.pose.detector import PersonDetector

MAX_BOXES = 40
FRAMES_AT_ONCE = 8


class ObjectDetector(PersonDetector):
    """All that RT-DETR knows, not persons alone."""

    @property
    def classes(self) -> list[str]:
        """Names in the order of the network's outputs."""
        named = self.model.config.id2label
        return [str(named[index]).lower() for index in sorted(named)]

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Boxes as parts of the picture: ``[n, MAX_BOXES, 6]`` x0, y0, x1, y1, score, class, surest first."""
        with self.autocast():
            output = self.model(pixel_values=pixels)
        scores, kinds = output.logits.float().sigmoid().max(-1)  # [n, queries]
        scores, best = scores.topk(min(MAX_BOXES, scores.shape[1]), dim=1)
        x, y, width, height = output.pred_boxes.float().gather(1, best[..., None].expand(-1, -1, 4)).unbind(-1)
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return torch.stack([*corners, scores, kinds.gather(1, best).float()], -1)


def linked(
    looks: list[np.ndarray], times: np.ndarray, frames: np.ndarray, classes: list[str], settings: Detect
) -> list[Box]:
    """Boxes of successive looks as nodes: those of one class that follow each other are one node.

    Args:
        looks: per look ``[k, 6]``: x0, y0, x1, y1 in [0, 1], score, class.
        times: of the looks, seconds; frames: their numbers.
    """
    found = []
    low = settings.min_score / 2
    for kind in sorted({int(row[5]) for look in looks for row in look if row[4] >= settings.min_score}):
        own = [look[(look[:, 5] == kind) & (look[:, 4] >= low), :5] for look in looks]
        for number, track in enumerate(link(own, settings.max_gap, settings.min_score)):
            for at, box in zip(track.frames, track.boxes, strict=True):
                x1, y1, x2, y2 = np.clip(box, 0, 1).tolist()
                if x2 > x1 and y2 > y1:
                    name = f"{classes[kind]}_{number + 1}"
                    found.append(Box(int(frames[at]), float(times[at]), name, classes[kind], (x1, y1, x2, y2)))
    return found


def look(video: Video, detector: ObjectDetector, settings: Detect) -> list[Box]:
    """Nodes of one video; VideoError where it cannot be read."""
    frames = np.arange(0, video.n_frames, settings.every)
    pictures = video.frames(frames.tolist())
    times = np.asarray(video.timestamps)[frames] if video.timestamps is not None else frames / video.fps
    looks: list[np.ndarray] = []
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        pixels = detector.pixels(torch.from_numpy(pictures[start : start + FRAMES_AT_ONCE]))
        looks += list(detector(pixels).cpu().numpy())
    return linked(looks, times, frames, detector.classes, settings)


def detected(job: Job, videos: Files, settings: Detect) -> tuple[dict[str, list[Box]], dict[str, str], list[str]]:
    """Nodes of every video of a shard, why others have none, and the classes that there may be, the person's first."""
    detector = ObjectDetector(settings.model, settings.revision, settings.sha256, job.runtime)
    found: dict[str, list[Box]] = {}
    failed: dict[str, str] = {}
    for key, path, excerpt in videos.files():
        try:
            with open_video(job.root / path, frames=excerpt) as video:
                boxes = look(video, detector, settings)
        except VideoError as error:
            failed[key] = str(error)
            continue
        if boxes:
            found[key] = boxes
        else:
            failed[key] = "nothing was detected in it"
    return found, failed, person_first(detector.classes)


def person_first(classes: Iterable[str]) -> list[str]:
    return ["person", *sorted(set(classes) - {"person"})]
