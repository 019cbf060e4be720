"""What the frame costs before any work begins: the command's help, a look into a cache, a dry run of UCF-101.

python bench/frame.py                      # bars: help and inspect 0.7 s, dry run 3 s and 150 MB
python bench/frame.py --demo               # and the demo from a warm install, in a copy of the project; bar 180 s

Seconds are the least of the runs, of the wall and of the processor. Install the SLURM plugin beside the project for the
figure that counts: Snakemake imports every plugin that is there.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from dag import PROJECT, dry_run, fabricate
from inspection import write_cache


def command(*arguments: str) -> Callable[[Path], tuple[float, float]]:
    """A command of the project as a function of the folder that it runs in."""

    def run(folder: Path) -> tuple[float, float]:
        before = os.times()
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True, env=environment)
        after = os.times()
        busy = after.children_user + after.children_system - before.children_user - before.children_system
        return after.elapsed - before.elapsed, busy

    return run


def told(name: str, found: list[tuple[float, float]], bar: str) -> None:
    wall, busy = map(min, zip(*found, strict=True))
    print(f"{name:<44} {wall:6.2f} s of the wall, {busy:6.2f} s of the processor   (bar: {bar})")


def main() -> None:
    import resource

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--demo", action="store_true", help="run the demo too; some minutes")
    call = arguments.parse_args()
    has_plugin = importlib.util.find_spec("snakemake_executor_plugin_slurm") is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        help_, look = command("-m", "pipeline.cli", "--help"), command("-m", "pipeline.cli", "inspect", "results/big")
        told("conceptreel --help", [help_(folder) for _ in range(call.runs)], "0.7 s")
        count = write_cache(folder, 8)
        told(f"conceptreel inspect, {count} artifacts", [look(folder) for _ in range(call.runs)], "0.7 s")
        files = fabricate(folder / "data/ucf101")
        found = [dry_run(folder) for _ in range(call.runs)]
        told(f"dry run of UCF-101, {files:,} files, {found[0][2]} jobs", [run[:2] for run in found], "3 s")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"peak memory {peak:.0f} MB (bar: 150 MB), {'with' if has_plugin else 'WITHOUT'} the SLURM plugin")
        if call.demo:
            for part in ("pipeline", "workflow", "envs"):
                shutil.copytree(PROJECT / part, folder / "copy" / part)
            for part in ("Snakefile", "config.yaml"):
                shutil.copy(PROJECT / part, folder / "copy" / part)
            demo = command("-m", "snakemake", "--cores", "all", "--quiet", "all")
            environment = os.environ | {"PYTHONPATH": str(folder / "copy")}
            os.environ.update(environment)
            told("demo from a warm install", [demo(folder / "copy")], "180 s")


if __name__ == "__main__":
    main()
