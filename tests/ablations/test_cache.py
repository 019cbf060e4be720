"""The cache of changed configurations, on a run of three tiny stages that count how often they are called."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from pipeline.ablations import cache as cache_module
from pipeline.ablations.cache import Cache, run_step
from pipeline.config import Dataset, validate
from pipeline.rules.graph import STAGES, settings, settings_digest
from pipeline.store.arrays import read_arrays, write_arrays
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.provenance import SCHEMA_VERSION, canonical

CALLS: list[str] = []


def sum_of_inputs(job) -> None:
    """A stage: the sum of all its inputs and one of its settings."""
    CALLS.append(job.name)
    total = sum(float(arrays["x"].sum()) for name in job.inputs for arrays, _ in job.read_arrays(name))
    (output,) = job.outputs
    job.write_arrays(output, {"x": np.array([total + job.settings.get("class_similarity", 0)])}, {}, n_ok=1)


@pytest.fixture
def steps(monkeypatch):
    """`dual_encoder` (two shards) → `concepts` → `concept_layers`, with a module that can be called."""
    CALLS.clear()
    module = types.ModuleType("adding_stage")
    module.build = sum_of_inputs
    monkeypatch.setitem(sys.modules, "adding_stage", module)
    monkeypatch.setattr(cache_module, "code_digest", lambda name: "code")
    monkeypatch.setattr("pipeline.jobs.stage.code_digest", lambda name: "code")
    monkeypatch.setattr("pipeline.jobs.stage.recorded_definitions", lambda name: {})

    def tiny(name, pattern, **reads):
        own = replace(STAGES[name], module="adding_stage", writes={name: pattern}, reads=reads)
        monkeypatch.setitem(STAGES, name, own)

    decode = replace(STAGES["decode"], writes={"clips": "data/clips/{shard}.zarr.zip"}, reads={})
    monkeypatch.setitem(STAGES, "decode", decode)
    tiny("dual_encoder", "context/dual_encoder/{shard}.zarr.zip", clips="decode.clips")
    tiny("concepts", "context/concepts.zarr.zip", dual_encoder="dual_encoder.dual_encoder")
    tiny("concept_layers", "bottleneck/layers.zarr.zip", concepts="concepts.concepts")


@pytest.fixture
def section() -> Dataset:
    return validate({"datasets": {"tiny": {"data": {"shards": 2}}}}).datasets["tiny"]


@pytest.fixture
def run(tmp_path, section, steps) -> Cache:
    """A finished run: clips, embeddings, concepts and layers."""
    results = tmp_path / "results" / "tiny"
    for number in range(2):
        record = {"stage": "decode", "settings_digest": settings_digest(section, "decode")}
        path = results / "data" / "clips" / f"{number:03d}-of-002.zarr.zip"
        write_arrays(
            path, {"x": np.array([number + 1.0])}, {"schema_version": SCHEMA_VERSION}, {**record, "seconds": 0}
        )
    shards = ["000-of-002", "001-of-002"]
    for name, sources in (
        ("dual_encoder", [[f"data/clips/{shard}.zarr.zip"] for shard in shards]),
        ("concepts", [[f"context/dual_encoder/{shard}.zarr.zip" for shard in shards]]),
        ("concept_layers", [["context/concepts.zarr.zip"]]),
    ):
        ((output, pattern),), (key,) = STAGES[name].writes.items(), STAGES[name].reads
        for shard, paths in zip(shards, sources, strict=False):
            run_step(
                "adding_stage",
                name,
                "tiny",
                canonical(settings(section, name)),
                {key: [results / path for path in paths]},
                {output: results / pattern.replace("{shard}", shard)},
                shard if len(sources) == 2 else "",
            )
    CALLS.clear()
    return Cache(results, tmp_path / "derived", section)


def values(paths):
    return [float(read_arrays(path)[0]["x"][0]) for path in paths]


def with_similarity(section, value):
    return section.model_copy(
        update={
            "context": section.context.model_copy(
                update={"concepts": section.context.concepts.model_copy(update={"class_similarity": value})}
            )
        }
    )


def test_what_is_not_changed_is_that_of_the_run(run, section):
    assert values(run.paths(section, "dual_encoder")["dual_encoder"]) == [1, 2]
    assert values(run.paths(section, "concepts")["concepts"]) == [3.85]
    assert not CALLS and not run.folder.exists()


def test_only_stages_behind_the_change_run_and_only_once(run, section):
    other = with_similarity(section, 0.5)
    assert values(run.paths(other, "concept_layers")["concept_layers"]) == [3.5]
    assert CALLS == ["concepts", "concept_layers"]
    assert values(run.paths(section, "concept_layers")["concept_layers"]) == [3.85]  # the run is as it was
    again = Cache(run.results, run.folder, section)
    assert again.paths(other, "concept_layers") == run.paths(other, "concept_layers")
    assert CALLS == ["concepts", "concept_layers"]
    again.paths(with_similarity(section, 0.25), "concept_layers")
    assert CALLS == ["concepts", "concept_layers"] * 2


def test_a_changed_input_or_changed_code_makes_an_artifact_again(run, section, monkeypatch):
    other = with_similarity(section, 0.5)
    run.paths(other, "concepts")
    path = run.results / "context/dual_encoder/000-of-002.zarr.zip"
    arrays, attributes = read_arrays(path)
    content = {key: value for key, value in attributes.items() if key not in ("content_digest", "provenance")}
    write_arrays(path, {"x": arrays["x"] + 10}, content, attributes["provenance"])
    assert values(Cache(run.results, run.folder, section).paths(other, "concepts")["concepts"]) == [13.5]
    monkeypatch.setattr(cache_module, "code_digest", lambda name: "new code")
    CALLS.clear()
    Cache(run.results, run.folder, section).paths(other, "concepts")
    assert CALLS == ["concepts"]


def test_a_damaged_artifact_is_made_again(run, section):
    other = with_similarity(section, 0.5)
    (path,) = run.paths(other, "concepts")["concepts"]
    path.write_bytes(path.read_bytes()[:100])
    assert values(Cache(run.results, run.folder, section).paths(other, "concepts")["concepts"]) == [3.5]


def test_a_run_that_lacks_something_or_has_other_settings_is_refused(run, section):
    (path,) = run.paths(section, "concepts")["concepts"]
    path.unlink()
    fresh = Cache(run.results, run.folder, section)
    with pytest.raises(ArtifactError, match="does not exist, or was made with other settings"):
        fresh.paths(section, "concepts")
    elsewhere = Cache(run.results, run.folder, with_similarity(section, 0.1))
    with pytest.raises(ArtifactError, match="does not exist, or was made with other settings"):
        elsewhere.paths(with_similarity(section, 0.1), "concept_layers")


def test_what_would_need_every_video_is_refused(run, section):
    data = section.data.model_copy(update={"decode": section.data.decode.model_copy(update={"size": 112})})
    with pytest.raises(StageError, match="cannot change what `decode` makes"):
        run.paths(section.model_copy(update={"data": data}), "dual_encoder")


def test_each_shard_reads_its_own(run, section):
    other = section.model_copy(
        update={
            "context": section.context.model_copy(
                update={"dual_encoder": section.context.dual_encoder.model_copy(update={"n_frames": 1})}
            )
        }
    )
    assert values(run.paths(other, "dual_encoder")["dual_encoder"]) == [1, 2]
    assert CALLS == ["dual_encoder"] * 2
    record = read_arrays(run.paths(other, "dual_encoder")["dual_encoder"][1])[1]["provenance"]
    assert list(record["inputs"]) == ["clips/001-of-002.zarr.zip"] and record["shard"] == [1, 2]
    assert json.dumps(record["settings"]["n_frames"]) == "1"
