"""What the command does with its output, whatever it prints."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.cli import main
from pipeline.store.tables import write_table


@pytest.fixture
def folder(tmp_path):
    """Enough artifacts for a listing that no pipe holds at once."""
    import pyarrow as pa

    record = {"stage": "index", "settings": {}, "code_digest": "", "counts": {"ok": 1}, "seconds": 0.0}
    record |= {"module": "pipeline.data.index", "inputs": {}, "settings_digest": ""}
    for number in range(3):
        path = tmp_path / f"results/own/data/{number}.parquet"
        write_table(path, pa.table({"x": [1]}), {"schema_version": 1, "failed": [
            {"video_id": f"{number}_{row}", "reason": "broken" * 20} for row in range(500)
        ]}, record)  # fmt: skip
    return tmp_path


def command(folder, *arguments: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    whole = [sys.executable, "-m", "pipeline.cli", *arguments]
    return subprocess.Popen(whole, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("arguments", [("inspect", "results/own"), ("inspect", "results/own", "--json"), ("--help",)])
def test_a_reader_that_has_seen_enough_is_no_error(folder, project, monkeypatch, arguments):
    monkeypatch.chdir(project)
    process = command(folder, *arguments, stdout=subprocess.PIPE)
    process.stdout.close()  # as `head` does, only sooner
    assert (process.stderr.read(), process.wait()) == ("", 0)


def test_a_full_disk_is_one_line(folder, project, monkeypatch):
    monkeypatch.chdir(project)
    with open("/dev/full", "w") as full:
        process = command(folder, "inspect", "results/own", stdout=full)
        assert process.stderr.read() == "conceptreel: [Errno 28] No space left on device\n" and process.wait() == 2


def test_a_mistake_in_another_section_stops_no_command(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "config.yaml").write_text("datasets: {own: {data: {index: {source: folders}}}, other: {moton: {}}}\n")
    for arguments in (["inspect", "results/own"], ["status", "results/own"], ["prune", "results/own"]):
        assert main(arguments) == 0, arguments
    (folder / "results/own").rename(folder / "results/other")
    for arguments in (["inspect", "results/other"], ["status", "results/other"], ["prune", "results"]):
        capsys.readouterr()
        assert main(arguments) == 2
        assert "did you mean `motion`" in capsys.readouterr().err
