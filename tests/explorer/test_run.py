"""What a page is given of a run of DANCE, and that it is enough to say what the model says."""

from __future__ import annotations

import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from pipeline.data.entries import shard_of
from pipeline.learning import glm
from pipeline.methods.dance.bottleneck.pooling import pool
from pipeline.methods.dance.bottleneck.recogniser import read_model
from pipeline.methods.dance.explain import editing
from pipeline.methods.dance.explain.cached import look, read_cached
from pipeline.methods.dance.explain.regions import View, box_mask, edited
from pipeline.methods.dance.explore.described import look_alikes
from pipeline.methods.dance.explore.run import open_run
from pipeline.methods.dance.explore.shards import Memory
from pipeline.methods.registry import METHODS
from pipeline.store.arrays import write_arrays
from pipeline.store.atomic import ArtifactError
from tests.explorer.runs import RECORD

# What a page and Python may differ by.
CLOSE = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module")
def run(small_run):
    return open_run(small_run, METHODS["dance"])


@pytest.fixture(scope="module")
def core(small_run):
    return read_model(small_run / "model.pt")


@pytest.fixture(scope="module")
def cached(small_run, core):
    return read_cached(small_run, core)


class Page:
    """What a page does with the files, and nothing else: float64 arithmetic on their values."""

    def __init__(self, run):
        self.run = run
        self.about, self.clips = (self.json(f"data/{name}.json") for name in ("explore", "clips"))
        self.m, self.k = len(self.about["concepts"]), len(self.about["classes"])
        self.z = self.floats("data/z.f32").reshape(self.about["n"], self.m)
        self.weight = self.floats("data/weights.f32").reshape(self.k, self.m)
        self.bias = np.array(self.about["bias"])

    def json(self, name):
        def refuse(word):
            raise ValueError(f"{name} holds {word}, which is no JSON")

        return json.loads(self.run.read(name, live=True), parse_constant=refuse)

    def floats(self, name):
        return np.frombuffer(self.run.read(name, live=True), "<f4").astype(float)

    def probabilities(self, z):
        logits = self.weight @ z + self.bias
        parts = np.exp(logits - logits.max())
        return parts / parts.sum()


@pytest.fixture(scope="module")
def page(run):
    return Page(run)


def test_logits_and_probabilities_are_the_models(page, core, cached):
    for row in range(page.about["n"]):
        np.testing.assert_allclose(page.weight @ page.z[row] + page.bias, core.logits(cached.z[row])[0], **CLOSE)
        np.testing.assert_allclose(page.probabilities(page.z[row]), core.probabilities(cached.z[row])[0], **CLOSE)


def test_a_concept_switched_off_is_the_models_without_it(page, core, cached):
    for m, concept in enumerate(page.about["concepts"]):
        for row in (0, 5, 11):
            z = page.z[row].copy()
            z[m] = min(z[m], concept["absent"])
            expected = core.probabilities(core.without(cached.z[row], [m]))[0]
            np.testing.assert_allclose(page.probabilities(z), expected, **CLOSE)
            z[m] = -concept["mean"] / concept["std"]
            expected = core.probabilities(core.without(cached.z[row], [m], "zero"))[0]
            np.testing.assert_allclose(page.probabilities(z), expected, **CLOSE)


def test_an_edited_weight_is_the_models_and_so_is_its_effect(page, core, cached):
    other = core.reweight(1, 2, -1.75)
    weight = page.weight.copy()
    weight[1, 2] = -1.75
    before, after = (page.z @ each.T + page.bias for each in (page.weight, weight))
    np.testing.assert_allclose(after, other.logits(cached.z), **CLOSE)
    found = editing.effect(core, other, cached.z, cached.label)
    label = np.array(page.clips["label"])
    was, now = before.argmax(1) == label, after.argmax(1) == label
    np.testing.assert_array_equal(np.flatnonzero(~was & now), found.fixed)
    np.testing.assert_array_equal(np.flatnonzero(was & ~now), found.broken)
    assert len(found.fixed) or len(found.broken)


