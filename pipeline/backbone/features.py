"""Stage `features`: the video-level feature of every clip."""

from __future__ import annotations

import numpy as np

from pipeline import stage
from pipeline.config import Features
from pipeline.data.table import read_index


def encode(model, frames: np.ndarray, mean, std, batch_size: int, tokens: bool) -> dict[str, np.ndarray]:
    """Mean-pooled tokens of a VideoMAE (Tong et al. 2022).

    Args:
        frames: uint8 ``[n, T, H, W, 3]``.

    Returns:
        ``features`` float32 ``[n, D]`` and, if asked, ``tokens`` float16 ``[n, T / tubelet, h, w, D]``.

    Raises:
        StageError: clips have another number of frames than the network wants.
    """
    import torch

    from pipeline.checkpoints import normalise_pixels, resize

    config = model.config
    if frames.shape[1] != config.num_frames:
        raise stage.StageError(
            f"the backbone wants {config.num_frames} frames, the clips have {frames.shape[1]}; set data.decode.n_frames"
        )
    side = config.image_size // config.patch_size
    grid = (config.num_frames // config.tubelet_size, side, side, config.hidden_size)
    pooled, kept = [], []
    for start in stage.progress(range(0, len(frames), batch_size), "features", unit="batch"):
        batch = torch.from_numpy(frames[start : start + batch_size]).to(model.device)
        pixels = normalise_pixels(batch, mean, std)  # [b, T, 3, H, W]
        pixels = resize(pixels.flatten(0, 1), config.image_size).unflatten(0, pixels.shape[:2])
        with torch.inference_mode():
            hidden = model(pixels).last_hidden_state  # [b, tokens, D]
        pooled.append(hidden.mean(1).float().cpu().numpy())
        if tokens:
            kept.append(hidden.half().cpu().numpy().reshape(-1, *grid))
    result = {"features": np.concatenate(pooled) if pooled else np.zeros((0, config.hidden_size), np.float32)}
    if tokens:
        result["tokens"] = np.concatenate(kept) if kept else np.zeros((0, *grid), np.float16)
    return result


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

    from transformers import VideoMAEModel

    from pipeline import checkpoints

    ((arrays, described),) = job.read_arrays("clips")
    processor = checkpoints.processor_settings(settings.model, settings.revision)
    model = checkpoints.load_model(VideoMAEModel, settings.model, settings.revision)
    size = checkpoints.batch_size("features", 4)
    result = encode(model, arrays["frames"], processor["image_mean"], processor["image_std"], size, settings.tokens)
    failed = {item["video_id"]: item["reason"] for item in described["failed"]}
    ids = described["video_id"]
    job.write_arrays(
        "features",
        result,
        {"video_id": ids},
        n_ok=len(ids),
        failed=failed,
        weights=checkpoints.weights_digest(settings.model, settings.revision),
        device=str(model.device),
        dtype="float32",
    )


if __name__ == "__main__":
    stage.run("features", build)
