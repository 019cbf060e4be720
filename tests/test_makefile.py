"""What `make` says of an environment that it cannot use; nothing is installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


@pytest.fixture
def make(project, tmp_path):
    """(version of .venv or None, arguments) → what `make -n` says, and its exit code."""
    shutil.copy(project / "Makefile", tmp_path)
    for name in ("pyproject.toml", "envs/constraints.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def python(path, version):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{f'echo {version}' if version else 'exit 127'}\n")
        path.chmod(0o755)
        return path

    def call(version, *arguments, given=None):
        if version is not None:
            python(tmp_path / ".venv/bin/python", version)
        if given:
            arguments += (f"PYTHON={python(tmp_path / 'given', given)}",)
        done = subprocess.run(["make", "-n", *arguments], cwd=tmp_path, capture_output=True, text=True)
        return done.stdout + done.stderr, done.returncode

    return call


def test_an_environment_of_another_python_is_told(make):
    told, code = make("3.9", "demo")
    assert code == 2 and ".venv is of 3.9, wanted is Python 3.11 3.12 3.13: `rm -r .venv`" in told
    told, code = make("3.11", "demo", given="3.12")
    assert code == 2 and ".venv is of 3.11, wanted is Python 3.12: `rm -r .venv`" in told
    told, code = make("", "demo")
    assert code == 2 and ".venv is of a Python that does not run" in told


@pytest.mark.parametrize(("version", "given"), [("3.11", None), ("3.12", None), ("3.13", "3.13"), (None, "3.12")])
def test_one_that_fits_is_used(make, version, given):
    told, code = make(version, "demo", given=given)
    assert code == 0 and "-e ." in told


def test_it_can_always_be_removed(make):
    assert make("3.9", "clean")[1] == 0
