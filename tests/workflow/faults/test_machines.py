"""Runs on processors that compute with other last digits come to the same, within the stated tolerances."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.store.arrays import read_arrays, write_arrays
from pipeline.store.tables import read_table, write_table

SCRIPT = Path(__file__).with_name("machines.py")


@pytest.fixture
def machines(project):
    """Run the script with arguments: (exit status, what it says)."""

    def run(*arguments: str, seconds: int = 300) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *arguments],
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(project)},
        )
        return done.returncode, done.stdout + done.stderr

    return run


def changed(path: Path, change) -> None:
    """Write an artifact again with other values: ``change`` takes and returns them by name."""
    if path.suffix == ".parquet":
        table, described = read_table(path)
        described = dict(described)
        provenance = described.pop("provenance")
        described.pop("content_digest")
        path.unlink()
        write_table(path, pa.table(change(table.to_pydict())), described, provenance)
    else:
        arrays, described = read_arrays(path)
        described = dict(described)
        provenance = described.pop("provenance")
        described.pop("content_digest")
        path.unlink()
        write_arrays(path, change(dict(arrays)), described, provenance)


@pytest.mark.slow
def test_a_saved_run_is_compared_number_by_number_and_decision_by_decision(machines, workspace, tmp_path):
    results, saved = workspace.folder / "results/small", tmp_path / "saved"
    assert machines("--results", str(results), "--save", str(saved))[0] == 0
    status, said = machines("--results", str(results), "--against", str(saved))
    assert status == 0 and "DIFFER" not in said and "TOO FAR" not in said

    def a_little_off(arrays):
        return arrays | {"features": arrays["features"] * np.float32(1 + 2e-6)}

    changed(results / "backbone/features/000-of-003.zarr.zip", a_little_off)
    status, said = machines("--results", str(results), "--against", str(saved))
    assert status == 0 and "backbone/features: decisions 12 identical, numbers within 2." in said

    def too_far(arrays):
        return arrays | {"features": arrays["features"] * np.float32(1.01)}

    def other_concepts(columns):
        return columns | {"concepts": [[0], *columns["concepts"][1:-1], [0, 1, 2]]}

    changed(results / "backbone/features/000-of-003.zarr.zip", too_far)
    changed(results / "motion/motion_labels.parquet", other_concepts)
    status, said = machines("--results", str(results), "--against", str(saved))
    assert status == 1
    assert "(000-of-003.zarr.zip: features), allowed 1e-05 TOO FAR" in said
    assert "motion/motion_labels.parquet: decisions 1 of" in said and "motion_labels.parquet: concepts" in said


@pytest.mark.long
def test_an_older_processor_comes_to_the_same_within_the_tolerances(machines, finished):
    status, said = machines("--results", str(finished.folder / "results/small"), seconds=1500)
    assert status == 0, said
    assert "numbers within" in said  # it has computed otherwise
