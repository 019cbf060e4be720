"""Compare a run on this processor with a run on another one, within a stated tolerance for each kind of artifact.

    python tests/workflow/faults/machines.py                  # with one that may use only what older processors have
    python tests/workflow/faults/machines.py --save FOLDER    # on one machine, and
    python tests/workflow/faults/machines.py --against FOLDER # on another one, where that folder has been copied to

Matrix products differ in the last digits between instruction sets, because sums are taken in another order. Without
arguments the second run is kept from AVX and all that came after it, as on a machine without it. A run that is compared
with a saved one begins with the saved videos. Printed is, for each kind of artifact, whether its decisions (whatever is
no fraction: ids, key frames, clusters, what was kept, classes) are identical, and how far its numbers are apart,
relative to the largest of their array. The exit status is 1 where a decision differs or a number is too far away.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
FLOAT32, FLOAT16 = 1e-5, 5e-3
# Ten times the largest distance that was seen (docs/faults.md), rounded up; float16 is what maps and prompts are stored
# in. What is not named here must be identical.
TOLERANCES = {
    "backbone/features": FLOAT32,
    "backbone/maps": FLOAT16,
    "context/": FLOAT32,
    "context/prompts": FLOAT16,
    "motion/": 2e-5,
    "bottleneck/": 2e-3,
    "metrics.json": 2e-3,
    "model.pt": 2e-3,
}
# Other fractions in JSON are accuracies or settings: decisions.
NUMBERS = {"lambda", "objective"}
# Bounds of an error, and digests of what is compared itself.
NOT_COMPARED = {
    *("kkt_gap", "relative_gap", "relative_duality_gap", "seconds"),
    *("provenance", "content_digest", "activations"),
}


@dataclass
class Compared:
    """What was found about one kind of artifact.

    Attributes:
        far: largest distance of its numbers; and where.
        decisions: how many values were compared that must be identical; wrong: those that are not.
    """

    far: float = 0.0
    where: str = ""
    decisions: int = 0
    wrong: list[str] = field(default_factory=list)


def values(path: Path) -> Iterator[tuple[str, Any]]:
    """Name and value of everything that an artifact, a model or the metrics hold; arrays and what JSON knows."""
    if path.suffix == ".parquet":
        table, content = read_table(path)
        for name in table.column_names:
            column = np.asarray(table[name].to_numpy(zero_copy_only=False))
            # Reasons quote the figures that decided; these are columns of their own.
            yield name, column if column.dtype.kind in "fiub" else _without_figures(table[name].to_pylist())
    elif path.name == "model.pt":
        content = torch.load(path, weights_only=True)
        yield from ((name, value.numpy()) for name, value in content["tensors"].items())
        content = json.loads(content["metadata"])
    elif path.suffix == ".json":
        content = json.loads(path.read_text())
    else:
        arrays, content = read_arrays(path)
        yield from arrays.items()
    # A column and an attribute may have one name.
    yield from _leaves(content, "attributes")


def _without_figures(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_figures(item) for item in value]
    return re.sub(r"\d+\.\d+", "#", value) if isinstance(value, str) else value


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in nested JSON that can be compared, lists of anything but objects as a whole."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in NOT_COMPARED:
                yield from _leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, float) and name.rpartition(".")[2] in NUMBERS:
        yield name, np.array([value])
    elif _holds_fractions(value):
        yield name, np.array(value, np.float64)
    else:
        yield name, _without_figures(value)


def _holds_fractions(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, float) or _holds_fractions(item) for item in value)


def _are_equal(a: Any, b: Any) -> bool:
    return np.array_equal(a, b) if isinstance(a, np.ndarray) or isinstance(b, np.ndarray) else a == b


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference relative to the largest value; infinite where shapes or missing values differ."""
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    apart = np.abs(a - b)[~np.isnan(a)]
    largest = np.nanmax(np.abs(a), initial=0)
    return float(apart.max(initial=0) / (largest or 1))


