"""What other programs may rely on."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

import conceptreel
from pipeline.store.tables import write_table


def test_the_face_is_light_and_names_what_it_gives(project):
    code = "import sys, conceptreel; print(sorted({'torch', 'transformers', 'snakemake'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert all(hasattr(conceptreel, name) for name in conceptreel.__all__)


def test_artifacts_are_read_and_errors_are_those_that_are_raised(tmp_path):
    write_table(tmp_path / "a.parquet", pa.table({"x": [1, 2]}), {"names": ["one"]}, {})
    table, attributes = conceptreel.read_table(tmp_path / "a.parquet")
    assert table["x"].to_pylist() == [1, 2] and attributes["names"] == ["one"]
    with pytest.raises(conceptreel.ArtifactError, match="does not exist; `snakemake"):
        conceptreel.load(tmp_path / "model.pt")


def test_the_package_holds_what_it_reads(project):
    """Everything below `pipeline` that is no Python belongs to the package data, or an installed copy lacks it."""
    tomllib = pytest.importorskip("tomllib")
    patterns = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["pipeline"]
    held = {path for pattern in patterns for path in (project / "pipeline").glob(pattern)}
    listed = subprocess.run(["git", "ls-files", "pipeline"], cwd=project, capture_output=True, text=True).stdout.split()
    other = {project / path for path in listed if not path.endswith((".py", ".md"))}
    assert other <= held
