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
    from pipeline.encoding.batches import Stopwatch
    from pipeline.encoding.hardware import batch_size

    encoder = load_dual_encoder(settings.model, settings.revision, settings.sha256, job.runtime)
    watch = Stopwatch()
    size = batch_size("dual_encoder", job.runtime)
    with job.open_arrays("clips") as clips:
        embeddings = encoder.videos(clips.blocks("frames"), settings.n_frames, size, watch)
        described = clips.attributes
    stage.logger.info("dual_encoder: %s", watch.words())
    job.write_arrays(
        "dual_encoder",
        {"embeddings": embeddings},
        {"video_id": described["video_id"]},
        n_ok=len(embeddings),
        failed={item["video_id"]: item["reason"] for item in described["failed"]},
        **encoder.record(settings.model, settings.revision),
    )


if __name__ == "__main__":
    stage.run("dual_encoder", build)
