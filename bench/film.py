"""Three test clips of the demo in a row, a film whose timeline is known: ``python bench/film.py film.mp4``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402

from pipeline.data.readers import open_video  # noqa: E402
from pipeline.demo.videos import write_video  # noqa: E402

CLIPS = ("ball_lift_test_000", "beach_wave_test_001", "barbell_squat_test_002")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("--videos", type=Path, default=Path("results/demo/demo/videos"))
    call = parser.parse_args()
    parts = []
    for name in CLIPS:
        with open_video(call.videos / f"{name}.mp4") as video:
            parts += [batch for _, batch in video.batches()]
    write_video(call.film, np.concatenate(parts))


if __name__ == "__main__":
    main()
