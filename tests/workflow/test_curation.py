"""What a curated run makes again, from the command to the model, and what it says of concepts that are gone."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml

from pipeline.methods.dance import curation
from pipeline.methods.dance.bottleneck.recogniser import read_model

TARGET = "results/small/model.pt"
TARGETS = (TARGET, "results/small/explain/explanations.png")
NAMES = {"named": 1, "pictures": 1}
# Nothing of a video is looked at again: no decoding, poses, features, prompts or clustering.
BOTTLENECK = {"readings": 1, "concept_layers": 1, "classifier": 1, "model": 1, **NAMES}


def curate(workspace, *arguments: str) -> dict:
    return json.loads(workspace.command("curate", "results/small", "--json", *arguments).stdout)


def test_names_rerun_the_last_stage_and_merges_and_drops_the_bottleneck(workspace):
    listed = curate(workspace)
    assert not (workspace.folder / "results/small" / curation.FILE).exists() and listed["outdated"] == ""
    motions = [row["was"] for row in listed["concepts"] if row["type"] == "motion"]
    assert len(motions) > 3 and {row["type"] for row in listed["concepts"]} == {"motion", "object", "scene"}
    said = curate(workspace, "--name", motions[0], "lifts both hands", "--approve", motions[0])
    assert said["outdated"] == "names" and said["command"] == f"snakemake --cores all {TARGET}"
    assert workspace.planned(*TARGETS) == NAMES
    (job,) = workspace.stale(TARGET)["reruns"]
    assert job["stage"] == "named" and {cause["kind"] for cause in job["causes"]} == {"setting"}
    assert all(cause["what"].startswith("results/<data set>/curation.yaml") for cause in job["causes"])
    # Remarks decide nothing.
    (workspace.folder / "results/small" / curation.FILE).write_text("# nothing\n")
    assert curate(workspace, "--note", "scene:beach", "sand, mostly")["outdated"] == ""
    assert workspace.planned(*TARGETS) == {}
    for change in (["--merge", motions[1], motions[2]], ["--drop", motions[3]], ["--drop", "object:umbrella"]):
        curate(workspace, *change)
        assert workspace.planned(*TARGETS) == BOTTLENECK
        (workspace.folder / "results/small" / curation.FILE).unlink()
    # What else is computed from the model, and takes hours, does not run again for a name.
    checks = "results/small/explain/retrained.parquet"
    before = workspace.planned(checks)
    curate(workspace, "--name", motions[0], "lifts both hands")
    assert workspace.planned(checks) == before == {"retrained": 1}


def test_the_commands_in_the_documentation_do_what_it_says(workspace, project):
    page = (project / "docs/curation.md").read_text().partition("```sh\n")[2].partition("```")[0]
    for line in page.splitlines():
        _, *arguments = shlex.split(line.replace("results/demo", "results/small"), comments=True)
        workspace.command(*arguments)
    said = curation.read(workspace.folder / "results/small" / curation.FILE)
    of = {entry.was: entry for entry in said.entries.values()}
    assert of["motion 004"] == curation.Entry("motion 004", "lifts left hand", approved=True)
    assert of["umbrella"].drop and of["motion 001"].note and "motion 002" not in of


@pytest.mark.slow
def test_a_curated_run(workspace):
    results = workspace.folder / "results/small"
    concepts = curate(workspace)["concepts"]
    first, second, third = [row["was"] for row in concepts if row["type"] == "motion"][:3]
    said = curate(workspace, "--merge", first, second, "--drop", third, "--name", first, "<b>both</b> arms rise")
    assert said["outdated"] == "structure"
    path = results / curation.FILE
    gone = yaml.safe_load(path.read_text())
    gone["motion"]["0" * 15 + "a"] = {"was": "motion 099", "name": "from another run"}
    path.write_text(yaml.safe_dump(gone))
    refused = workspace.command("failures", TARGET, check=False)
    assert refused.returncode == 2 and "results/small is stale" in refused.stderr
    assert workspace.jobs(workspace.snakemake(*TARGETS)) == BOTTLENECK
    assert workspace.planned(*TARGETS) == {} and curate(workspace)["outdated"] == ""
    model = read_model(results / "model.pt")
    assert model.concepts[0] == "<b>both</b> arms rise" and model.was[0] == first
    assert not {second, third} & {*model.was} and model.about["merged"]["names"][0] == [second]
    metrics = workspace.metrics("small")
    assert metrics["curation"] == {"applied": 3, "unknown": ["motion:000000000000000a (motion 099)"]}
    line = "1 curated concept is not in this run"
    for command in (("summary", "results/small"), ("status", "results/small"), ("curate", "results/small")):
        assert workspace.command(*command).stdout.count(line) == 1, command
    assert json.loads(workspace.command("status", "results/small", "--json").stdout)
    # A command edits the file, and keeps what it does not know.
    curate(workspace, "--forget", second)
    assert yaml.safe_load(path.read_text())["motion"]["000000000000000a"]["name"] == "from another run"
    assert str(path.relative_to(workspace.folder)) not in workspace.command("prune", "results", "--delete").stdout
    assert path.is_file()
    video = next((results / "demo/videos").glob("*_test_000.mp4"))
    told = json.loads(workspace.command("predict", TARGET, str(video), "--top", "99", "--json").stdout)
    names = {row["concept"] for row in told[0]["contributions"]}
    assert first not in names and names <= set(model.concepts)
    # Taken back, all is as it was: the same bytes in the model.
    path.unlink()
    workspace.snakemake(*TARGETS)
    assert workspace.metrics("small").get("curation") is None
    assert [*read_model(results / "model.pt").concepts[:3]] == [first, second, third]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("motion: {x: {}}", "is no digest of 16 hexadecimal digits"),
        ('scene: {aaaaaaaaaaaaaaaa: {name: "a\\e[2Jb"}}', "holds a control character"),
        ("motion: [", "is not valid YAML"),
    ],
)
def test_a_bad_file_stops_everything_in_one_line(workspace, text, words):
    (workspace.folder / "results/small" / curation.FILE).write_text(text)
    done = workspace.snakemake("-n", TARGET, check=False)
    assert done.returncode and words in done.stderr.splitlines()[-1] and "most recent call last" not in done.stderr
    for command in (("curate", "results/small"), ("status", "results/small"), ("stale", TARGET)):
        told = workspace.command(*command, check=False)
        assert told.returncode == 2 and words in told.stderr and len(told.stderr.splitlines()) == 1, told
    told = workspace.command("curate", "results/small", "--drop", "object:umbrella", check=False)
    assert told.returncode == 2 and (workspace.folder / "results/small" / curation.FILE).read_text() == text


def test_commands_refuse_in_one_line_and_write_nothing(workspace):
    for arguments, words in (
        (["--name", "motion 00", "x"], "did you mean"),
        (["--merge", "motion 000", "object:umbrella"], "merge concepts of one type"),
        (["--merge", "motion 000"], "a merge needs two or more concepts"),
        (["--name", "motion 000", "motion 001"], "would both be called"),
        (["--name", "motion 000", "a\x1b[31m"], "control character"),
        (["--forget", "motion 000"], "nothing to forget"),
    ):
        told = workspace.command("curate", "results/small", *arguments, check=False)
        assert told.returncode == 2 and words in told.stderr.splitlines()[-1] and "Traceback" not in told.stderr
    assert not (workspace.folder / "results/small" / curation.FILE).exists()
    told = workspace.command("curate", "results/none", check=False)
    assert told.returncode == 2 and "results/none has no concepts yet" in told.stderr
