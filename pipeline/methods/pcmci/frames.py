"""Stage `pcmci_frames`: rows of a frozen dual encoder, of frames over the whole of every video."""

from __future__ import annotations

from pipeline.encoding.hardware import batch_size
from pipeline.jobs import stage
from pipeline.methods.pcmci.look import frame_rows, write_rows


def build(job: stage.Job) -> None:
    """Write ``frames`` ``[n, L, E]`` and their ``times`` of one shard."""
    size = batch_size("dual_encoder", job.runtime)
    count = job.settings["frames"]["n_frames"]
    write_rows(job, "frames", count, "dual_encoder", lambda encoder, seen: frame_rows(encoder, seen, size))


if __name__ == "__main__":
    stage.run("pcmci_frames", build)
