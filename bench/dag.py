"""What a dry run of UCF-101 costs: ``snakemake -n results/ucf101/model.pt`` on a tree of 13,320 empty files.

python bench/dag.py                        # seconds and peak memory; the bar is 5 s and 150 MB
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
TRAIN, TEST = 9537, 3783
GROUPS, TEST_GROUPS = 25, 7


def fabricate(root: Path) -> int:
    """A tree of empty files with the names of UCF-101 and lists of its form; the number of files."""
    names = (PROJECT / "pipeline/data/classes/ucf101.txt").read_text().split()
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    chance = random.Random(0)
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for split, count, first, last in (("test", TEST, 1, TEST_GROUPS), ("train", TRAIN, TEST_GROUPS + 1, GROUPS)):
        used: set[tuple[str, int, int]] = set()
        while len(used) < count:
            used.add((names[len(used) % len(names)], chance.randint(first, last), chance.randint(1, 9)))
        for name, group, clip in sorted(used):
            place = f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi"
            label = f" {names.index(name) + 1}" if split == "train" else ""
            lines[split].append(place + label)
            (root / "UCF-101" / name).mkdir(parents=True, exist_ok=True)
            (root / "UCF-101" / place).touch()
    for split, own in lines.items():
        (lists / f"{split}list01.txt").write_text("\n".join(own) + "\n")
    return sum(len(own) for own in lines.values())


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
