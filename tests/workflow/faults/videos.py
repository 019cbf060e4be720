"""Send damaged and odd videos through the stages `videos` and `decode`, and account for every one of them.

    python tests/workflow/faults/videos.py [--real FOLDER]

Every file must end in ok or in a stated reason. Frames and times of those that are whole are compared with what was
written, and with ``ffprobe`` where it is installed; for real files ``ffprobe`` is the only judge. Each file has
``--seconds`` and ``--memory-mb``; who needs more is stopped, and that is its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import corpus
import numpy as np
import yaml

from pipeline.data.probe import REASONS
from pipeline.store.arrays import read_arrays
from pipeline.store.tables import read_table

PROJECT = Path(__file__).resolve().parents[3]
SHARDS = 4
# Timestamps in AVI, FLV and Matroska files are rounded to 1 ms, by the writer and again by ffprobe.
TOLERANCE_SECONDS = 0.0015
# Real files whose frames no single figure describes; each is looked at once, by hand.
UNDECIDED = {
    "decord_corrupted.mp4": "damaged: how many frames a decoder conceals differs from decoder to decoder",
}


@dataclass
class Account:
    """What became of each file: its frames and times, or a reason; and what is wrong with that."""

    times: dict[str, np.ndarray] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)


def decode_all(root: Path, names: list[str], seconds: float, memory_mb: int, cores: int) -> Account:
    """Run the workflow over files below ``root``; see `Account`."""
    (root / "classes.txt").write_text("any\n")
    (root / "train.txt").write_text("".join(f"{name} 0\n" for name in names))
    settings = {
        "shards": SHARDS,
        "root": ".",
        "index": {
            "lists": {"train": "train.txt"},
            "class_list": "classes.txt",
            "validation_by": "video",
            "max_failed_fraction": 1,
        },
        "decode": {"n_frames": 4, "size": 32, "min_frames": 1, "max_failed_fraction": 1},
    }
    config = {
        "data_root": str(root),
        "runtime": {"decoder": {"seconds": seconds, "memory_mb": memory_mb}},
        "datasets": {"odd": {"data": settings}},
    }
    run = root / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    data = run / "results/odd/data"
    shards = [data / f"signal/{index:03d}-of-{SHARDS:03d}.zarr.zip" for index in range(SHARDS)]
    began = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", PROJECT / "Snakefile", "--cores", str(cores), "--"),
            *(shard.relative_to(run) for shard in shards),
        ],
        cwd=run,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    account = Account(seconds=time.monotonic() - began)
    if done.returncode:
        account.complaints.append(f"the run ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        return account
    table, attributes = read_table(data / "videos.parquet")
    path_of = dict(zip(table["video_id"].to_pylist(), table["path"].to_pylist(), strict=True))
    account.failed.update({path_of[item["video_id"]]: item["reason"] for item in attributes["failed"]})
    for shard in shards:
        arrays, attributes = read_arrays(shard)
        for row, video_id in enumerate(attributes["video_id"]):
            part = slice(*arrays["offsets"][row : row + 2])
            account.times[path_of[video_id]] = arrays["timestamps"][part]
        account.failed.update({path_of[item["video_id"]]: item["reason"] for item in attributes["failed"]})
    return account


def ffprobe(path: Path) -> np.ndarray | None:
    """Times of all frames, seconds since the first; None if ffprobe finds no frame or gives no times."""
    told = subprocess.run(
        [
            *("ffprobe", "-v", "quiet", "-select_streams", "v:0", "-of", "json"),
            *("-show_entries", "frame=best_effort_timestamp_time", str(path)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    ).stdout
    try:
        frames = json.loads(told).get("frames", [])
        times = np.array([float(frame["best_effort_timestamp_time"]) for frame in frames])
    except (ValueError, KeyError):
        return None
    return times - times[0] if len(times) else None


def compare(name: str, found: np.ndarray, expected: np.ndarray, source: str) -> list[str]:
    """What differs between the times of a file's frames and those that somebody else says."""
    if len(found) != len(expected):
        return [f"{name}: {len(found)} frames, {source} {len(expected)}"]
    away = float(np.abs(found - expected).max())
    return [f"{name}: times differ by up to {away:.4f} s from {source}"] if away > TOLERANCE_SECONDS else []


def judge(account: Account, root: Path, names: list[str], known: dict[str, corpus.Known], real: list[str]) -> int:
    """Add complaints to the account; number of files compared with ffprobe."""
    for name in names:
        reason = account.failed.get(name, "")
        if (name in account.times) == bool(reason):
            account.complaints.append(f"{name}: it has {'both' if reason else 'neither'} a result and a reason")
        elif reason and reason.split(":")[0] not in REASONS:
            account.complaints.append(f"{name}: `{reason}` is no known reason")
        elif reason and name in known:
            account.complaints.append(f"{name}: it is whole, but {reason}")
    for name in sorted(known.keys() & account.times.keys()):
        account.complaints += compare(name, account.times[name], np.array(known[name].times), "written were")
    if shutil.which("ffprobe") is None:
        return 0
    judged = 0
    for name in [*sorted(known), *real]:
        if name in account.times and Path(name).name not in UNDECIDED:
            expected = ffprobe(root / name)
            if expected is not None:
                judged += 1
                account.complaints += compare(name, account.times[name], expected, "ffprobe finds")
    return judged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder of more files, for example odd_videos of the test data")
    parser.add_argument("--seconds", type=float, default=20, help="for each file")
    parser.add_argument("--memory-mb", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep everything here; it must not exist")
    parser.add_argument("--list", action="store_true", help="print every file")
    call = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = (call.folder or Path(temporary, "corpus")).resolve()
        root.mkdir(parents=True)
        known = {f"made/{name}": item for name, item in corpus.make(root / "made", call.seed).items()}
        names = sorted(f"made/{path.name}" for path in (root / "made").iterdir())
        real = []
        for path in sorted(call.real.iterdir()) if call.real else []:
            # Files whose names differ in their endings only would be one video.
            real.append(f"real/{path.suffix.strip('.')}/{path.name}")
            (root / real[-1]).parent.mkdir(parents=True, exist_ok=True)
            (root / real[-1]).symlink_to(path.resolve())
        account = decode_all(root, names + real, call.seconds, call.memory_mb, call.cores)
        judged = judge(account, root, names + real, known, real)
    if call.list:
        for name in names + real:
            times = account.times.get(name)
            print(f"{name}: {account.failed.get(name, '') if times is None else f'ok, {len(times)} frames'}")
    for complaint in account.complaints:
        print(f"WRONG {complaint}")
    reasons = Counter(reason.split(":")[0] for reason in account.failed.values())
    n_files, n_told = len(names + real), len(account.times) + len(account.failed)
    print(f"{len(names)} made and {len(real)} real files in {account.seconds:.0f} s: {len(account.times)} ok")
    print("reasons: " + ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()))
    print(f"compared: {len(known)} with what was written, {judged} with ffprobe")
    print(f"{n_told} of {n_files} accounted for, {len(account.complaints)} wrong")
    return int(bool(account.complaints) or n_told != n_files)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(PROJECT))
    sys.exit(main())
