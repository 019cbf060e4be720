"""Stage `features`: the video-level feature of every clip."""

from __future__ import annotations

from typing import Any

from pipeline.backbone.settings import Features
from pipeline.data.table import read_videos
from pipeline.jobs import stage


def warnings_of(name: str, config: dict[str, Any]) -> list[str]:
    """What a person must know of a backbone that is not tuned: it may never have been told what a video shows.

    Args:
        config: of its config.json.
    """
    if config.get("architectures") != ["VideoMAEForPreTraining"]:
        return []
    return [
        f"`{name}` was pre-trained without labels and is not fine-tuned here, so that accuracy stays far below what is "
        f"published: set backbone.finetune.enabled, or name a checkpoint that was, as the default is (docs/encoders.md)"
    ]


def build(job: stage.Job) -> None:
    """Write the features of one shard, computed or imported."""
    settings = Features.model_validate(job.settings)
    if settings.source == "tensor":
        from pipeline.data.table import listed_ids
        from pipeline.exchange.tensors import rows_for

        wanted = read_videos(job).video_id.tolist()
        ids, matrix, failed = rows_for(job, settings.path, listed_ids(job), wanted, "features", settings.array)
        job.write_arrays("features", {"features": matrix}, {"video_id": ids}, n_ok=len(ids), failed=failed)
        return

    from pipeline.backbone.encoders import encode, load_backbone
    from pipeline.backbone.finetuning.tuned import tuned_backbone
    from pipeline.encoding.checkpoints import config_of
    from pipeline.encoding.encoder import write_clips
    from pipeline.encoding.hardware import batch_size

    tuned = tuned_backbone(job)
    named = tuned or (settings.model, settings.revision)
    for sentence in warnings_of(settings.model, config_of(*named)) if tuned is None else ():
        job.warn(sentence)
    # What the configuration pins are the weights that the tuning began with.
    backbone = load_backbone(*named, sha256="" if tuned else settings.sha256, runtime=job.runtime)
    size = batch_size("features", job.runtime)
    write_clips(
        job, "features", "features", backbone, named, lambda clips, watch: encode(backbone, clips, size, watch=watch)
    )


if __name__ == "__main__":
    stage.run("features", build)
