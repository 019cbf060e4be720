"""Stage `prompts`: frames with a red circle around each place of a grid, embedded by the dual encoder (SALF-CBM 3.2).

What is stored are the embeddings of the circled places, never their similarities to concepts: these are one product
away, so a changed list of concepts encodes no picture again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from pipeline.context.encoders import DualEncoder, load_dual_encoder
from pipeline.context.settings import Prompts
from pipeline.data.table import read_videos
from pipeline.encoding.batches import Rows, Shrinking, Stopwatch
from pipeline.encoding.grid import REFERENCE_SIZE, positions
from pipeline.encoding.hardware import batch_size
from pipeline.encoding.pixels import normalise_pixels
from pipeline.jobs import stage

RED = (255, 0, 0)


def ring_masks(size: int, centres: np.ndarray, radius: float, line_width: int) -> np.ndarray:
    """The pixels of each circle, as PIL draws it; drawn once, because they are the same for every picture.

    Args:
        size: side of the picture in pixels.
        centres: ``[p, 2]`` as (x, y) in pixels; circles are cut by the border.
        radius: in pixels, to the outer edge of the line.

    Returns:
        bool ``[p, size, size]``.
    """
    masks = np.zeros((len(centres), size, size), bool)
    for mask, (x, y) in zip(masks, centres, strict=True):
        canvas = Image.new("1", (size, size))
        ImageDraw.Draw(canvas).ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, width=line_width)
        mask[:] = np.asarray(canvas)
    return masks


def grid_masks(size: int, settings: Prompts) -> np.ndarray:
    """Circles of a whole grid on a square picture, row by row: bool ``[rows * columns, size, size]``."""
    rows, columns = (positions(count, settings.placement, settings.radius) for count in settings.grid)
    x, y = np.meshgrid(columns, rows)
    centres = np.minimum(np.round(np.stack([x.ravel(), y.ravel()], 1) * size), size - 1)
    return ring_masks(size, centres, round(settings.radius * size / REFERENCE_SIZE), settings.line_width)


def prompt_frames(n_frames: int, count: int) -> np.ndarray:
    """Frames of a clip that are prompted: the middles of ``count`` equal parts, int64 ``[min(count, n_frames)]``."""
    count = min(count, n_frames)
    return ((2 * np.arange(count) + 1) * n_frames) // (2 * count)


def circled(pictures: torch.Tensor, masks: torch.Tensor, red: torch.Tensor) -> torch.Tensor:
    """Every picture with every circle.

    Args:
        pictures: ``[b, 3, H, W]``, standardised.
        masks: bool ``[p, H, W]``; red: ``[3]``, the colour after the same standardisation.

    Returns:
        ``[b, p, 3, H, W]``.
    """
    return torch.where(masks[None, :, None], red[:, None, None], pictures[:, None])


def prompted(blocks: Iterable[np.ndarray], wanted: np.ndarray, taken: np.ndarray) -> Iterator[np.ndarray]:
    """The pictures that get circles, out of clips as they are read.

    Args:
        blocks: clips ``[b, T, H, W, 3]``, of n in all.
        wanted: bool ``[n]``, which of them; taken: ``[K]``, which of their frames.

    Yields:
        ``[b' * K, H, W, 3]``.
    """
    start = 0
    for block in blocks:
        clips = block[wanted[start : start + len(block)]]
        start += len(block)
        yield clips[:, taken].reshape(-1, *block.shape[2:])


class PromptGrid:
    """The circles of one configuration on the encoder's device, and the encoder that sees them."""

    def __init__(self, encoder: DualEncoder, settings: Prompts):
        self.encoder = encoder
        self.masks = torch.from_numpy(grid_masks(encoder.size, settings)).to(encoder.device)
        red = torch.tensor(RED, dtype=torch.uint8, device=encoder.device)
        self.red = normalise_pixels(red[None, None], encoder.mean, encoder.std)[:, 0, 0]

    def pictures(self, frames: torch.Tensor) -> torch.Tensor:
        """Prompts of frames: uint8 ``[b, H, W, 3]`` → float32 ``[b, p, 3, size, size]``; each frame is resized once."""
        return circled(self.encoder.pixels(frames), self.masks, self.red)

    def embed(self, frames: Rows, batch_size: int, watch: Stopwatch | None = None) -> np.ndarray:
        """L2-normalised embeddings of every circled place.

        Args:
            frames: uint8 ``[n, H, W, 3]``, or blocks of them as they are read.
            batch_size: pictures that the encoder sees at once, at least one frame's.

        Returns:
            float16 ``[n, p, E]``.
        """
        n_places = len(self.masks)
        # A frame's prompts may be too many for the GPU's memory, above all where each becomes a clip that stands still.
        project = Shrinking(self.encoder.project, max(batch_size, n_places))

        def run(pictures: torch.Tensor) -> torch.Tensor:
            prompts = self.pictures(pictures).flatten(0, 1)
            rows = F.normalize(project(prompts).float(), dim=1)
            return rows.unflatten(0, (-1, n_places)).half()

        step = max(1, batch_size // n_places)
        empty = np.zeros((0, n_places, self.encoder.width), np.float16)
        return self.encoder.rows(frames, run, step, "prompts", watch, empty)


def build(job: stage.Job) -> None:
    """Write the region embeddings of one shard, ``[n, K, rows, columns, E]``, and which frames were prompted.

    Only videos that some experiment trains on or validates with are prompted: maps are learned from these, and nothing
    else reads the prompts.
    """
    settings = Prompts.model_validate(job.settings)
    videos = read_videos(job)
    learned_from = set(videos.video_id[videos.developed])
    encoder = load_dual_encoder(settings.model, settings.revision, settings.sha256, job.runtime)
    grid = PromptGrid(encoder, settings)
    watch = Stopwatch()
    with job.open_arrays("clips") as clips:
        described = clips.attributes
        wanted = np.array([video_id in learned_from for video_id in described["video_id"]], bool)
        n_frames = clips.describe("frames")["shape"][1]
        taken = prompt_frames(n_frames, settings.n_frames)
        pictures = prompted(clips.blocks("frames"), wanted, taken)
        regions = grid.embed(pictures, batch_size("prompts", job.runtime), watch)
    stage.logger.info("prompts: %s", watch.words())
    job.write_arrays(
        "prompts",
        {"regions": regions.reshape(wanted.sum(), len(taken), *settings.grid, encoder.width)},
        {
            "video_id": np.array(described["video_id"])[wanted].tolist(),
            "frames": taken.tolist(),
            "n_frames": n_frames,
        },
        n_ok=int(wanted.sum()),
        failed={item["video_id"]: item["reason"] for item in described["failed"] if item["video_id"] in learned_from},
        **encoder.record(settings.model, settings.revision),
    )


if __name__ == "__main__":
    stage.run("prompts", build)
