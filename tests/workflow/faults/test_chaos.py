"""Runs that are killed without warning go on where they were and end with the same content."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long


def test_killed_three_times_and_with_other_threads_the_content_is_the_same(finished, project, tmp_path):
    """The finished run had two cores and two threads for matrices; here both are one."""
    command = [sys.executable, str(Path(__file__).with_name("chaos.py")), "--kills", "3", "--cores", "1"]
    done = subprocess.run(
        [*command, "--undisturbed", str(finished.folder), "--span", "80", "--folder", str(tmp_path / "chaos")],
        capture_output=True,
        text=True,
        timeout=1500,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 kills survived" in done.stdout
    assert "0 finished artifacts were made again" in done.stdout
