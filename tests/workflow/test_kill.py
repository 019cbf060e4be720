"""A run that is killed without warning goes on where it was, and ends with the same content."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

from pipeline.store.inspect import inspect_artifact, is_artifact


def contents(folder) -> dict[str, str]:
    """Content digest of every artifact, by its path below ``folder``."""
    return {
        str(path.relative_to(folder)): inspect_artifact(path)[0].content
        for path in sorted(folder.rglob("*"))
        if is_artifact(path)
    }


def test_kill_in_the_middle_of_a_stage_then_resume(finished, make_workspace, tmp_path):
    workspace = make_workspace(tmp_path / "run")
    shutil.copytree(finished.folder, workspace.folder)
    results = workspace.folder / "results" / "small"
    expected = contents(results)
    target = "results/small/model.pt"
    for floor in ("motion", "bottleneck", "explain", "logs"):
        shutil.rmtree(results / floor)
    (workspace.folder / target).unlink()
    running = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(finished.project / "Snakefile"),
            "--directory",
            str(workspace.folder),
            "--cores",
            "1",
            target,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # A stage opens its log first. In the middle of the first of three pose jobs everything dies at once.
    while not list(results.glob("logs/poses/*.log")):
        assert running.poll() is None, running.stderr.read()
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    running.stderr.close()
    assert len(list(results.glob("motion/poses/*.zarr.zip"))) < 3
    workspace.snakemake("--unlock", target)
    assert workspace.jobs(workspace.snakemake("--rerun-incomplete", target))["poses"] >= 1
    assert contents(results) == expected
    assert not [path for path in results.rglob(".*") if path.is_file()]
