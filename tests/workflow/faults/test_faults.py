"""What a run does when its surroundings fail: it says so in one line, leaves nothing half, and goes on afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from contents import contents, differences

from pipeline.jobs import restart

pytestmark = pytest.mark.slow

TARGET = "results/small/model.pt"
SIGNALS = [f"results/small/data/signal/{shard}-of-003.zarr.zip" for shard in ("000", "001", "002")]
KEYFRAMES = [f"results/small/motion/keyframes/{shard}-of-003.parquet" for shard in ("000", "001", "002")]
# Python runs it before the job.
ONLY_SHARD = "import sys\nif '--log' in sys.orig_argv and '001-of-003' in sys.orig_argv:\n"


@pytest.fixture
def expected(finished) -> dict[str, str]:
    """Contents of the undisturbed run."""
    return contents(finished.folder / "results/small")


def found(workspace) -> dict[str, str]:
    return contents(workspace.folder / "results/small")


def remove(workspace, *places: str) -> None:
    for place in places:
        path = workspace.folder / "results/small" / place
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def injected(tmp_path: Path, code: str) -> dict[str, str]:
    """Environment in which every Python process begins with some code."""
    folder = tmp_path / "injected"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return {**os.environ, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}


@contextlib.contextmanager
def small_disk(folder: Path, spare_kilobytes: int):
    """The folder on a file system of its own, with so much room left; yields a way to mount it with other options."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    kilobytes = sum(path.lstat().st_blocks for path in folder.rglob("*")) // 2 + spare_kilobytes
    moved = folder.with_name("moved")
    folder.rename(moved)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, timeout=60).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        shutil.copytree(moved, folder, symlinks=True, dirs_exist_ok=True)
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True, timeout=60)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=60)


def test_a_full_disk_costs_the_run_and_no_content(workspace, expected):
    remove(workspace, "data/clips", "data/signal")
    with small_disk(workspace.folder, 2000) as remount:
        full = workspace.snakemake(*SIGNALS, check=False)
        assert full.returncode != 0
        told = workspace.command("status", "results/small", check=False).stdout
        assert "No space left on device" in full.stdout + full.stderr + told
        half = found(workspace)  # reads everything that bears a name in full
        assert half.keys() < expected.keys()
        remount("size=2g")
        workspace.snakemake(*SIGNALS)
        assert differences(found(workspace), expected) == []


def test_read_only_results_can_be_looked_at_and_nothing_else(workspace, expected):
    remove(workspace, "motion/keyframes/001-of-003.parquet")
    with small_disk(workspace.folder, 100_000) as remount:
        remount("ro")
        refused = workspace.snakemake(TARGET, check=False)
        assert refused.returncode != 0
        assert "nothing can be computed in" in refused.stderr and "Read-only file system" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert len(json.loads(workspace.command("inspect", "results/small", "--json").stdout)) > 20
        workspace.command("status", "results/small")
        video = sorted(workspace.folder.glob("results/small/demo/videos/*.mp4"))[0]
        workspace.command("predict", TARGET, str(video))
        remount("rw")
        workspace.snakemake(KEYFRAMES[1])
        assert differences(found(workspace), expected) == []


def test_a_shard_without_memory_is_told_and_the_others_are_kept(workspace, expected, tmp_path):
    """The second of three shards may allocate 300 MB beyond what Python has."""
    remove(workspace, "data/clips", "data/signal")
    code = ONLY_SHARD + "    import resource\n    resource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20))\n"
    done = workspace.snakemake("--keep-going", *SIGNALS, check=False, env=injected(tmp_path, code))
    assert done.returncode != 0
    stages = {
        stage["stage"]: stage
        for stage in json.loads(workspace.command("status", "results/small", "--json", check=False).stdout)
    }
    (failure,) = stages["decode"]["failures"]
    assert failure["job"] == "decode 001-of-003"
    assert "memory" in failure["error"]
    assert stages["decode"]["done"] == 2
    assert workspace.jobs(workspace.snakemake(*SIGNALS)) == {"decode": 1}
    assert differences(found(workspace), expected) == []


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_jumps_costs_no_content_and_no_endless_rerun(workspace, expected, days):
    """The clips come from another day when something that is made of them is made again."""
    there = time.time() + days * 86_400
    for path in (workspace.folder / "results/small/data/clips").iterdir():
        os.utime(path, (there, there))
    lost = "context/dual_encoder/001-of-003.zarr.zip"
    remove(workspace, lost)
    targets = (f"results/small/{lost}", "results/small/context/concepts.parquet")
    workspace.snakemake(*targets)
    assert differences(found(workspace), expected) == []
    assert workspace.planned(*targets) == {}


def test_of_two_drivers_at_once_one_works(workspace, expected):
    remove(workspace, "motion/keyframes", "motion/pose_clips", "motion/motion_concepts.zarr.zip")
    target = "results/small/motion/motion_concepts.zarr.zip"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(workspace.project / "Snakefile"), "--cores", "1"]
    first = subprocess.Popen(
        [*command, target], cwd=workspace.folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not list(restart.marks(workspace.folder)):
        assert first.poll() is None, first.stderr.read()
    second = workspace.snakemake(target, check=False)
    assert second.returncode != 0
    assert "another run is at work in this folder (process" in second.stdout + second.stderr
    told = first.communicate(timeout=600)[1]
    assert first.returncode == 0, told
    assert differences(found(workspace), expected) == []
    assert workspace.planned(target) == {}


def test_files_that_appear_late_are_waited_for(workspace, expected, tmp_path):
    """As on a network file system, the name of an artifact appears two seconds after its job has ended."""
    remove(workspace, "motion/keyframes")
    code = (
        "import os, sys\n"
        "if 'pipeline.motion.keyframes' in sys.orig_argv and '--log' in sys.orig_argv:\n"
        "    import subprocess\n"
        "    def late(source, target):\n"
        "        os.link(source, f'{target}.late')\n"
        "        later = ['sh', '-c', 'sleep 2; mv \"$0.late\" \"$0\"', str(target)]\n"
        "        subprocess.Popen(later, start_new_session=True, stdin=-3, stdout=-3, stderr=-3)\n"
        "    os.replace = late\n"
    )
    workspace.snakemake(*KEYFRAMES, env=injected(tmp_path, code))
    assert differences(found(workspace), expected) == []
