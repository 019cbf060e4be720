"""Throughput of fine-tuning, as a share of the bare forward and backward pass on prepared tensors.

The difference is reading clips, cropping, RandAugment, colour jitter, drop path and the optimizer. Each of the three
costs is also timed alone.

python bench/finetune.py                              # the demo's small VideoMAE, about a minute on one core
python bench/finetune.py --network base --micro-batch 2 --batch 4 --steps 1      # VideoMAE-B/16, random weights
python bench/finetune.py --network base --micro-batch 10 --batch 40 --steps 10 --device cuda
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from pipeline.backbone.finetuning import recipe  # noqa: E402
from pipeline.backbone.finetuning.augment import augment, draw_view  # noqa: E402
from pipeline.backbone.finetuning.loop import FRAMES, Plan, Training  # noqa: E402
from pipeline.backbone.settings import Finetune  # noqa: E402
from pipeline.encoding.batches import ahead  # noqa: E402
from pipeline.encoding.hardware import autocast  # noqa: E402
from pipeline.jobs.runtime import Runtime  # noqa: E402

DEMO = "pipeline/demo/encoders/backbone"
N_CLASSES = 10


def random_videomae_b16(folder: Path) -> str:
    """A VideoMAE-B/16 with random weights."""
    torch.manual_seed(0)
    transformers.VideoMAEModel(transformers.VideoMAEConfig()).save_pretrained(folder)
    transformers.VideoMAEImageProcessor().save_pretrained(folder)
    return str(folder)


def prepare(folder: Path, arguments: argparse.Namespace, n_clips: int) -> Training:
    model = DEMO if arguments.network == "demo" else random_videomae_b16(folder / "model")
    side = 112 if arguments.network == "demo" else 224
    clips = np.random.default_rng(0).integers(0, 256, (n_clips, 16, side, side, 3), dtype=np.uint8)
    np.save(folder / FRAMES, clips)
    labels = np.arange(n_clips) % N_CLASSES
    splits = {
        "train": {"rows": list(range(n_clips)), "labels": labels.tolist()},
        "val": {"rows": [0], "labels": [0]},
    }
    settings = Finetune(batch_size=arguments.batch, precision=arguments.precision)
    threads = torch.get_num_threads()
    names = [str(number) for number in range(N_CLASSES)]
    runtime = Runtime(device=arguments.device)
    Plan("bench", model, "main", settings, names, splits, "uniform", arguments.micro_batch, threads, runtime).save(
        folder
    )
    return Training(folder)


def seconds(device: torch.device, work: Callable[[], object]) -> float:
    """Of one run, after another one that warms up."""
    work()
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", choices=("demo", "base"), default="demo")
    parser.add_argument("--batch", type=int, default=16, help="clips per step")
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    n_clips = arguments.batch * arguments.steps
    with tempfile.TemporaryDirectory() as folder:
        training = prepare(Path(folder), arguments, n_clips)
        training.model.train()
        device = training.device
        parts = [
            recipe.share(np.arange(step * arguments.batch, (step + 1) * arguments.batch), 0, 1, arguments.micro_batch)
            for step in range(arguments.steps)
        ]
        flat = [part for share in parts for part in share]
        size = training.size

        def whole() -> None:
            batches = ahead(map(training.read, flat))
            for share in parts:
                training.step(batches, len(share))

        pixels = torch.zeros(arguments.micro_batch, 16, 3, size, size, device=device)
        labels = torch.zeros(arguments.micro_batch, dtype=torch.long, device=device)

        def bare() -> None:
            training.drop_path.set(None)
            for _ in range(n_clips // arguments.micro_batch):
                with autocast(training.device, training.dtype):
                    logits = training.model(pixels).logits
                torch.nn.functional.cross_entropy(logits.float(), labels).backward()
            training.optimizer.zero_grad(set_to_none=True)

        def prepared() -> None:
            for batch in ahead(map(training.read, flat)):
                views = [
                    draw_view(training.settings, *batch.frames.shape[2:4], recipe.random_of(0, 0, int(row)))
                    for row in batch.rows
                ]
                training.standardise(augment(batch.frames, views, size, training.fill))

        rows = {
            "fine-tuning": seconds(device, whole),
            "bare forward and backward": seconds(device, bare),
            "reading and augmentation alone": seconds(device, prepared),
        }
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
        precision = str(training.dtype).removeprefix("torch.")
        print(
            f"{arguments.network}, {name}, {precision}, batch {arguments.batch} in micro-batches of "
            f"{arguments.micro_batch}, {n_clips} clips"
        )
        for title, took in rows.items():
            print(f"{title:<32}{n_clips / took:10.2f} clips/s")
        bare_seconds, whole_seconds = rows["bare forward and backward"], rows["fine-tuning"]
        print(f"share of the bare pass          {bare_seconds / whole_seconds:10.1%}")


if __name__ == "__main__":
    main()
