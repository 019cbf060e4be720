"""Stage `pcmci_tokens`: tokens of a video encoder, of clips over the whole of every video."""

from __future__ import annotations

from pipeline.encoding.hardware import batch_size
from pipeline.jobs import stage
from pipeline.methods.pcmci.look import clip_tokens, write_rows


def build(job: stage.Job) -> None:
    """Write ``tokens`` ``[n, L_v, D]`` and the ``times`` of their frames of one shard."""
    size = batch_size("features", job.runtime)
    clips, each = job.settings["tokens"]["n_clips"], job.settings["tokens"]["clip_frames"]
    write_rows(job, "tokens", clips * each, "backbone", lambda encoder, seen: clip_tokens(encoder, seen, each, size))


if __name__ == "__main__":
    stage.run("pcmci_tokens", build)
