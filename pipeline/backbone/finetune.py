"""Stage `finetune`: the backbone, tuned on the classes of the train split; validation chooses the epoch."""

from __future__ import annotations

import shutil

import pyarrow as pa

from pipeline.backbone.finetuning import checkpoint, clips
from pipeline.backbone.finetuning.loop import FRAMES, VIEWS, Plan
from pipeline.backbone.finetuning.network import build_classifier, save_checkpoint
from pipeline.backbone.finetuning.worker import launch
from pipeline.backbone.settings import Finetune
from pipeline.data.table import read_index
from pipeline.encoding import checkpoints
from pipeline.encoding.hardware import batch_size
from pipeline.jobs import stage
from pipeline.store.code import code_digest
from pipeline.store.provenance import digest_of


def build(job: stage.Job) -> None:
    """Write the tuned backbone and the curve of its training."""
    settings = dict(job.settings)
    model, revision, sha256 = (settings.pop(name) for name in ("model", "revision", "sha256"))
    sampling = settings.pop("sampling")
    checkpoints.check_digest(model, revision, sha256)
    target = job.outputs["finetuned"].parent
    # Hidden: it belongs to no finished result, and stays where a job was killed so that the next one goes on.
    work = target.with_name(".finetune")
    work.mkdir(parents=True, exist_ok=True)
    videos = read_index(job)
    splits, digests = clips.gather(job, videos, work / FRAMES, work / VIEWS)
    processes = job.runtime.finetune_processes
    decisive = {
        "settings": job.settings,
        "splits": splits,
        "clips": digests,
        "weights": checkpoints.weights_digest(model, revision),
        "code": code_digest(job.module),
    }
    plan = Plan(
        digest_of(decisive),
        model,
        revision,
        Finetune.model_validate(settings),
        videos.class_names,
        splits,
        sampling,
        batch_size("finetune", job.runtime),
        max(1, job.threads // processes),
        job.runtime,
    )
    plan.save(work)
    launch(work, processes, stage.logger.info)

    progress = checkpoint.read_progress(work, plan.digest)
    _, network, _ = build_classifier(model, revision, plan.class_names, plan.settings.seed, job.runtime)
    checkpoint.load_weights(work, progress.best, network)
    save_checkpoint(network, model, revision, target)
    rows = [{**row, "chosen": row["epoch"] == progress.best} for row in progress.curve]
    job.write_table(
        "finetune",
        pa.Table.from_pylist(rows),
        {"weights": checkpoints.weights_digest(str(target)), "class_names": videos.class_names},
        device=str(network.device),
        processes=processes,
    )
    shutil.rmtree(work)


if __name__ == "__main__":
    stage.run("finetune", build)
