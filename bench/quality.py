"""How good the poses of finished runs are, on the videos of train and validation alone: what the levels rest on.

python bench/quality.py results/demo results/weizmann results/weizmann_small
"""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipeline.data.entries import DEVELOPMENT  # noqa: E402
from pipeline.motion.quality import summed, words  # noqa: E402
from pipeline.store.tables import read_table  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="folders of data sets")
    for folder in parser.parse_args().results:
        index = read_table(folder / "data/index.parquet")[0].to_pylist()
        asked = {row["video_id"] for row in index if row["split"] in DEVELOPMENT}
        rows = read_table(folder / "motion/quality.parquet")[0].to_pylist()
        quality = summed(row for row in rows if row["video_id"] in asked)
        print(f"{folder.name}: {words(quality)}, {quality.jumps:.3f} of all")


if __name__ == "__main__":
    main()
