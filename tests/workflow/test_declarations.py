"""What stages declare, held against what they opened and wrote in a run of the small demo."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.rules.graph import STAGES, closure, reads

# Opened by code that Python does not see: a network's weights by safetensors, videos by decoders.
UNSEEN = (".safetensors", ".mp4")


def values(call: list[str], flag: str) -> list[list[str]]:
    """What follows each occurrence of a flag, up to the next one."""
    found: list[list[str]] = []
    for word in call:
        if word.startswith("--"):
            found.append([word])
        elif found:
            found[-1].append(word)
    return [words[1:] for words in found if words[0] == flag]


@pytest.fixture(scope="module")
def jobs(finished) -> list[tuple[list[str], list[tuple[str, str]]]]:
    """Call and opened files, below the run folder, of every job."""
    found = []
    for path in sorted((finished.folder.parent / "opened").glob("*.jsonl")):
        call, *opened = map(json.loads, path.read_text().splitlines())
        inside = [(os.path.relpath(finished.folder / name, finished.folder), mode) for name, mode in opened]
        found.append((call, [(name, mode) for name, mode in inside if name.startswith("results/")]))
    return found


def name_of(call: list[str]) -> str:
    (stage,) = (name for name, stage in STAGES.items() if stage.module == call[call.index("-m") + 1])
    return stage


def test_every_stage_of_the_run_was_watched(jobs, finished):
    section = load(finished.folder / "config.yaml").datasets["small"]
    expected = {
        name: len(
            list(
                (finished.folder / "results/small").glob(
                    next(iter(STAGES[name].writes.values())).replace("{shard}", "*")
                )
            )
        )
        for name in closure(section, ["named", "pictures", "evaluate"])
    }
    assert Counter(name_of(call) for call, _ in jobs) == expected


def test_calls_are_the_declarations(jobs, finished):
    """Inputs and outputs by name: those of the declaration, and files only where the configuration has them."""
    section = load(finished.folder / "config.yaml").datasets["small"]
    for call, _ in jobs:
        name = name_of(call)
        given = {words[0]: words[1:] for words in values(call, "--input")}
        assert given.keys() == STAGES[name].reads.keys(), name
        assert {key for key, paths in given.items() if paths} == reads(section, name).keys(), name
        assert {words[0] for words in values(call, "--output")} == STAGES[name].writes.keys(), name


def test_a_stage_opens_what_it_declares_and_nothing_else(jobs, finished):
    for call, opened in jobs:
        name = name_of(call)
        inputs = {path for words in values(call, "--input") for path in words[1:]}
        outputs = {path for words in values(call, "--output") for path in words[1:]}
        read = {path for path, mode in opened if mode[0] == "r"}
        written = {path for path, mode in opened if mode[0] != "r"}
        own = outputs | set(values(call, "--log")[0])
        folders = {str(Path(path).parent) for path in own}
        # Temporary names beside the outputs, which the writer looks at before it renames them.
        beside = {
            path for path in read | written if str(Path(path).parent) in folders and Path(path).name.startswith(".")
        }
        videos = {path for path in read | written if path.startswith("results/small/demo/videos/")}
        assert written - own - beside - videos == set(), name
        # The folder of an output is opened too, so that the renaming survives a power cut.
        assert read - inputs - own - beside - videos - folders == set(), f"{name} opens what it does not declare"
        unopened = {path for path in inputs - read if not path.endswith(UNSEEN)}
        assert unopened == set(), f"{name} declares what it does not open"
        if videos:
            assert STAGES[name].opens_videos or STAGES[name].generates, name


def test_an_undeclared_read_fails(finished, tmp_path):
    from pipeline.jobs.stage import Job, StageError, parser

    call = parser().parse_args(["--dataset", "small", "--settings", "{}", "--input", "index", "a.parquet"])
    job = Job("classifier", "pipeline.methods.dance.bottleneck.classifier", call)
    with pytest.raises(StageError, match="classifier opens `features`, which its declaration does not name"):
        list(job.read_arrays("features"))
