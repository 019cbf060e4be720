"""How often a heatmap is shown where the demo's clips show an object or scene, and where they do not.

``python bench/located.py results/demo/model.pt``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from conceptreel import load  # noqa: E402
from pipeline.methods.dance.explain.seen import where  # noqa: E402
from pipeline.methods.dance.truth.localise import concept_named  # noqa: E402
from pipeline.store.arrays import Arrays  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="results/demo/model.pt")
    parser.add_argument("--splits", nargs="+", default=["test", "shifted"])
    call = parser.parse_args()
    model = load(call.model)
    core, cached = model.core, model.cached
    with Arrays(model.results / "demo" / "truth.zarr.zip") as artifact:
        truth = artifact.attributes
    row_of = {key: row for row, key in enumerate(truth["video_id"])}
    for split in call.splits:
        for kind in ("object", "scene"):
            shown = {True: [0, 0], False: [0, 0]}
            for row in cached.rows(split):
                decision = model.predict(cached.video_id[row])
                seen, true = decision.look(), truth[kind][row_of[decision.source]]
                for word in sorted(set(truth[kind])):
                    m = concept_named(word, core.concepts, core.types, kind)
                    if m is not None and m >= core.n_whole:
                        why_not = where(core, decision.reason(m), seen.maps[..., m - core.n_whole])
                        shown[word == true][0] += not why_not
                        shown[word == true][1] += 1
            there, absent = (f"{count} of {total}" for count, total in (shown[True], shown[False]))
            print(f"{split:<8} {kind:<7} heat where it is: {there}, where it is not: {absent}")


if __name__ == "__main__":
    main()
