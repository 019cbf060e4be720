"""Compare a run on this processor with one that may use only what older processors have.

    python tests/workflow/faults/machines.py

Matrix products differ in the last digits between instruction sets, because sums are taken in another order. The second
run is kept from AVX and all that came after it, as on a machine without it; printed is how far each kind of artifact is
from the first run, relative to its largest value.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from chaos import configuration, end_of_log, start
from contents import contents, files

from pipeline.store.arrays import read_arrays
from pipeline.store.inspect import is_artifact
from pipeline.store.tables import read_table

OLDER = {
    "ATEN_CPU_CAPABILITY": "default",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "OPENBLAS_CORETYPE": "Nehalem",
    "FAISS_OPT_LEVEL": "generic",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4",
}


def numbers(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of everything that is a number in an artifact."""
    if path.suffix == ".parquet":
        table = read_table(path)[0]
        for name in table.column_names:
            values = np.asarray(table[name].to_numpy(zero_copy_only=False))
            if values.dtype.kind in "fiub":
                yield name, values
    else:
        for name, values in read_arrays(path)[0].items():
            yield name, values


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference relative to the largest value; infinite where the shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    apart = np.abs(a - b)
    apart[np.isnan(a) & np.isnan(b)] = 0
    largest = np.nanmax(np.abs(a), initial=0)
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0) / (largest or 1))


def compare(here: Path, there: Path) -> dict[str, float]:
    """Largest distance of each kind of artifact."""
    far: dict[str, float] = defaultdict(float)
    for path in files(here):
        if is_artifact(path):
            relative = path.relative_to(here)
            kind = str(relative.parent if "-of-" in relative.name else relative)
            other = dict(numbers(there / relative))
            for name, values in numbers(path):
                far[kind] = max(far[kind], distance(values, other[name]) if name in other else float("inf"))
    return far


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="the whole demo instead of few clips")
    call = parser.parse_args()
    name, config = configuration(call.full)
    with tempfile.TemporaryDirectory() as base:
        for part, environment in (("here", {}), ("older", OLDER)):
            folder = Path(base, part)
            folder.mkdir()
            (folder / "config.yaml").write_text(config)
            os.environ.update(environment)
            if start(folder, name, call.cores).wait():
                sys.exit(f"the run failed:\n{end_of_log(folder)}")
        here, there = (Path(base, part, "results", name) for part in ("here", "older"))
        same = sum(content == contents(there).get(file) for file, content in contents(here).items())
        for kind, far in sorted(compare(here, there).items()):
            print(f"{kind}: {'identical' if far == 0 else f'within {far:.1e}'}")
        figures = [json.loads((folder / "metrics.json").read_text()) for folder in (here, there)]
        for key in ("top1", "shifted_top1", "n_concepts", "nnz"):
            print(f"{key}: {figures[0].get(key)} here, {figures[1].get(key)} on the older one")
        print(f"{same} of {len(files(here))} files have identical content")
    return 0


if __name__ == "__main__":
    sys.exit(main())
