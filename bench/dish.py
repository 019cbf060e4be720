"""How far the activity alone goes: mAP of unit actions from the true activity of each test video, and no video.

    python -m bench.dish DATA_ROOT/breakfast

Prints the same for the prevalence of each label, and how densely the labels of test themselves are coupled.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pipeline.data.lists import read_listing
from pipeline.data.sets.breakfast import activity_of
from pipeline.data.sets.coin import task_of
from pipeline.data.settings import Index
from pipeline.methods.pcmci.measures import by_group_rates, couplings, mean_precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder with the label files of Breakfast or COIN")
    root = parser.parse_args().root
    source = "breakfast" if (root / "mapping_bf.txt").is_file() else "coin"
    listing = read_listing(Index(source=source, check_files=False, unseen_classes=True), root)
    entries = [entry for entry in listing.entries if not entry.problem]
    labels = np.zeros((len(entries), len(listing.class_names)), bool)
    for row, entry in enumerate(entries):
        labels[row, list(entry.labels)] = True
    test = np.array([entry.split == "test" for entry in entries])
    group = np.array(
        [activity_of(entry.video_id) if source == "breakfast" else task_of(entry.path) for entry in entries]
    )
    dish = mean_precision(by_group_rates(labels[~test], group[~test], group[test]), labels[test])
    seen = couplings(labels[test], labels[test])
    absent = int((~labels[test].any(0)).sum())
    print(
        f"{(~test).sum()} videos give rates, {test.sum()} are asked; {labels.shape[1]} labels, {absent} absent in test"
    )
    print(f"the activity alone   mAP {100 * dish['mAP']:.2f}, absent labels as 0 {100 * dish['map_sklearn']:.2f}")
    print(f"prevalence           {100 * labels[test].mean():.2f}; {labels.sum(1).mean():.2f} labels per video")
    print(f"coupled labels       {seen.true_density:.4f} of all pairs")


if __name__ == "__main__":
    main()
