"""Wall time of `conceptreel inspect` over a cache of 64 shards × 7 stages, as a whole process (bar: 2 s).

    python bench/inspection.py [--shards 64] [--runs 5]

The artifacts are written by the stages' own writer with their own settings and provenance; only the values are small,
because a listing reads none.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[0] = str(PROJECT)

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import yaml  # noqa: E402

from pipeline.config import validate  # noqa: E402
from pipeline.jobs import stage  # noqa: E402
from pipeline.rules.graph import STAGES, settings_json, shards  # noqa: E402

STAGE_NAMES = ("decode", "poses", "keyframes", "pose_clips", "dual_encoder", "features", "maps")
VIDEOS = 208  # of UCF-101 in one of 64 shards


def write_cache(folder: Path, n_shards: int) -> int:
    """A results folder with every artifact of the sharded stages; their number."""
    raw = {"datasets": {"big": {"data": {"shards": n_shards}}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    config = validate(raw)
    written = 0
    for name in STAGE_NAMES:
        known = STAGES[name]
        for part, shard in enumerate(shards(config.datasets["big"])):
            ids = [f"v_SomeAction_g{i:02d}_c{part:02d}" for i in range(VIDEOS)]
            for artifact in known.writes.values():
                path = folder / "results/big" / artifact.replace("{shard}", shard)
                arguments = [
                    "--dataset",
                    "big",
                    "--settings",
                    settings_json(config.datasets["big"], name),
                    "--shard",
                    shard,
                ]
                call = stage.parser().parse_args([*arguments, "--output", "x", str(path)])
                job = stage.Job(name, known.module, call)
                if path.suffix == ".parquet":
                    frames = pa.array([[1, 2, 3]] * VIDEOS, pa.list_(pa.int32()))
                    job.write_table("x", pa.table({"video_id": ids, "frames": frames}))
                else:
                    values = {key: np.zeros((VIDEOS, 4), np.float32) for key in ("a", "b", "c", "d")}
                    job.write_arrays("x", values, {"video_id": ids, "fps": [25.0] * VIDEOS}, n_ok=VIDEOS)
                written += 1
    return written


def main() -> None:
    call = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    call.add_argument("--shards", type=int, default=64)
    call.add_argument("--runs", type=int, default=5)
    arguments = call.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        written = write_cache(folder, arguments.shards)
        command = [sys.executable, "-m", "pipeline.cli", "inspect", "results/big"]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        wall, cpu = [], []
        for _ in range(arguments.runs):
            before, began = os.times(), time.perf_counter()
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
            after = os.times()
            wall.append(time.perf_counter() - began)
            cpu.append(sum(after[2:4]) - sum(before[2:4]))
        assert f"{written} artifacts" in done.stdout, done.stdout[-300:]
    print(
        f"{written} artifacts: median {statistics.median(wall):.2f} s, best {min(wall):.2f} s of {arguments.runs} runs,"
    )
    print(f"of which computing {statistics.median(cpu):.2f} s")


if __name__ == "__main__":
    main()
