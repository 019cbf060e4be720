"""Shared by all tests: optional real data, and threads that leave the machine usable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def project() -> Path:
    """Folder of the Snakefile."""
    return PROJECT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data sets; tests that need one are skipped where it is absent."""
    folder = Path(os.environ.get("CONCEPTREEL_TEST_DATA", PROJECT / ".." / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set CONCEPTREEL_TEST_DATA")
    return folder.resolve()
