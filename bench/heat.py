"""How a concept map becomes a heatmap, chosen on the demo's validation clips; `localise` then measures on test clips.

Between places linearly or by a spline, as it is or what lies above its mean over the clip.

python bench/heat.py                        # after `make demo`: some seconds
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402

from pipeline import config as configuration  # noqa: E402
from pipeline.context.prompts import prompt_frames  # noqa: E402
from pipeline.encoding.grid import positions  # noqa: E402
from pipeline.methods.dance.bottleneck.pooling import concept_maps  # noqa: E402
from pipeline.methods.dance.explain.regions import View  # noqa: E402
from pipeline.methods.dance.truth.localise import Tally, concept_named, rectified  # noqa: E402
from pipeline.store.arrays import read_arrays  # noqa: E402
from pipeline.store.tables import read_table  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/demo"))
    results = parser.parse_args().results
    section = configuration.load().datasets[results.name]
    settings, prompts = section.explain.localise, section.context.prompts
    layers, described = read_arrays(results / "bottleneck/concept_layers.zarr.zip")
    truth, known = read_arrays(results / "demo/truth.zarr.zip")
    row_of = {key: row for row, key in enumerate(known["video_id"])}
    index = read_table(results / "data/index.parquet")[0].to_pylist()
    validation = {row["video_id"] for row in index if row["split"] == "val"}
    rows, columns = (positions(count, prompts.placement, prompts.radius) for count in prompts.grid)
    tallies: dict[str, Tally] = {}
    for path in sorted((results / "backbone/maps").glob("*.zarr.zip")):
        arrays, about = read_arrays(path)
        clips, shown = read_arrays(results / "data/clips" / path.name)
        clip_of = {key: row for row, key in enumerate(shown["video_id"])}
        for row, key in enumerate(about["video_id"]):
            target = concept_named(known["object"][row_of[key]], described["map_names"], described["map_types"])
            if key not in validation or target is None:
                continue
            maps = concept_maps(arrays["maps"][row], layers["map_weight"])[..., target]
            frames = clips["frame_index"][clip_of[key]]
            frames = frames[prompt_frames(len(frames), len(maps))]
            masks = np.unpackbits(truth["object_mask"][truth["offsets"][row_of[key]] + frames], axis=2).astype(bool)
            side = masks.shape[1]
            view = View(side, side, rows, columns)
            for name, heat in (("linear", view.enlarged(maps)), ("spline", view.heatmap(maps))):
                for form, values in (("as it is", heat), ("above the mean", rectified(heat))):
                    tally = tallies.setdefault(f"{name}, {form}", Tally(settings.tolerance))
                    for picture, mask in zip(values, masks, strict=True):
                        if mask.sum() >= settings.min_pixels:
                            tally.add(picture, mask)
    shown = ("pointing", "pixel_accuracy", "mean_iou", "mean_average_precision")
    print(f"{'validation':<24}" + "".join(f"{name:>24}" for name in shown))
    for name, tally in tallies.items():
        figures = tally.figures(0)
        print(f"{name:<24}" + "".join(f"{figures[figure]:>24.3f}" for figure in shown))


if __name__ == "__main__":
    main()
