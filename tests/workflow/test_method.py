"""A further method is a folder: that of CONTRIBUTING.md, added to a copy of the project and removed again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

TARGET = "results/small/toy/model.pt"
BLOCK = re.compile(r"^`(pipeline/methods/toy/\w+\.py)`.*?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_method_of_the_guide(workspace, project):
    files = dict(BLOCK.findall((project / "CONTRIBUTING.md").read_text()))
    assert set(files) == {f"pipeline/methods/toy/{name}.py" for name in ("method", "model", "train")}
    lines = [line for text in files.values() for line in text.splitlines() if line.strip()]
    assert len(lines) <= 80, len(lines)

    copy = workspace.copy_project()
    workspace.snakemake("--touch", "results/small/model.pt")
    before = workspace.command("stages").stdout
    for path, text in files.items():
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_text(text)
    checks = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--ignore=I001",
        "--config",
        str(project / "pyproject.toml"),
        copy / "pipeline/methods/toy",
    ]
    subprocess.run(checks, check=True, capture_output=True)

    assert workspace.planned(TARGET) == {"toy_model": 1}
    workspace.snakemake(TARGET)
    assert workspace.planned(TARGET) == {} and workspace.planned("results/small/model.pt") == {}
    headline = json.loads((workspace.folder / "results/small/toy/metrics.json").read_text())["headline"]
    assert headline["name"] == "top-1" and headline["value"] >= 0.5

    video = next((workspace.folder / "results/small/demo/videos").glob("ball_lift_train_000.mp4"))
    assert workspace.command("predict", TARGET, str(video)).stdout.startswith(f"{video}: ball_lift\n")
    told = workspace.command("explain", TARGET, str(video), "--out", "why").stdout
    assert "ball_lift" in told and json.loads((workspace.folder / "why/explanation.json").read_text())["nearest"]
    refused = workspace.command("contrast", TARGET, str(video), "ball_lift", "ball_squat", check=False)
    assert refused.returncode == 2
    assert (
        refused.stderr == "conceptreel: a model of the method toy cannot contrast; it can predict, explain and save\n"
    )
    summary = workspace.command("summary", "results/small").stdout
    assert "the class whose mean feature is nearest" in summary and f"model     {TARGET}" in summary
    assert "toy_model" in workspace.command("status", "results/small").stdout
    assert "toy_model: pipeline.methods.toy.train" in workspace.command("stages", "toy_model").stdout

    # Its settings are its own: another shrinkage makes its model again, and nobody else's.
    config = workspace.config()
    config["datasets"]["small"]["toy"] = {"shrinkage": 0.5}
    workspace.configure(config)
    assert workspace.planned(TARGET) == {"toy_model": 1} and workspace.planned("results/small/model.pt") == {}
    del config["datasets"]["small"]["toy"]
    workspace.configure(config)

    shutil.rmtree(copy / "pipeline/methods/toy")
    assert workspace.command("stages").stdout == before
    assert workspace.planned("results/small/model.pt") == {}
    gone = workspace.command("predict", TARGET, str(video), check=False)
    assert gone.returncode == 2 and "the method `toy`, which this release does not have" in gone.stderr
