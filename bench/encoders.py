"""Throughput of encoders through the pipeline, as a share of the bare network's on prepared tensors.

The pipeline's way is the stage's: videos or clips are read from files, copied, preprocessed, encoded and written.
Weights are random, because they do not change the speed. The goal on a GPU is a share of at least 90 %. On a CPU that
others use too, compare the seconds of CPU time instead of those of the clock.

python bench/encoders.py --role backbone                    # a small network; a minute on one core
python bench/encoders.py --role pose --boxes detected
python bench/encoders.py --role dual_encoder --size base --device cuda --items 2000 --batch 64
python bench/encoders.py --role backbone --kind all --rows  # all architectures, each a row of a table
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402

from bench.shapes import CLIP_FRAMES, MAKERS, SIDE, SIZES, checkpoint  # noqa: E402
from bench.shapes import detector as random_detector  # noqa: E402
from pipeline.backbone.encoders import encode, load_backbone  # noqa: E402
from pipeline.context.encoders import load_dual_encoder  # noqa: E402
from pipeline.data.isolated import Decoder  # noqa: E402
from pipeline.demo.videos import write_video  # noqa: E402
from pipeline.encoding.batches import Stopwatch  # noqa: E402
from pipeline.encoding.encoder import Encoder  # noqa: E402
from pipeline.encoding.hardware import device as device_of  # noqa: E402
from pipeline.encoding.hardware import precision  # noqa: E402
from pipeline.encoding.pixels import evenly  # noqa: E402
from pipeline.jobs.runtime import Runtime  # noqa: E402
from pipeline.motion.pose import load_estimator  # noqa: E402
from pipeline.motion.pose.detector import PersonDetector  # noqa: E402
from pipeline.motion.pose.estimate import Estimation  # noqa: E402
from pipeline.motion.settings import Poses  # noqa: E402
from pipeline.store.arrays import Arrays, write_arrays  # noqa: E402


def clips_file(folder: Path, n: int) -> Path:
    """An artifact like those of the stage `decode`; made once for all architectures."""
    if (folder / "clips.zarr.zip").exists():
        return folder / "clips.zarr.zip"
    frames = np.random.default_rng(0).integers(0, 256, (n, CLIP_FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    write_arrays(folder / "clips.zarr.zip", {"frames": frames}, {"video_id": [str(k) for k in range(n)]}, {})
    return folder / "clips.zarr.zip"


def some_clips(path: Path, n: int) -> np.ndarray:
    with Arrays(path) as clips:
        return clips.part("frames", slice(0, n))


def video_files(folder: Path, n: int, n_frames: int) -> list[tuple[str, Path]]:
    """Short videos, 320 × 240, as those of UCF-101."""
    rng = np.random.default_rng(0)
    for k in range(n):
        base = np.repeat(np.repeat(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), 10, 0), 10, 1)
        write_video(folder / f"{k}.mp4", np.stack([np.roll(base, t, 1) for t in range(n_frames)]))
    return [(str(k), folder / f"{k}.mp4") for k in range(n)]


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def now() -> np.ndarray:
    """Seconds of the clock, and of this process's CPU time."""
    return np.array([time.perf_counter(), time.process_time()])


def bare_seconds(encoder: Encoder, run, rows: torch.Tensor, n: int, repeats: int = 2) -> np.ndarray:
    """Seconds (`now`) of the network alone for ``n`` rows, in batches of prepared tensors; the best of some runs."""
    times = []
    with torch.inference_mode(), encoder.autocast():
        run(rows)
        for _ in range(repeats):
            synchronise()
            start = now()
            for first in range(0, n, len(rows)):
                run(rows[: min(len(rows), n - first)])
            synchronise()
            times.append(now() - start)
    return np.min(times, 0)


def runtime_of(call: argparse.Namespace) -> Runtime:
    return Runtime(device=call.device, precision=call.precision)


def backbone(folder: Path, call: argparse.Namespace) -> tuple[int, str, np.ndarray, np.ndarray, Stopwatch]:
    name = checkpoint("backbone", call.kind, call.size, folder / call.kind)
    network = load_backbone(name, runtime=runtime_of(call))
    path = clips_file(folder, call.items)
    watch, start = Stopwatch(), now()
    with Arrays(path) as clips:
        features = encode(network, clips.blocks("frames"), call.batch, watch=watch)
    with watch("writing"):
        write_arrays(folder / "features.zarr.zip", {"features": features}, {}, {})
    took = now() - start
    pixels = network.pixels(some_clips(path, call.batch))
    return call.items, "clips", bare_seconds(network, network.features, pixels, call.items), took, watch


def dual_encoder(folder: Path, call: argparse.Namespace) -> tuple[int, str, np.ndarray, np.ndarray, Stopwatch]:
    name = checkpoint("dual_encoder", call.kind, call.size, folder / call.kind)
    encoder = load_dual_encoder(name, runtime=runtime_of(call))
    path = clips_file(folder, call.items)
    watch, start = Stopwatch(), now()
    with Arrays(path) as clips:
        embeddings = encoder.videos(clips.blocks("frames"), 8, 8 * call.batch, watch)
    with watch("writing"):
        write_arrays(folder / "embeddings.zarr.zip", {"embeddings": embeddings}, {}, {})
    took = now() - start
    taken = evenly(CLIP_FRAMES, encoder.frames_taken(CLIP_FRAMES, 8))
    pixels = encoder.pixels(torch.from_numpy(some_clips(path, call.batch)[:, taken]).to(encoder.device))
    return call.items, "clips", bare_seconds(encoder, encoder.embed, pixels, call.items), took, watch