@pytest.mark.parametrize("pooling", ["mean", "softmax", "max"])
def test_a_painted_region_is_the_commands(small_run, tmp_path, pooling):
    folder = shutil.copytree(small_run, tmp_path / "small")
    model = read_model(folder / "model.pt")
    model.about["maps"]["pooling"] = pooling
    model.save(folder / "model.pt")
    page = Page(open_run(folder, METHODS["dance"]))
    clip = page.json("media/clip/1.json")
    maps = page.floats("media/maps/1.f32").reshape(clip["map_shape"]).astype(np.float32)
    view = View(*clip["original"], np.array(clip["place_rows"]), np.array(clip["place_columns"]))
    mask = box_mask(*clip["original"], (20, 5, 40, 30))
    m = 2
    concept = page.about["concepts"][m]
    changed = edited(maps, view, mask, concept["map"], 1.5)
    z = page.z[1].copy()
    z[m] = (pool(changed[None], page.about["pooling"])[0, concept["map"]] - concept["mean"]) / concept["std"]

    about = model.about["maps"]
    seen_maps = model.maps(read_maps(folder, page.clips["id"][1])[None])
    again = edited(seen_maps[0], View.of(48, 64, about), mask, 0, 1.5)
    feature = np.zeros((1, model.layer["weight"].shape[1]))
    expected = model.activations(feature, again[None])[0, m]
    np.testing.assert_allclose(z[m], expected, **CLOSE)
    assert abs(z[m] - page.z[1, m]) > 1e-3


def read_maps(folder, video_id):
    from pipeline.methods.dance.explore.shards import Shards

    shards = Shards(folder, "backbone/maps")
    return shards.part(shards.find(video_id)[0], "maps", shards.find(video_id)[1])


def test_clips_are_those_of_the_run_with_their_splits(page, cached):
    assert page.clips["id"] == cached.video_id
    assert [page.about["splits"][s] for s in page.clips["split"]] == list(cached.split)
    assert page.about["splits"] == ["train", "val", "test"]
    np.testing.assert_allclose(page.clips["distance"], cached.distance, atol=1e-5)
    assert page.clips["seconds"][0] == pytest.approx(12 / 25) and page.clips["seconds"][3] is None
    assert [row for row, kept in enumerate(page.clips["kept"]) if not kept] == [3]
    assert page.about["unseen"]["threshold"] == 11.5


def test_accuracy_is_counted_with_its_interval(page, core, cached):
    right = core.logits(cached.z).argmax(1) == cached.label
    for split, found in page.about["figures"]["accuracy"].items():
        own = right[cached.split == split]
        assert (found["right"], found["of"]) == (own.sum(), len(own))
        assert found["interval"][0] <= own.mean() <= found["interval"][1]


def test_concepts_say_what_they_are(page, core):
    first, _, ball, _ = page.about["concepts"]
    assert first["label"] == "motion 000 (bend 0)" and first["sentence"] == "knees bend 0"
    assert (first["medoid"], first["frames"], first["located"]) == ("media/medoid/0.webp", 5, False)
    assert page.about["concepts"][1]["doubt"] == "learned from 2 training videos"
    assert (ball["medoid"], ball["map"], ball["located"], ball["present_above"]) == (None, 0, True, 0.25)
    assert page.about["skeleton"]["bones"] and len(page.about["skeleton"]["sides"]) == 17


def test_look_alikes_are_correlated_and_never_themselves():
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    z = np.column_stack([a, a + 0.1 * rng.normal(size=300), rng.normal(size=300), np.zeros(300), -a])
    found = look_alikes(z)
    assert [m for m, _ in found[0]] == [1] and found[0][0][1] == pytest.approx(np.corrcoef(z[:, :2].T)[0, 1], abs=1e-3)
    assert found[2] == found[3] == found[4] == []


