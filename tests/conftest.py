"""Shared by all tests: optional real data, and threads that leave the machine usable."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

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


@pytest.fixture(scope="session")
def checkpoint_folders():
    """Module that makes tiny checkpoints with random weights; see `tests/checkpoint_folders.py`."""
    specification = importlib.util.spec_from_file_location(
        "checkpoint_folders", PROJECT / "tests/checkpoint_folders.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fetched():
    """Name of a small encoder → its folder; tests of published weights are skipped where they were not fetched."""
    from pipeline.encoding.checkpoints import cache_folder

    def folder(name: str) -> str:
        place = cache_folder() / "small" / name
        if not (place / "config.json").is_file():
            pytest.skip(f"{place} is not there; run `conceptreel fetch small`")
        return str(place)

    return folder


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of the hub, and no network."""
    import huggingface_hub.constants

    from pipeline.encoding import checkpoints

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    checkpoints._from_hub.cache_clear()
    yield tmp_path / "hub"
    checkpoints._from_hub.cache_clear()