def compare(here: Path, there: Path) -> dict[str, Compared]:
    """What is found about each kind of artifact, by its path in the results folder; by its folder if it has shards."""
    found: dict[str, Compared] = {}
    for path in files(here):
        if not (is_artifact(path) or path.name in ("model.pt", "metrics.json")):
            continue
        relative = path.relative_to(here)
        kind = found.setdefault(str(relative.parent if "-of-" in relative.name else relative), Compared())
        if not (there / relative).exists():
            kind.wrong.append(f"{relative} is missing")
            continue
        other = dict(values(there / relative))
        for name, value in values(path):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name in other:
                far = distance(value, np.asarray(other[name]))
                if far > kind.far:
                    kind.far, kind.where = far, f"{relative.name}: {name}"
            else:
                kind.decisions += 1
                if name not in other or not _are_equal(value, other[name]):
                    kind.wrong.append(f"{relative.name}: {name}")
    return found


def tolerance(kind: str) -> float:
    """Of the longest name in the table that the kind begins with; 0 where there is none."""
    fitting = [name for name in TOLERANCES if kind.startswith(name)]
    return TOLERANCES[max(fitting, key=len)] if fitting else 0.0


def judge(here: Path, there: Path) -> int:
    """Print what `compare` finds in two results folders; 1 where something is not as it should be."""
    wrong = 0
    for kind, found in sorted(compare(here, there).items()):
        allowed = tolerance(kind)
        numbers = "identical" if found.far == 0 else f"within {found.far:.1e} ({found.where}), allowed {allowed:.0e}"
        decided = f"{len(found.wrong)} of {found.decisions} DIFFER" if found.wrong else f"{found.decisions} identical"
        print(f"{kind}: decisions {decided}, numbers {numbers}{' TOO FAR' if found.far > allowed else ''}")
        for name in found.wrong[:10]:
            print(f"    {name}")
        wrong += bool(found.wrong) + (found.far > allowed)
    here_metrics, there_metrics = (json.loads((folder / "metrics.json").read_text()) for folder in (here, there))
    for key in ("top1", "shifted_top1", "n_concepts", "nnz"):
        print(f"{key}: {here_metrics.get(key)} here, {there_metrics.get(key)} there")
    told = contents(there)
    same = sum(content == told.get(file) for file, content in contents(here).items())
    print(f"{same} of {len(files(here))} files have identical content")
    print("within the tolerances" if not wrong else f"{wrong} times beyond what is allowed")
    return int(wrong > 0)


def processor() -> str:
    """What a person calls this machine's processor."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", about, re.MULTILINE)
    return f"{named[1] if named else platform.processor()} ({platform.machine()})"


def run(folder: Path, call: argparse.Namespace, environment: dict[str, str], saved: Path | None = None) -> Path:
    """A run in a new folder; its results.

    Args:
        saved: results whose generated videos it begins with.
    """
    name, config = configuration(call.full)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    results = folder / "results" / name
    if saved:
        for part in ("videos", "lists.csv", "truth.zarr.zip"):
            source, target = saved / "demo" / part, results / "demo" / part
            target.parent.mkdir(parents=True, exist_ok=True)
            # Without its times of change: Snakemake would make again what is older than the code.
            if source.is_dir():
                shutil.copytree(source, target, copy_function=shutil.copyfile)
            else:
                shutil.copyfile(source, target)
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        if start(folder, name, call.cores).wait():
            sys.exit(f"the run failed:\n{end_of_log(folder)}")
    finally:
        for key in environment:
            os.environ.pop(key)
        os.environ.update(before)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="the whole demo instead of few clips")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the results of a run there, compare nothing")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="compare with what was saved on another machine")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="results of a run that was made here already")
    call = parser.parse_args()
    if call.save and call.against:
        parser.error("either --save or --against")
    with tempfile.TemporaryDirectory() as base:
        here = call.results or run(Path(base, "here"), call, {}, call.against)
        if call.save:
            shutil.copytree(here, call.save, ignore=shutil.ignore_patterns("logs"))
            (call.save / "machine.txt").write_text(f"{processor()}\n")
            print(f"saved in {call.save}; copy it to the other machine")
            return 0
        if call.against:
            print(f"here: {processor()}, there: {(call.against / 'machine.txt').read_text().strip()}")
            return judge(here, call.against)
        return judge(here, run(Path(base, "older"), call, OLDER))


if __name__ == "__main__":
    sys.exit(main())
