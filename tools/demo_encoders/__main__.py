"""Trains and measures the demo's three small encoders.

    python -m tools.demo_encoders [--only NAME ...] [--out DIR]
    python -m tools.demo_encoders --evaluate

writes, or measures, `pose`, `backbone` and `dual_encoder` below DIR in the format that
`from_pretrained` reads.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch

from pipeline import demo
from tools.demo_encoders import backbone, dual, pose
from tools.demo_encoders.measure import measure
from tools.demo_encoders.samples import training_samples

ENCODERS = Path(demo.__file__).parent / "encoders"
TRAININGS = {"pose": pose.train, "backbone": backbone.train, "dual_encoder": dual.train}
STEPS = {"pose": 4000, "backbone": 2500, "dual_encoder": 5500}
N_CLIPS = 3072


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=tuple(TRAININGS), default=tuple(TRAININGS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=ENCODERS, metavar="DIR")
    parser.add_argument("--evaluate", action="store_true", help="measure what is in DIR")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "conceptreel_demo_training",
        metavar="DIR",
        help="where the rendered training clips are kept (about 2.5 GB; default %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=2)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    if options.evaluate:
        for encoder, figures in measure(options.out, options.only).items():
            print(encoder)
            for name, value in figures.items():
                print(f"  {name:<52} {value:.3f}")
        return
    samples = training_samples(options.cache, N_CLIPS, workers=options.threads)
    for name in options.only:
        folder = options.out / name
        TRAININGS[name](samples, STEPS[name], folder)
        print(f"wrote {folder}", flush=True)


if __name__ == "__main__":
    main()
