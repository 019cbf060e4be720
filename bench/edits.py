"""How long an edit takes, from the call to the answer: ``python bench/edits.py results/demo/model.pt``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402

from conceptreel import load  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="results/demo/model.pt")
    parser.add_argument("--repeat", type=int, default=50)
    call = parser.parse_args()
    started = time.perf_counter()
    model = load(call.model)
    model.cached  # noqa: B018 - reads the activations
    print(f"open model and cache   {1e3 * (time.perf_counter() - started):7.1f} ms")
    video, core = model.cached.video_id[0], model.core
    concept = f"{core.types[0]}:{core.concepts[0]}"
    kinds = {
        "predict and explain": lambda: str(model.predict(video).explain()),
        "without a concept": lambda: str(model.predict(video).without(concept).explain()),
        "contrast": lambda: str(model.predict(video).explain(core.class_names[0], against=core.class_names[1])),
        "reweight, all splits": lambda: [
            model.effect(model.reweight(core.class_names[0], concept, 0.5), split)
            for split in dict.fromkeys(model.cached.split)
        ],
        "suggest edits": lambda: model.reweight(core.class_names[0], _strongest(core), 0.0).suggest_edits(),
    }
    for name, run in kinds.items():
        seconds = []
        for _ in range(call.repeat):
            started = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - started)
        print(f"{name:<22} {1e3 * np.median(seconds):7.1f} ms median, {1e3 * max(seconds):7.1f} ms at most")


def _strongest(core) -> str:
    """The concept that the first class uses most; without it there is something to suggest."""
    m = int(np.abs(core.weight[0]).argmax())
    return f"{core.types[m]}:{core.concepts[m]}"


if __name__ == "__main__":
    main()
