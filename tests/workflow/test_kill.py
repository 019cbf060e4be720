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
            "--forcerun",
            "poses",
            "--",
            target,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # Snakemake removes the old result just before it starts the job. In the middle of that job everything dies at once.
    first = results / "motion/poses/000-of-003.zarr.zip"
    others = [results / f"motion/poses/{shard}-of-003.zarr.zip" for shard in ("001", "002")]
    while first.exists() and all(path.exists() for path in others):
        assert running.poll() is None, running.stderr.read()
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    running.stderr.close()
    assert contents(results) != expected
    workspace.snakemake("--unlock", target)
    assert workspace.jobs(workspace.snakemake("--rerun-incomplete", target))["poses"] >= 1
    assert contents(results) == expected
    assert not [path for path in results.rglob(".*") if path.is_file()]
