"""Ids of videos go wherever files go, and a known one is answered without torch."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.methods.commands import file_of
from pipeline.store.names import NameUnknown

MODEL, ID = "results/small/model.pt", "ball_lift_test_000"
VIDEO = f"results/small/demo/videos/{ID}.mp4"
WATCHED = """
import sys
from pipeline.cli import main
code = main(sys.argv[1:])
print(*(name for name in ("torch", "transformers", "sklearn") if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", MODEL, ID],
        ["why", MODEL, ID],
        ["contrast", MODEL, ID, "ball_lift", "ball_squat"],
        ["edit", MODEL, ID, "--without", "round ball"],
        ["failures", MODEL],
        ["sanity", "-h"],
    ],
    ids=" ".join,
)
def test_what_a_run_knows_needs_no_torch(finished, arguments):
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        cwd=finished.folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(finished.project)},
    )
    assert done.returncode == 0 and done.stdout, done.stderr
    assert done.stderr.strip() == ""


def test_why_in_words_and_for_programs(finished):
    told = finished.command("why", MODEL, ID).stdout
    first, second = told.split("\n\n")
    assert first.startswith(f"{ID}: ") and " and not " in second.splitlines()[0]
    answer = json.loads(finished.command("why", MODEL, ID, "--json").stdout)
    ranked = sorted(answer["probabilities"], key=answer["probabilities"].get)
    assert answer["class"] == ranked[-1] and f"and not {ranked[-2]}" in answer["rather"]["title"]


def test_the_file_of_an_id(finished, monkeypatch):
    """For models that keep no videos of their run, and for what needs the whole file."""
    monkeypatch.chdir(finished.folder)
    call = argparse.Namespace(model=Path(MODEL), results=None, config=Path("config.yaml"))
    assert file_of(call, ID) == VIDEO and file_of(call, "other.mp4") == "other.mp4"
    with pytest.raises(NameUnknown, match="did you mean"):
        file_of(call, f"{ID}0")


@pytest.mark.slow
def test_a_timeline_of_an_id_is_that_of_its_file(finished, tmp_path):
    for name, source in (("id", ID), ("file", VIDEO)):
        finished.command("explain", MODEL, source, "--timeline", "--out", str(tmp_path / name))
    one, other = (json.loads((tmp_path / name / "timeline.json").read_text()) for name in ("id", "file"))
    assert one["windows"] == other["windows"]