def test_a_picture_of_every_kind_has_the_size_that_is_said(run, page):
    clip = page.json("media/clip/0.json")
    with Image.open(io.BytesIO(run.read("media/clip/0.webp", live=True))) as sheet:
        rows = -(-clip["frames"] // clip["columns"])
        assert sheet.format == "WEBP" and sheet.size == (clip["columns"] * clip["width"], rows * clip["height"])
    with Image.open(io.BytesIO(run.read("media/medoid/1.webp", live=True))) as strip:
        assert strip.width % page.about["concepts"][1]["frames"] == 0
    with Image.open(io.BytesIO(run.read("media/thumb/0.webp", live=True))) as thumb:
        assert max(thumb.size) <= 160


def test_frames_of_a_sheet_are_the_cached_ones(run, small_run, core, cached):
    seen = look(small_run, core, cached.video_id[1], cached.z[1])
    clip = json.loads(run.read("media/clip/1.json", live=True))
    assert clip["times"] == pytest.approx(seen.times, abs=1e-3)
    sheet = np.asarray(Image.open(io.BytesIO(run.read("media/clip/1.webp", live=True))), float)
    for number, frame in enumerate(seen.frames):
        y, x = number // clip["columns"] * clip["height"], number % clip["columns"] * clip["width"]
        shown = sheet[y : y + clip["height"], x : x + clip["width"]]
        # Noise is the worst that can be packed; the mean of each colour stays.
        np.testing.assert_allclose(shown.mean((0, 1)), frame.mean((0, 1)), atol=4)


def test_joints_lie_in_the_square_and_unknown_ones_are_null(page):
    found = [page.json(f"media/clip/{row}.json") for row in range(page.about["n"]) if row != 3]
    for clip in found:
        assert clip["square"] == [0, 8, 48] and len(clip["skeleton"]) == clip["frames"]
        # Frame 3 of the four holds nobody: every third of the twelve that it may be.
        assert clip["skeleton"][1] is None
        joints = [joint for frame in clip["skeleton"] if frame for joint in frame if joint]
        assert all(0 <= x <= 1 and 0 <= y <= 1 and sure == 0.8 for x, y, sure in joints)
        assert {match["concept"] for match in clip["medoids"]} == {0, 1}
        for match in clip["medoids"]:
            assert (match["from"], match["to"]) in [(0.04, 0.2), (0.24, 0.4)] and match["similarity"] <= 1
    # One joint of the first clip of each shard was not found.
    assert sum(frame[0] is None for clip in found for frame in clip["skeleton"] if frame) == 2


def test_a_clip_in_no_cache_has_no_pictures(run, page):
    for name in ("thumb/3.webp", "clip/3.webp", "clip/3.json", "maps/3.f32"):
        assert run.read(f"media/{name}", live=True) is None
        assert f"media/{name}" not in set(run.names())


def test_all_names_can_be_read_and_none_is_a_path(run):
    names = list(run.names())
    assert len(names) == len(set(names))
    for name in names:
        assert re.fullmatch(r"(data|media|pages)(/[a-z0-9]+)+\.[a-z0-9]+", name), name
        assert run.read(name, live=False), name


def test_stops_of_the_path_are_solutions_and_the_chosen_one_is_the_model(run, page, core, cached):
    path = page.about["path"]
    lambdas = [stop["lambda"] for stop in path]
    assert lambdas == sorted(lambdas, reverse=True) and len(path) >= 10
    chosen = page.floats(path[page.about["chosen"]]["weights"]).reshape(page.k, page.m + 1)
    np.testing.assert_array_equal(chosen, np.column_stack([core.weight, core.bias]))
    rows = np.isin(cached.split, ("train", "val"))
    for stop in (path[2], path[-1]):
        own = page.floats(stop["weights"]).reshape(page.k, page.m + 1)
        found = glm.certify(
            cached.z[rows], cached.label[rows], page.k, own[:, :-1], own[:, -1], lam=stop["lambda"], alpha=0.99
        )
        assert found.relative_gap < 2e-4
    assert np.count_nonzero(page.floats(path[0]["weights"]).reshape(page.k, -1)[:, :-1]) <= np.count_nonzero(
        own[:, :-1]
    )


def test_a_run_without_pictures_says_so(large_run):
    run = open_run(large_run, METHODS["dance"])
    about = json.loads(run.read("data/explore.json", live=True))
    assert about["media"] == {"thumb": False, "clip": False}
    assert (about["n"], len(about["concepts"]), len(about["classes"])) == (13_320, 782, 101)
    assert about["suffixes"] == [] and about["unseen"] is None
    assert {concept["medoid"] for concept in about["concepts"]} == {None}
    assert run.read("media/thumb/0.webp", live=True) is None
    assert len(run.read("data/z.f32", live=True)) == 4 * 13_320 * 782
    clips = json.loads(run.read("data/clips.json", live=True))
    assert clips["distance"] is None and clips["seconds"] is None and clips["kept"] is None
    assert not any(name.startswith("media/") for name in run.names())


def test_a_large_run_offers_the_classifiers_that_it_has_kept(large_run, monkeypatch):
    """Solving its path would take minutes."""
    monkeypatch.setattr(glm, "path", None)
    run = open_run(large_run, METHODS["dance"])
    about = json.loads(run.read("data/explore.json", live=True))
    assert [stop["weights"] for stop in about["path"]] == ["data/path/0.f32", "data/path/1.f32"]
    few, model = (
        np.frombuffer(run.read(stop["weights"], live=True), "<f4").reshape(101, 783) for stop in about["path"]
    )
    assert about["chosen"] == 1 and about["path"][0]["lambda"] > about["path"][1]["lambda"]
    np.testing.assert_array_equal(model[:, :-1], run.core.weight)
    np.testing.assert_array_equal(few[:, :-1], np.where(np.abs(run.core.weight) > 0.45, run.core.weight, 0))
    assert run.read("data/path/2.f32", live=True) is None


def test_a_model_without_its_classifier_has_no_path(small_run, tmp_path):
    folder = shutil.copytree(small_run, tmp_path / "small")
    (folder / "bottleneck" / "classifier.zarr.zip").unlink()
    run = open_run(folder, METHODS["dance"])
    about = json.loads(run.read("data/explore.json", live=True))
    assert (about["path"], about["chosen"], run.read("data/path/0.f32", live=True)) == ([], None, None)


def test_activations_of_another_model_are_refused(small_run, tmp_path):
    folder = shutil.copytree(small_run, tmp_path / "small")
    model = read_model(folder / "model.pt")
    model.about["activations"] = "0" * 16
    model.save(folder / "model.pt")
    with pytest.raises(ArtifactError, match="stale"):
        open_run(folder, METHODS["dance"]).read("data/explore.json", live=True)
    (folder / "model.pt").unlink()
    with pytest.raises(ArtifactError, match=r"has no model\.pt; `snakemake"):
        open_run(folder, METHODS["dance"])


def test_a_timeline_of_this_model_comes_along(small_run, tmp_path):
    folder = shutil.copytree(small_run, tmp_path / "small")
    digest = read_model(folder / "model.pt").about["activations"]
    windows = np.array([[0, 1, 0, 9], [0.5, 1.5, 5, 14], [0, 2, 0, 19]], float)
    z = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = {"offsets": np.array([0, 2, 3]), "windows": windows, "z": z}
    path = folder / "explain" / "timelines.zarr.zip"
    for activations, expected in (("another", None), (digest, {"windows": [[0, 2]], "z": z[2:].tolist()})):
        write_arrays(path, arrays, {"video_id": ["clip_001", "clip_002"], "activations": activations}, RECORD)
        run = open_run(folder, METHODS["dance"])
        assert json.loads(run.read("media/clip/2.json", live=True))["timeline"] == expected
        assert json.loads(run.read("media/clip/4.json", live=True))["timeline"] is None


def test_memory_forgets_what_was_used_longest_ago():
    memory = Memory(10)
    for key in "abc":
        memory.put(key, key.upper(), 4)
        if key == "b":
            assert memory.get("a") == "A"
    assert (memory.get("a"), memory.get("b"), memory.get("c"), memory.held) == ("A", None, "C", 8)
    memory.put("huge", "X", 11)
    assert memory.get("huge") is None and memory.held <= 10
    memory.put("a", "again", 5)
    memory.put("a", "and again", 3)
    assert (memory.get("a"), memory.held) == ("and again", 3)


def test_every_clip_lies_where_its_shard_says(run, page):
    """The helper that finds a row asks only the shard of the id."""
    for row, video_id in enumerate(page.clips["id"]):
        found = run.media.shards["clips"].find(video_id)
        assert (found is None) if row == 3 else (found[0] == shard_of(video_id, 2))
