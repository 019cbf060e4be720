"""What the networks of all roles have in common once they are loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch

from pipeline.encoding import hardware
from pipeline.encoding.batches import Rows, Stopwatch, encode_rows
from pipeline.encoding.checkpoints import weights_digest
from pipeline.jobs import stage
from pipeline.jobs.runtime import Runtime


class Encoder:
    """A network on the device of a run and in its precision."""

    def __init__(self, model: torch.nn.Module, runtime: Runtime):
        self.model, self.runtime = model, runtime

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What its matrices are multiplied in."""
        return hardware.precision(self.device, self.runtime)

    def autocast(self) -> contextlib.AbstractContextManager:
        return hardware.autocast(self.device, self.dtype)

    def rows(
        self,
        source: Rows,
        run: Callable[[torch.Tensor], torch.Tensor],
        size: int,
        what: str,
        watch: Stopwatch | None,
        empty: np.ndarray,
    ) -> np.ndarray:
        """`pipeline.encoding.batches.encode_rows` with this network; ``empty`` is the result of no rows."""
        found = encode_rows(source, run, size, self.device, what, watch, self.dtype)
        return empty if found is None else found

    def record(self, name: str, revision: str) -> dict[str, str]:
        """What the provenance of its results says of it.

        Args:
            name, revision: of the checkpoint that it was loaded from.
        """
        return {
            "weights": weights_digest(name, revision),
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
        }


def write_clips(
    job: stage.Job,
    output: str,
    array: str,
    encoder: Encoder,
    checkpoint: tuple[str, str],
    encode: Callable[[Iterator[np.ndarray], Stopwatch], np.ndarray],
) -> None:
    """What an encoder makes of the clips of a shard, as the artifact ``output`` with one array.

    Args:
        checkpoint: name and revision that the encoder was loaded from.
        encode: blocks of clips uint8 ``[b, T, H, W, 3]`` as they are read → a row for each of the n clips.
    """
    watch = Stopwatch()
    with job.open_arrays("clips") as clips:
        rows = encode(clips.blocks("frames"), watch)
        described = clips.attributes
    stage.logger.info("%s: %s", output, watch.words())
    job.write_arrays(
        output,
        {array: rows},
        {"video_id": described["video_id"]},
        n_ok=len(rows),
        failed={item["video_id"]: item["reason"] for item in described["failed"]},
        **encoder.record(*checkpoint),
    )
