"""Speed of Syn-TA's renderer, and whether it makes the same bytes without AVX: ``python -m bench.synta [--bytes]``.

Printed are frames per CPU second at 112 pixels of one body and of four, on the ground and before the wall, with and
without writing them as H.264; every frame has its bodies in other places, so that nothing is cast once for many. With
``--shard`` the first shard of the full set is made and timed, and the whole extrapolated.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.demo.settings import Synta
from pipeline.demo.synta.classes import Clip
from pipeline.demo.synta.clips import render
from pipeline.demo.videos import write_video

# A class whose bodies all move, for each number of them.
MOVING = {1: ("rising", 1), 4: ("merging", 4)}
SAMPLE = [
    *(("appearing", 4), ("arriving", 3), ("bouncing", 2), ("changing color", 1), ("changing shape", 2), ("cloning", 3)),
    *(("expanding", 4), ("following", 4), ("merging", 3), ("occlusion", 3), ("orbiting", 5), ("rising", 2)),
]
WITHOUT_AVX = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-FMA,-FMA4,-AVX_Usable,-AVX2_Usable,-FMA_Usable",
}


def speed(bodies: int, view: str, size: int, written: bool, clips: int = 6) -> float:
    """Frames per CPU second."""
    settings = Synta(size=size, frames=(32, 32), distance=19)
    coarse, n = MOVING[bodies]
    render(settings, Clip(coarse, n, 1, view))
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        for number in range(clips):
            frames = render(settings, Clip(coarse, n, number + 1, view)).frames
            if written:
                write_video(Path(folder, "clip.mp4"), frames, 24)
        return 32 * clips / (time.process_time() - start)


def digests() -> list[str]:
    """Of frames, ids and the H.264 file of each clip of the sample."""
    settings, found = Synta(size=112, frames=(32, 32), distance=19), []
    with tempfile.TemporaryDirectory() as folder:
        for number, (coarse, n) in enumerate(SAMPLE):
            clip = render(settings, Clip(coarse, n, number + 1, ("ground", "front")[number % 2]))
            file = Path(folder, "clip.mp4")
            write_video(file, clip.frames, 24)
            for part in (clip.frames.tobytes(), clip.ids.tobytes(), file.read_bytes()):
                found.append(hashlib.blake2b(part, digest_size=8).hexdigest())
    return found


def without_avx() -> list[str]:
    """The same from a process that is kept from AVX."""
    code = "import bench.synta; print(*bench.synta.digests())"
    environment = os.environ | WITHOUT_AVX
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def shard_of_full_set(count: int = 64) -> None:
    from pipeline.config import load
    from pipeline.data.entries import shard_of, video_id
    from pipeline.demo.synta.classes import planned

    section = load().datasets["synta"]
    clips = [c for c in planned(section.data.index.rendered) if shard_of(video_id("videos/" + c.path), count) == 0]
    clips = clips[:: max(1, len(clips) // 20)]
    start, frames, size = time.process_time(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for clip in clips:
            made = render(section.demo.synta, clip)
            file = Path(folder, "clip.mp4")
            write_video(file, made.frames, 24)
            frames, size = frames + len(made.frames), size + file.stat().st_size
    seconds = time.process_time() - start
    total = 10_000 / len(clips)
    print(f"{len(clips)} clips of one shard of {count}: {frames / seconds:.0f} frames per CPU second at 224 pixels")
    print(
        f"10,000 clips: {frames * total / 1e6:.2f} M frames, {seconds * total / 3600:.1f} CPU hours, "
        f"{size * total / 1e9:.2f} GB of video; a shard {seconds * total / count / 60:.1f} CPU minutes"
    )


def main() -> None:
    call = argparse.ArgumentParser(description=__doc__)
    call.add_argument("--bytes", action="store_true", help="compare with a process without AVX")
    call.add_argument("--shard", action="store_true", help="time a sample of a shard of the full set")
    call = call.parse_args()
    if call.bytes:
        here, there = digests(), without_avx()
        same = [a == b for a, b in zip(here, there, strict=True)]
        for name, part in (("frames", same[0::3]), ("ids", same[1::3]), ("H.264", same[2::3])):
            print(f"{name}: {sum(part)} of {len(part)} clips have the same bytes without AVX")
    elif call.shard:
        shard_of_full_set()
    else:
        for view in ("ground", "front"):
            for bodies in MOVING:
                rates = [speed(bodies, view, 112, written) for written in (False, True)]
                print(f"{view}, bodies {bodies}: {rates[0]:.0f} frames per CPU second, {rates[1]:.0f} written as H.264")


if __name__ == "__main__":
    main()
