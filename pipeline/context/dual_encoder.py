"""Stage `dual_encoder`: the video embedding of every clip, E_V of DANCE eq. 3."""

from __future__ import annotations

from pipeline.context.settings import DualEncoder as Settings
from pipeline.data.table import read_videos
from pipeline.jobs import stage


def build(job: stage.Job) -> None:
    """Write L2-normalised video embeddings of one shard, computed or imported."""
    settings = Settings.model_validate(job.settings)
    if settings.source == "tensor":
        import numpy as np

        from pipeline.data.table import listed_ids
        from pipeline.exchange.tensors import rows_for

        wanted = read_videos(job).video_id.tolist()
        ids, matrix, failed = rows_for(job, settings.path, listed_ids(job), wanted, "dual_encoder", settings.array)
        norms = np.linalg.norm(matrix, axis=1, keepdims=True)
        if not (norms > 0).all():
            raise stage.StageError("dual_encoder: an imported embedding is all zeros")
        job.write_arrays(
            "dual_encoder", {"embeddings": matrix / norms}, {"video_id": ids}, n_ok=len(ids), failed=failed
        )
        return

    from pipeline.context.encoders import load_dual_encoder
    from pipeline.encoding.encoder import write_clips
    from pipeline.encoding.hardware import batch_size

    named = settings.model, settings.revision
    encoder = load_dual_encoder(*named, settings.sha256, job.runtime)
    size = batch_size("dual_encoder", job.runtime)
    write_clips(
        job,
        "dual_encoder",
        "embeddings",
        encoder,
        named,
        lambda clips, watch: encoder.videos(clips, settings.n_frames, size, watch),
    )


if __name__ == "__main__":
    stage.run("dual_encoder", build)