def pose(folder: Path, call: argparse.Namespace) -> tuple[int, str, np.ndarray, np.ndarray, Stopwatch]:
    name = checkpoint("pose", call.kind, call.size, folder / call.kind)
    estimator = load_estimator(name, runtime=runtime_of(call))
    settings = Poses(boxes=call.boxes, min_person_confidence=0, max_gap=0, min_box_score=0.1)
    detector = None
    if call.boxes == "detected":
        side = 128 if call.size == "tiny" else 640
        detector = PersonDetector(random_detector(folder / "detector", side), runtime=runtime_of(call))
    videos = video_files(folder, call.items, call.frames)
    watch, start = Stopwatch(), now()
    estimation = Estimation(estimator, settings, call.batch, detector, watch=watch)
    with contextlib.ExitStack() as stack:
        decoders = [stack.enter_context(Decoder()) for _ in range(call.decoders)]
        done = dict(estimation.run(videos, [decoder.open for decoder in decoders]))
    arrays = [item["keypoints"] for item in done.values() if isinstance(item, dict)]
    if len(arrays) < len(videos):
        raise SystemExit(f"{len(videos) - len(arrays)} videos failed: {next(iter(done.values()))}")
    with watch("writing"):
        write_arrays(folder / "poses.zarr.zip", {"keypoints": np.concatenate(arrays)}, {}, {})
    took = now() - start
    posed = int(sum(np.isfinite(points[:, 0, 0]).sum() for points in arrays))
    frames = torch.zeros(call.batch, 240, 320, 3, dtype=torch.uint8)
    crops = torch.randn_like(estimator.cut(frames, torch.tensor([[160.0, 120, 180, 240]] * call.batch)))
    bare = bare_seconds(estimator, estimator.model, crops, posed)
    if call.boxes == "refined":
        bare *= 2
    if detector:
        pictures = torch.rand(call.batch, 3, side, side, device=estimator.device)
        bare += bare_seconds(detector, detector, pictures, call.items * call.frames)
    return call.items * call.frames, "frames", bare, took, watch


def hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.processor())}, {torch.get_num_threads()} thread(s) of {os.cpu_count()}, no GPU"


ROLES = {"backbone": backbone, "dual_encoder": dual_encoder, "pose": pose}


def report(call: argparse.Namespace, n: int, unit: str, bare: np.ndarray, took: np.ndarray, watch: Stopwatch) -> None:
    device = device_of(runtime_of(call))
    dtype = str(precision(device, runtime_of(call))).removeprefix("torch.")
    share = f"{bare[0] / took[0]:8.1%}"
    if call.rows:
        what = f"{call.role}: {call.kind}" + (f", {call.boxes}" if call.role == "pose" else "")
        speed = f"{n / bare[0]:.1f} | {n / took[0]:.1f} {unit}/s"
        print(f"| {what} | {speed} | {share.strip()} ({bare[1] / took[1]:.0%} of CPU time), {dtype} |", flush=True)
        return
    print(f"{call.role}, {call.kind} of size {call.size}, batches of {call.batch}, {dtype}")
    print(f"on {hardware(device)}")
    print(f"bare network     {n / bare[0]:8.2f} {unit}/s ({bare[0]:.2f} s, CPU time {bare[1]:.2f} s)")
    print(f"through pipeline {n / took[0]:8.2f} {unit}/s ({took[0]:.2f} s, CPU time {took[1]:.2f} s: {watch.words()})")
    print(f"share            {share} of the bare throughput; of CPU time {bare[1] / took[1]:.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--role", choices=ROLES, required=True)
    kinds = sorted({kind for makers in MAKERS.values() for kind in makers})
    parser.add_argument("--kind", choices=("all", *kinds), help="architecture; by default the role's usual one")
    parser.add_argument("--size", choices=SIZES, default="small", help="of those that are transformers")
    parser.add_argument("--items", type=int, help="clips, or videos")
    parser.add_argument("--frames", type=int, default=60, help="of each video")
    parser.add_argument("--batch", type=int, help="clips or crops at once")
    parser.add_argument("--boxes", choices=("whole_frame", "refined", "detected"), default="whole_frame")
    parser.add_argument("--decoders", type=int, default=1, help="processes that read videos; on a GPU a job's cores")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--rows", action="store_true", help="print rows of a table; a failure is one, too")
    call = parser.parse_args()
    call.items = call.items or {"backbone": 6, "dual_encoder": 12, "pose": 2}[call.role]
    call.batch = call.batch or {"backbone": 2, "dual_encoder": 4, "pose": 16}[call.role]
    known = list(MAKERS[call.role])
    if call.kind not in (None, "all", *known):
        parser.error(f"{call.role} has {', '.join(known)}")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for kind in known if call.kind == "all" else [call.kind or known[0]]:
            call.kind = kind
            try:
                report(call, *ROLES[call.role](Path(folder), call))
            except Exception as error:
                if not call.rows:
                    raise
                failed = True
                words = str(error).strip().splitlines() or [type(error).__name__]
                print(f"| {call.role}: {kind} | | | failed: {words[0][:120]} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
