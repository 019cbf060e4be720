"""Stage `features`: the video-level feature of every clip."""

from __future__ import annotations

from pipeline import stage
from pipeline.config import Features
from pipeline.data.table import read_index


def build(job: stage.Job) -> None:
    """Write the features of one shard, computed or imported."""
    settings = Features.model_validate(job.settings)
    if settings.source == "tensor":
        from pipeline.backbone.tensors import rows_for
        from pipeline.data.table import listed_ids

        videos = read_index(job)
        ids = videos.video_id.tolist()
        matrix = rows_for(job, settings.path, listed_ids(job), ids, "features")
        job.write_arrays("features", {"features": matrix}, {"video_id": ids}, n_ok=len(ids))
        return

    from pipeline import checkpoints
    from pipeline.backbone.encoders import encode, load_backbone
    from pipeline.backbone.finetuning.tuned import tuned_backbone

    ((arrays, described),) = job.read_arrays("clips")
    model, revision = tuned_backbone(job) or (settings.model, settings.revision)
    backbone = load_backbone(model, revision)
    job.write_arrays(
        "features",
        {"features": encode(backbone, arrays["frames"], checkpoints.batch_size("features", 4))},
        {"video_id": described["video_id"]},
        n_ok=len(described["video_id"]),
        failed={item["video_id"]: item["reason"] for item in described["failed"]},
        weights=checkpoints.weights_digest(model, revision),
        device=str(backbone.device),
        dtype="float32",
    )


if __name__ == "__main__":
    stage.run("features", build)
