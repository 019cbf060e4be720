"""Where the artifacts of a run lie: in its own folder or, of an experiment, in that of the data set that it is on."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.store.tables import read_attributes

# Attribute of the index of an experiment: the data set whose videos it takes.
VIDEOS_OF = "videos_of"


def folders(results: Path) -> list[Path]:
    """The folder of a run and, of an experiment, that of its data set beside it."""
    index = results / "data" / "index.parquet"
    base = read_attributes(index).get(VIDEOS_OF) if index.is_file() else None
    if not isinstance(base, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", base):
        return [results]
    return [results, results.resolve().parent / base]


def shards_of(results: Path, place: str, suffix: str = ".zarr.zip") -> list[Path]:
    """Shards such as ``motion/poses`` of a run, in their order; none if there are none."""
    found = (sorted((folder / place).glob(f"[0-9]*-of-*{suffix}")) for folder in folders(results))
    return next(filter(None, found), [])
