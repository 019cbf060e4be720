"""How long decoding a data set takes and how big its clips become, from the few real videos of it at hand.

python bench/datasets.py DATA              # one core; scaled to the published number of videos
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402

from pipeline.config import load  # noqa: E402
from pipeline.data.decode import decode_video  # noqa: E402
from pipeline.data.readers import open_video  # noqa: E402
from pipeline.data.settings import Decode  # noqa: E402
from pipeline.store.arrays import write_arrays  # noqa: E402
from pipeline.store.code import PROJECT  # noqa: E402

# Videos per set, and how many excerpts the authors cut from one file.
VIDEOS = {"ucf101": 13320, "kth": 2391, "weizmann": 93}
EXCERPTS = {"kth": 4}


def excerpts(path: Path, parts: int) -> list[tuple[int, int] | None]:
    """Equal parts of a film as (first frame, end), or None for the whole."""
    if parts == 1:
        return [None]
    with open_video(path) as video:
        edges = np.linspace(0, video.n_frames, parts + 1).astype(int).tolist()
    return list(itertools.pairwise(edges))


def measure(files: list[Path], settings: Decode, parts: int) -> tuple[int, float, float, float]:
    """Videos decoded, seconds and MB per video, MB of the source per video."""
    started = time.perf_counter()
    done = [
        decode_video(path, settings, lambda place, backend, frames=frames: open_video(place, backend, frames=frames))
        for path in files
        for frames in excerpts(path, parts)
    ]
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "clips.zarr.zip")
        write_arrays(place, {"frames": np.stack([item["frames"] for item in done])}, {}, {})
        size = place.stat().st_size / 1e6
    source = sum(path.stat().st_size for path in files) / 1e6
    return len(done), seconds / len(done), size / len(done), source / len(done)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path, help="folder above the data sets")
    arguments.add_argument("--videos", type=int, default=12, help="files of each set, at most")
    call = arguments.parse_args()
    config = load(PROJECT / "config.yaml")
    print("set        decoded  s/video  MB/video  source MB/video  videos  hours on a core  GB of clips")
    for name, count in VIDEOS.items():
        folder = call.data / name
        files = sorted([*folder.rglob("*.avi"), *folder.rglob("*.mp4")])
        files = files[:: max(1, len(files) // call.videos)][: call.videos]
        if not files:
            print(f"{name:<10} no video below {folder}")
            continue
        settings = config.datasets[name].data.decode.model_copy(update={"size": 224})
        decoded, seconds, size, source = measure(files, settings, EXCERPTS.get(name, 1))
        print(
            f"{name:<10} {decoded:>7}  {seconds:>7.3f}  {size:>8.2f}  {source:>15.2f}  {count:>6,}  "
            f"{seconds * count / 3600:>15.2f}  {size * count / 1000:>11.1f}"
        )


if __name__ == "__main__":
    main()
