"""Damaged videos and hostile artifacts, as the two commands make them; the full figures are in docs/faults.md."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def called(project, name: str, *arguments: str) -> str:
    """What a command of this folder prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(name)), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(project)},
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_every_damaged_or_odd_video_is_accounted_for(project):
    folder = Path(os.environ.get("CONCEPTREEL_TEST_DATA", ""), "odd_videos")
    told = called(project, "videos.py", *(("--real", str(folder)) if folder.is_dir() else ()))
    assert ", 0 wrong" in told
    assert int(told.split(" made and ")[0].splitlines()[-1]) >= 200


def test_broken_artifacts_are_refused_clearly(project):
    told = called(project, "fuzz.py", "--n", "480", "--seed", "1000")
    assert "480 files" in told
