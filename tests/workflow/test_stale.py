"""`conceptreel stale` names exactly the jobs that a dry run would execute, and what has changed for them."""

from __future__ import annotations

from collections import Counter

import pytest

TARGET = "results/small/model.pt"
TAIL = {"classifier": 1, "model": 1, "named": 1}


def jobs(answer: dict) -> dict[str, int]:
    return dict(Counter(job["stage"] for job in answer["reruns"]))


def causes(answer: dict, stage: str) -> set[tuple[str, str, str]]:
    found = [cause for job in answer["reruns"] if job["stage"] == stage for cause in job["causes"]]
    return {(cause["kind"], cause["what"], cause["how"]) for cause in found}


def configure(workspace, floor: str, stage: str, **values) -> None:
    config = workspace.config()
    config["datasets"]["small"][floor].setdefault(stage, {}).update(values)
    workspace.configure(config)


@pytest.mark.slow
def test_a_changed_key_and_what_was_touched_to_hide_it(workspace):
    done = workspace.command("stale", "results/small")
    assert done.stdout.endswith("jobs would run; it is up to date\n")
    configure(workspace, "motion", "pose_clips", length=15)
    configure(workspace, "bottleneck", "classifier", alpha=0.9)
    answer = workspace.stale(TARGET)
    assert jobs(answer) == workspace.planned(TARGET)
    assert causes(answer, "pose_clips") == {("setting", "motion.pose_clips.length", "20 → 15")}
    # Snakemake does not look at the parameters of a job that runs anyway; the artifact knows.
    assert causes(answer, "classifier") == {("setting", "bottleneck.classifier.alpha", "0.99 → 0.9")}
    assert causes(answer, "motion_concepts") == set()
    by_stage = {job["stage"]: job for job in answer["reruns"]}
    assert by_stage["motion_concepts"]["follows"] == ["pose_clips"]
    assert all(job["seconds"] > 0 for job in answer["reruns"]) and answer["seconds"] > 1
    workspace.snakemake("--touch", TARGET)
    answer = workspace.stale(TARGET)
    assert answer["reruns"] == []
    stale = {path for path in answer["believed"] if "pose_clips" in path}
    assert len(stale) == 3 and all("pose_clips.length: 20 → 15" in answer["believed"][path] for path in stale)
    assert "results/small/bottleneck/classifier.zarr.zip" in answer["believed"]
    assert not any("data/" in path for path in answer["believed"])


@pytest.mark.slow
def test_a_lost_artifact(workspace):
    lost = "results/small/motion/motion_concepts.zarr.zip"
    (workspace.folder / lost).unlink()
    answer = workspace.stale(TARGET)
    assert jobs(answer) == workspace.planned(TARGET) == {} and answer["unneeded"] == [lost]
    (workspace.folder / TARGET).unlink()
    answer = workspace.stale(TARGET)
    assert jobs(answer) == workspace.planned(TARGET)
    assert causes(answer, "motion_concepts") == {("missing", lost, "is not there")}
    assert ("missing", TARGET, "is not there") in causes(answer, "named")


@pytest.mark.slow
def test_an_edited_source(workspace):
    copy = workspace.copy_project()
    # The copied encoders are other files with the same content: inputs have changed names, which is told as such.
    workspace.snakemake("--touch", TARGET)
    solver = copy / "pipeline/learning/glm.py"
    solver.write_text(solver.read_text().replace("step = 0.5**halving", "step = 0.25**halving"))
    answer = workspace.stale(TARGET)
    assert jobs(answer) == workspace.planned(TARGET) == {"baselines": 1, **TAIL}
    assert causes(answer, "classifier") == {("source", "pipeline/learning/glm.py: _newton", "edited")}


def test_a_changed_video(workspace):
    video = "results/small/demo/videos/ball_lift_test_000.mp4"
    with open(workspace.folder / video, "ab") as file:
        file.write(b"\0")
    answer = workspace.stale(TARGET)
    assert jobs(answer) == workspace.planned(TARGET)
    assert jobs(answer)["decode"] == jobs(answer)["poses"] == 1
    for stage in ("decode", "poses"):
        assert causes(answer, stage) == {("input", video, "is newer than what was made from it")}


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("results/smal/model.pt", "the data set `smal` is not configured; did you mean `small`?"),
        ("results/small/modell.pt", "Snakemake cannot plan results/small/modell.pt"),
        ("model.pt", "is not below a folder `results`"),
    ],
)
def test_bad_input(finished, target, words):
    done = finished.command("stale", target, check=False)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
