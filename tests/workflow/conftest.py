"""A small run of the whole pipeline, made once and copied by the tests that change something."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

# Workers of pytest-xdist share the processors.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
CORES = max(1, 2 // WORKERS)

# What `make demo` asks for, of the small run.
DELIVERED = tuple(
    f"results/small/{path}" for path in ("model.pt", "explain/explanations.png", "demo/evaluation.parquet")
)

SMALL = {
    "data": {
        "shards": 3,
        "index": {"source": "generated", "validation_fraction": 0.34},
        "decode": {"size": 112},
    },
    "demo": {"generate": {"train_per_class": 5, "test_per_class": 1, "shifted_per_class": 1}},
    "bottleneck": {"classifier": {"n_lambdas": 20}, "concept_layers": {"max_steps": 200}},
}


# Read by every Python process of a run: notes what each stage opens, where `OPENED` names a folder.
SPY = """
import json, os, sys
if "--settings" in sys.orig_argv and os.environ.get("OPENED"):
    note = open(f"{os.environ['OPENED']}/{os.getpid()}.jsonl", "w")
    note.write(json.dumps(sys.orig_argv) + chr(10))
    def hook(event, arguments):
        if event == "open" and isinstance(arguments[0], (str, os.PathLike)) and isinstance(arguments[1] or "r", str):
            note.write(json.dumps([str(arguments[0]), arguments[1] or "r"]) + chr(10))
            note.flush()
    sys.addaudithook(hook)
"""


class Workspace:
    """A folder with a configuration and results, and Snakemake to run in it."""

    def __init__(self, folder: Path, project: Path):
        self.folder = folder
        self.project = project

    def configure(self, config: dict) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))

    def config(self) -> dict:
        return yaml.safe_load((self.folder / "config.yaml").read_text())

    def snakemake(
        self, *arguments: str, check: bool = True, cores: int = CORES, **options
    ) -> subprocess.CompletedProcess:
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(self.project / "Snakefile"),
            "--directory",
            str(self.folder),
            "--cores",
            str(cores),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL, **options)
        if check and done.returncode:
            logs = "\n".join(f"== {path}\n{path.read_text()[-2000:]}" for path in self.folder.rglob("logs/**/*.log"))
            raise AssertionError(f"snakemake failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}\n{logs[-6000:]}")
        return done

    def copy_project(self) -> Path:
        """A copy of the project to edit, which all further commands run."""
        copy = self.folder / "project"
        shutil.copytree(self.project / "pipeline", copy / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("workflow", "envs"):
            shutil.copytree(self.project / name, copy / name)
        shutil.copy2(self.project / "Snakefile", copy / "Snakefile")
        self.project = copy
        return copy

    def planned(self, *targets: str) -> dict[str, int]:
        """Rules that a dry run would execute → number of jobs."""
        return self.jobs(self.snakemake("-n", *targets))

    @staticmethod
    def jobs(done: subprocess.CompletedProcess) -> dict[str, int]:
        """Rules that a run has executed, or a dry run would, → number of jobs."""
        pattern = r"^(?:local)?(?:rule|checkpoint) (\w+):"
        return dict(Counter(re.findall(pattern, done.stdout + done.stderr, re.MULTILINE)))

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """The ``conceptreel`` command."""
        environment = {**os.environ, "PYTHONPATH": str(self.project)}
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def stale(self, target: str) -> dict:
        """What ``conceptreel stale`` answers."""
        done = self.command("stale", target, "--json", check=False)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    def metrics(self, dataset: str) -> dict:
        return json.loads((self.folder / "results" / dataset / "metrics.json").read_text())


def small_configuration(project: Path) -> dict:
    """The demo with few clips in several shards, named ``small``."""
    demo = yaml.safe_load((project / "pipeline/data/sets/demo.yaml").read_text())["demo"]
    for section, value in SMALL.items():
        demo[section] = {**demo.get(section, {}), **value}
    demo["context"]["prompts"] |= {"grid": [5, 5], "n_frames": 2}
    return {"datasets": {"small": demo}}


@pytest.fixture(scope="session")
def small_config(project) -> dict:
    return small_configuration(project)


@pytest.fixture(scope="session")
def make_workspace(project):
    """Folder → an empty workspace in it."""
    return lambda folder: Workspace(folder, project)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, make_workspace, small_config) -> Workspace:
    """A finished small run; do not change it, take `workspace`."""
    # As deep as the copies: Snakemake remembers the sources of the code by their paths from the run folder.
    if WORKERS == 1:
        folder = tmp_path_factory.mktemp("finished") / "run"
    else:  # one for all workers
        folder = tmp_path_factory.getbasetemp().parent / "shared" / "finished" / "run"
    folder.parent.mkdir(parents=True, exist_ok=True)
    workspace = make_workspace(folder)
    with FileLock(folder.parent / "lock"):
        if not (folder.parent / "complete").exists():
            folder.mkdir()
            workspace.configure(small_config)
            opened = folder.parent / "opened"
            opened.mkdir()
            (folder.parent / "sitecustomize.py").write_text(SPY)
            path = os.pathsep.join(filter(None, (str(folder.parent), os.environ.get("PYTHONPATH"))))
            # Others wait for it, and leave their processor.
            workspace.snakemake(*DELIVERED, cores=2, env={**os.environ, "OPENED": str(opened), "PYTHONPATH": path})
            (folder.parent / "complete").touch()
    return workspace


@pytest.fixture
def workspace(finished, tmp_path) -> Workspace:
    """A copy of the finished run, times of change kept."""
    shutil.copytree(finished.folder, tmp_path / "run", symlinks=True)
    return Workspace(tmp_path / "run", finished.project)
