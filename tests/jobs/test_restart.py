from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time

import pytest

from pipeline.jobs import restart

ARTIFACT = "results/own/motion/poses/000-of-004.zarr.zip"
LONG = "results/own/demo/videos/" + "x" * 200 + ".mp4"  # Snakemake splits the names of its notes


@pytest.fixture
def dead(tmp_path):
    """A run folder whose driver was killed: two marked outputs, of which one is there, and Snakemake's locks."""
    for output in (ARTIFACT, LONG):
        encoded = base64.urlsafe_b64encode(output.encode()).decode()
        parts = [encoded[i : i + 254] for i in range(0, len(encoded), 254)]
        path = tmp_path.joinpath(restart.MARKS, *[f"@{part}" for part in parts[:-1]], parts[-1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"external_jobid": None}))
    (tmp_path / restart.LOCKS).mkdir()
    (tmp_path / restart.LOCKS / "0.output.lock").write_text(ARTIFACT)
    folder = (tmp_path / ARTIFACT).parent
    folder.mkdir(parents=True)
    for name in ("000-of-004.zarr.zip", ".123.000-of-004.zarr.zip", "001-of-004.zarr.zip", ".123.001-of-004.zarr.zip"):
        (folder / name).touch()
    return tmp_path


def left(folder):
    return sorted(path.name for path in (folder / ARTIFACT).parent.iterdir())


def test_marks_are_read_as_snakemake_writes_them(dead):
    assert {mark.output for mark in restart.marks(dead)} == {ARTIFACT, LONG}


def test_what_a_dead_driver_left_is_cleared_and_nothing_else(dead, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # no SLURM
    with restart.begin(dead):
        assert not list(restart.marks(dead)) and not list((dead / restart.LOCKS).iterdir())
        assert left(dead) == [".123.001-of-004.zarr.zip", "001-of-004.zarr.zip"]


def test_beside_a_living_driver_nothing_is_cleared(dead, caplog):
    with open(dead / restart.LOCK, "a+") as other:
        other.write("process 5 on here")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_SH)
        with restart.begin(dead):
            assert len(left(dead)) == 4 and (dead / restart.LOCKS / "0.output.lock").exists()
    assert "another run is at work in this folder (process 5 on here)" in caplog.text


def test_the_lock_ends_with_its_process(dead):
    """Killed without warning, it still lets go; and it is shared, so that two drivers can live side by side."""
    code = "import pathlib, sys; from pipeline.jobs import restart; driver = restart.begin(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", f"{code}; print('up', flush=True); input()", str(dead)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:
        assert first.stdout.readline() == second.stdout.readline() == b"up\n"
        first.kill()
        second.kill()
    (dead / restart.LOCKS / "0.output.lock").touch()
    with restart.begin(dead):
        assert not list((dead / restart.LOCKS).iterdir())


def test_marks_never_lead_outside_the_results(dead):
    victim = dead / "precious"
    victim.touch()
    for output in ("precious", "results/../precious", str(victim)):
        encoded = base64.urlsafe_b64encode(output.encode()).decode()
        (dead / restart.MARKS / encoded).write_text("{}")
    (dead / restart.MARKS / "no base 64!").write_text("{}")
    (dead / restart.MARKS / base64.urlsafe_b64encode(b"results/own/x").decode()).write_text("half a no")
    restart.clear(dead)
    assert victim.exists()


def test_orphans_on_this_machine_are_ended_and_only_they(dead):
    log = dead / "results/own/logs/poses/000-of-004.log"
    log.parent.mkdir(parents=True)
    code = "import sys; print(flush=True); sys.stdin.read()"
    words = ["pipeline.motion.poses", "--log", str(log.relative_to(dead))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": dead}
    with (
        subprocess.Popen([sys.executable, "-c", code, *words], **pipes) as orphan,
        subprocess.Popen([sys.executable, "-c", code, "pipeline.motion.poses"], **pipes) as stranger,
    ):
        orphan.stdout.readline(), stranger.stdout.readline()
        for process, path in ((orphan, log), (stranger, log.with_name("001-of-004.log"))):
            record = {"time": 0, "pid": process.pid, "host": socket.gethostname()}
            path.write_text(f"2033-05-18 03:33:20,000 INFO started {json.dumps(record)}\n")
        restart.end_orphans(dead)
        assert orphan.wait(10) == -9
        assert stranger.poll() is None
        stranger.kill()


def test_jobs_on_the_cluster_are_waited_for_or_cancelled(dead, monkeypatch, caplog):
    """`squeue` here is a script: one pending job, and one that is at work for the first two questions.

    A job of another folder and the user's own one in this folder, which may be the driver, do not count.
    """
    programs = dead / "bin"
    programs.mkdir()
    (programs / "squeue").write_text(
        f"#!/bin/sh\nn=$(cat {dead}/asked 2>/dev/null || echo 0)\necho $((n + 1)) >{dead}/asked\n"
        f"[ $n -lt 2 ] && echo '71_2|RUNNING|rule_poses|{dead}'\n"
        f"[ -f {dead}/cancelled ] || echo '80|PENDING|rule_index_wildcards_own|{dead}'\n"
        f"echo '99|RUNNING|rule_poses|{dead}/other'\necho '98|RUNNING||{dead}'\n"
    )
    (programs / "scancel").write_text(f'#!/bin/sh\necho "$@" >{dead}/cancelled\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(restart, "POLL_SECONDS", 0)
    restart.settle_cluster(dead)
    assert (dead / "cancelled").read_text() == "80\n"
    assert "waiting for 1 jobs of an earlier run that are at work: 71_2" in caplog.text


def test_results_from_the_future_are_of_today(dead, caplog):
    now = time.time()
    folder = (dead / ARTIFACT).parent
    times = {"001-of-004.zarr.zip": now + 86_400, "past.parquet": now - 86_400, "skewed.parquet": now + 5}
    for name, there in times.items():
        (folder / name).touch()
        os.utime(folder / name, (there, there))
    with restart.begin(dead):
        assert now - 1 <= (folder / "001-of-004.zarr.zip").stat().st_mtime <= time.time()
        for name in ("past.parquet", "skewed.parquet"):
            assert (folder / name).stat().st_mtime == pytest.approx(times[name], abs=1e-3)
    assert "1 results claim to be from the future" in caplog.text


def test_a_folder_that_cannot_be_written_is_left_to_snakemake(tmp_path):
    assert restart.begin(tmp_path / "none") is None


def test_a_read_only_folder_is_told(dead, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(restart.ReadOnlyError, match=r"nothing can be computed in .*Read-only file system"):
        restart.begin(dead)
