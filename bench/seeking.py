"""Frames over the whole of a long film: by seeking, and in one pass; CPU seconds and memory of both.

    python -m bench.seeking --minutes 30 --gop 250

Writes a film in H.264 with moving pictures first (a key frame every so many frames), or reads the one that is named.
Each way runs in a process of its own. `rule` says which one the pipeline takes for this film.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

from pipeline.data.decode import keep_frames
from pipeline.data.readers import open_video, resize_and_crop, sample_indices
from pipeline.data.seeking import decoded, is_cheaper, sought
from pipeline.data.settings import Decode

FRAMES, SIZE, RATE = 64, 224, 25


def write_film(path: Path, minutes: float, gop: int, width: int = 160, height: int = 120) -> None:
    """A bright square that wanders over a texture that drifts."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": str(gop), "preset": "ultrafast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        picture = np.full((height * 3 // 2, width), 128, np.uint8)
        ground = np.random.default_rng(0).integers(40, 200, (height, 4 * width), np.uint8)
        for number in range(round(minutes * 60 * RATE)):
            left = number // 2 % (3 * width)
            picture[:height] = ground[:, left : left + width]
            left, top = number * 3 % (width - 32), number * 2 % (height - 32)
            picture[top : top + 32, left : left + 32] = 235
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def one_way(path: Path, way: str) -> np.ndarray:
    """The frames ``[FRAMES, SIZE, SIZE, 3]``."""
    with open_video(path) as video:
        wanted = sample_indices(video.n_frames, FRAMES)
        if way == "seeking":
            frames = [resize_and_crop(frame[None], SIZE)[0] for frame in sought(path, video._probe, wanted.tolist())]
            return np.stack(frames)
        _, kept, _ = keep_frames(video, Decode(size=SIZE), lambda count: wanted)
        return np.stack([kept[int(index)] for index in wanted])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--gop", type=int, default=250, help="frames from one key frame to the next")
    parser.add_argument("--film", type=Path, help="instead of writing one")
    parser.add_argument("--way", choices=["seeking", "one pass"], help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    call = parser.parse_args()
    if call.way:
        started = resource.getrusage(resource.RUSAGE_SELF)
        np.save(call.to, one_way(call.film, call.way))
        ended = resource.getrusage(resource.RUSAGE_SELF)
        seconds = ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime
        print(json.dumps({"seconds": seconds, "megabytes": ended.ru_maxrss / 1024}))
        return
    with tempfile.TemporaryDirectory() as folder:
        film = call.film or Path(folder) / "film.mp4"
        if not call.film:
            write_film(film, call.minutes, call.gop)
        with open_video(film) as video:
            wanted = sample_indices(video.n_frames, FRAMES).tolist()
            print(f"{video.n_frames} frames, {video.timestamps[-1] / 60:.1f} min, {film.stat().st_size / 1e6:.0f} MB")
            probe = video._probe
        for way in ("one pass", "seeking"):
            command = [
                sys.executable,
                "-m",
                "bench.seeking",
                "--film",
                film,
                "--way",
                way,
                "--to",
                f"{folder}/{way}.npy",
            ]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"{way:<9} {found['seconds']:6.1f} CPU s, {found['megabytes']:.0f} MB resident")
        first, second = (np.load(f"{folder}/{way}.npy").astype(int) for way in ("one pass", "seeking"))
        print(f"pixels differ by {np.abs(first - second).max()} of 255 at most")
        worth = decoded(probe.keys, wanted)
        print(f"rule      {'seeking' if is_cheaper(probe, wanted) else 'one pass'}: {worth} of {wanted[-1] + 1} frames")


if __name__ == "__main__":
    main()
