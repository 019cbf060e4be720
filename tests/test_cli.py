"""What the command does with its output, whatever it prints; its help; what it imports before it answers."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import SHELLS, main, parser
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


# ------------------------------------------------------------------------------------------------------------- help


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = parser()._subparsers._group_actions
    return action.choices


def test_every_command_has_an_example_that_parses_and_words_for_every_argument():
    for name, command in commands().items():
        assert command.description, name
        call = parser().parse_args(shlex.split(command.example))
        assert command.example.split()[0] == name and callable(call.run)
        text = command.format_help()
        assert f"example: conceptreel {command.example}" in text
        for action in command._actions:
            assert action.help, f"{name} {action.dest}"
            # A name in capitals stands for what a person types; a default that says something is shown.
            assert action.choices or action.nargs == 0 or action.metavar or action.type in (float,), action
            if action.option_strings and action.default not in (None, False, "", [], argparse.SUPPRESS):
                assert "(default: {default})".format(**vars(action)) in " ".join(text.split()), f"{name} {action.dest}"


def test_a_class_stands_before_a_concept_everywhere():
    orders = [
        action.metavar
        for command in commands().values()
        for action in command._actions
        if isinstance(action.metavar, tuple) and {"CLASS", "CONCEPT"} <= set(action.metavar)
    ]
    assert len(orders) == 2 and all(order.index("CLASS") < order.index("CONCEPT") for order in orders)


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_every_command_and_the_shell_accepts_it(shell, capsys, tmp_path):
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert all(name in script.read_text() for name in commands()) and "--timeline" in script.read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(script)], check=True)


# ---------------------------------------------------------------------------------------------- what is not imported

SLOW = ("torch", "transformers", "sklearn", "matplotlib", "faiss", "plotly")
WATCHED = f"""
import json, sys
from pipeline.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code, [name for name in {SLOW} if name in sys.modules]]), file=sys.stderr)
"""


def watched(folder: Path, project: Path, *arguments: str) -> tuple[int, list[str], str]:
    """Exit code, slow modules that were imported, and the line on stderr before these."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project)},
    )
    *told, last = done.stderr.splitlines()
    code, slow = json.loads(last)
    return code, slow, "\n".join(told)


MISSING = [
    ["predict", "MODEL", "none.mp4"],
    ["predict", "MODEL", "folder/none"],
    ["why", "MODEL", "none.mp4"],
    ["explain", "MODEL", "none.png", "--out", "out"],
    ["explain", "MODEL", "none.png", "--timeline", "--out", "out"],
    ["contrast", "MODEL", "none.mp4", "a", "b"],
    ["ask", "MODEL", "none.mp4", "--point", "1", "1"],
    ["ask", "MODEL", "here.mp4", "--mask", "none.png"],
    ["edit", "MODEL", "none.mp4", "--without", "ball"],
    ["intervene", "MODEL", "none.mp4", "--out", "out"],
    ["disentangle", "MODEL", "none.mp4", "--action", "a", "--out", "out"],
    ["evaluate", "none.pt", "results/own"],
    ["export-model", "none.pt", "--format", "dance", "--out", "out"],
    ["predict-features", "MODEL", "none.npz"],
    ["import", "none", "--out", "new.pt"],
    ["convert", "none.pth", "--kind", "lavila", "--out", "out"],
    ["inspect", "results/none"],
    ["summary", "results/none"],
    ["status", "results/none"],
    ["export", "results/none", "--as", "npy", "--out", "out"],
    ["thumbnails", "results/none", "--out", "sheet.png"],
    ["diff", "results/none", "results/own"],
    ["init", "own", "none"],
    ["couplings", "results/none"],
    ["transfer", "results/none"],
    ["failures", "none.pt"],
    ["sanity", "none.pt"],
    ["suggest-edits", "none.pt"],
    ["ablate", "results/none", "--table", "clips"],
]


@pytest.mark.parametrize("arguments", MISSING, ids=lambda arguments: " ".join(arguments))
def test_what_is_missing_is_told_before_anything_slow_is_imported(folder, project, arguments):
    """The model need not open: what was typed is looked at first."""
    (folder / "model.pt").write_bytes(b"no model")
    (folder / "here.mp4").write_bytes(b"")
    arguments = ["model.pt" if item == "MODEL" else item for item in arguments]
    code, slow, told = watched(folder, project, *arguments)
    assert code == 2 and slow == [] and told.startswith("conceptreel: ") and len(told.splitlines()) == 1
    assert "none" in told and "Traceback" not in told


@pytest.mark.parametrize("arguments", [("--help",), ("predict", "--help"), ("--version",), ("completion", "bash")])
def test_help_imports_nothing_slow(folder, project, arguments):
    assert watched(folder, project, *arguments)[:2] == (0, [])


def test_a_near_name_is_proposed(folder, project):
    (folder / "model.pt").write_bytes(b"no model")
    (folder / "kick.mp4").write_bytes(b"")
    assert "did you mean kick.mp4?" in watched(folder, project, "predict", "model.pt", "kik.mp4")[2]
