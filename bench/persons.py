"""In how many frames of real clips a pose network finds a person, and what a frame costs.

python bench/persons.py FOLDER [--model small/movenet-thunder] [--boxes refined]

Every video below FOLDER is posed on one thread, as stage `poses` would. A person counts as found where the mean
confidence of the joints reaches a level; the levels stand side by side, because none is right for every set.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402

from pipeline.data.entries import VIDEO_SUFFIXES  # noqa: E402
from pipeline.data.readers import open_video  # noqa: E402
from pipeline.motion.pose import load_estimator  # noqa: E402
from pipeline.motion.pose.estimate import Estimation  # noqa: E402
from pipeline.motion.settings import Poses  # noqa: E402

LEVELS = (0.1, 0.2, 0.3, 0.4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="small/movenet-thunder", help="hub id, folder, or a name of `fetch small`")
    parser.add_argument("--boxes", default="refined", choices=("refined", "whole_frame"))
    call = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(path for path in call.folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    estimation = Estimation(load_estimator(call.model), Poses(model=call.model, boxes=call.boxes), 16)
    began = time.process_time()
    confidence, n_failed = [], 0
    for _, item in estimation.run([(str(path), path) for path in files], [open_video]):
        if isinstance(item, Exception):
            n_failed += 1
        else:
            confidence.append(np.nan_to_num(item["confidence"]).mean(1))
    if not confidence:
        parser.exit(2, f"{call.folder} has no video that can be read\n")
    frames = np.concatenate(confidence)
    print(
        f"{len(frames)} frames of {len(confidence)} videos, {n_failed} unreadable; "
        f"{(time.process_time() - began) / len(frames):.3f} CPU s a frame"
    )
    for level in LEVELS:
        print(f"person found at mean confidence ≥ {level}: {(frames >= level).mean():.1%}")


if __name__ == "__main__":
    main()
