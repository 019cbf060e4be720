"""Runs that the explorer shows, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explorer import runs


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    """See `tests.explorer.runs.small`; not to be written into."""
    return runs.small(tmp_path_factory.mktemp("explored") / "small")


@pytest.fixture(scope="session")
def large_run(tmp_path_factory) -> Path:
    """See `tests.explorer.runs.large`; not to be written into."""
    return runs.large(tmp_path_factory.mktemp("explored") / "large")
