"""What a dry run of UCF-101 costs: ``snakemake -n results/ucf101/model.pt`` on a tree of 13,320 empty files.

python bench/dag.py                        # seconds and peak memory; the bar is 3 s and 150 MB
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
VIDEOS = 13_320
GROUPS, TEST_GROUPS = 25, 7


def fabricate(root: Path) -> int:
    """A tree of empty files with the names of UCF-101 and lists of its form; the number of files."""
    names = (PROJECT / "pipeline/data/classes/ucf101.txt").read_text().split()
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    chance = random.Random(0)
    clips: set[tuple[str, int, int]] = set()
    while len(clips) < VIDEOS:
        clips.add((names[len(clips) % len(names)], chance.randint(1, GROUPS), chance.randint(1, 9)))
    lines: dict[str, list[str]] = {
        f"{split}list{number:02d}": [] for split in ("train", "test") for number in (1, 2, 3)
    }
    for name, group, clip in sorted(clips):
        place = f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi"
        (root / "UCF-101" / name).mkdir(parents=True, exist_ok=True)
        (root / "UCF-101" / place).touch()
        for number in (1, 2, 3):  # each official split tests on seven other groups
            tests = (number - 1) * TEST_GROUPS < group <= number * TEST_GROUPS
            label = "" if tests else f" {names.index(name) + 1}"
            lines[f"{'test' if tests else 'train'}list{number:02d}"].append(place + label)
    for name, own in lines.items():
        (lists / f"{name}.txt").write_text("\n".join(own) + "\n")
    return len(clips)


def dry_run(folder: Path) -> tuple[float, float, int]:
    """Seconds, of the wall and of the processor, and the jobs of one dry run; memory is that of all children so far."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(PROJECT / "Snakefile"),
        "-n",
        "results/ucf101/model.pt",
        "--cores",
        "8",
    ]
    command += ["--configfile", str(PROJECT / "config.yaml")]
    before = os.times()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    after = os.times()
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    jobs = re.findall(r"^(?:local)?(?:rule|checkpoint) \w+:", done.stdout + done.stderr, re.MULTILINE)
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return after.elapsed - before.elapsed, busy, len(jobs)


def main() -> None:
    import resource

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=3)
    call = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count = fabricate(Path(folder, "data/ucf101"))
        for number in range(call.runs):
            seconds, busy, jobs = dry_run(Path(folder))
            print(f"dry run {number + 1}: {count:,} files, {jobs} jobs, {seconds:.1f} s, {busy:.1f} s of processor")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"peak memory: {peak:.0f} MB")


if __name__ == "__main__":
    main()
