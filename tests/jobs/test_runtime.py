"""What the Snakefile tells a job reaches the networks as an argument."""

from __future__ import annotations

import argparse
import ast
import json

from pipeline.jobs.runtime import AUTO, RUNTIME_VARIABLE, Runtime
from pipeline.jobs.stage import Job

# What takes a runtime and has a default for calls from Python.
TAKERS = {
    "load_backbone",
    "load_dual_encoder",
    "build_classifier",
    "load_estimator",
    "load_detector",
    "VideoPredictor",
    "Plan",
}


def job() -> Job:
    call = argparse.Namespace(settings="{}", input=[], output=[], dataset="small", shard="", threads=1)
    return Job("index", "pipeline.data.index", call)


def test_what_is_not_told_is_left_to_the_machine():
    assert Runtime.from_mapping({}) == AUTO
    told = {"device": "cpu", "batch_size": {"poses": 3}, "decoder": {"seconds": 5}, "roots": {"small": "/data"}}
    assert Runtime.from_mapping(told) == Runtime("cpu", batch_size={"poses": 3}, decoder={"seconds": 5})


def test_a_job_reads_it_once_at_its_entry(monkeypatch):
    monkeypatch.setenv(RUNTIME_VARIABLE, json.dumps({"device": "cuda:1", "roots": {"small": "/data"}}))
    found = job()
    monkeypatch.delenv(RUNTIME_VARIABLE)
    assert found.runtime == Runtime(device="cuda:1") and str(found.root) == "/data"
    assert job().runtime == AUTO and str(job().root) == "."


def test_nothing_below_the_entries_reads_it_from_the_environment(project):
    readers = [path for path in (project / "pipeline").rglob("*.py") if "RUNTIME_VARIABLE" in path.read_text()]
    named = {str(path.relative_to(project / "pipeline")) for path in readers}
    assert named == {"jobs/runtime.py", "jobs/stage.py", "ablations/commands.py"}


def calls(source: str) -> list[tuple[ast.Call, bool]]:
    """Calls of takers, each with whether it stands in a function that must be given a runtime itself."""
    tree, told = ast.parse(source), set()
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names = [argument.arg for argument in function.args.args]
        if "runtime" in names[: len(names) - len(function.args.defaults)]:
            told |= set(ast.walk(function))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(node, node in told) for node in found if getattr(node.func, "id", "") in TAKERS]


def hands_it_on(call: ast.Call, told: bool) -> bool:
    given = [ast.unparse(value) for value in (*call.args, *(item.value for item in call.keywords))]
    return "job.runtime" in given or (told and "runtime" in given)


def test_stages_hand_it_on(project):
    """A default would hide a stage that forgets it: its networks would run on another device than was asked for."""
    stages = [path for path in (project / "pipeline").rglob("*.py") if 'stage.run("' in path.read_text()]
    made = {path: calls(path.read_text()) for path in stages}
    assert sum(map(bool, made.values())) >= 10
    forgotten = {
        path.name: [ast.unparse(call) for call, told in found if not hands_it_on(call, told)]
        for path, found in made.items()
    }
    assert {name: found for name, found in forgotten.items() if found} == {}
