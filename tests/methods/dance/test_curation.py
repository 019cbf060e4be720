"""What people say about concepts: the file, its changes, and what the bottleneck makes of them."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.methods.dance import curation
from pipeline.methods.dance.bottleneck.reading import read_clips
from pipeline.methods.dance.bottleneck.recogniser import read_model
from pipeline.methods.dance.curation import Concept, Curation, CurationError, Entry
from pipeline.methods.dance.settings import Reading
from pipeline.methods.dance.stages import STAGES, Curated

SPECIFICATION = importlib.util.spec_from_file_location("little", Path(__file__).with_name("little.py"))
little = importlib.util.module_from_spec(SPECIFICATION)
sys.modules["little"] = little
SPECIFICATION.loader.exec_module(little)

A, B, C, D = (letter * 16 for letter in "abcd")
CONCEPTS = [
    Concept("motion", A, "motion 000", "an arm rises", 5),
    Concept("motion", B, "motion 001", "an arm sinks", 4),
    Concept("motion", C, "motion 002", "", 2),
    Concept("object", curation.word_digest("object", "ball"), "ball"),
    Concept("object", curation.word_digest("object", "bat"), "bat"),
    Concept("scene", curation.word_digest("scene", "ball"), "ball"),
]
HOSTILE = "<img src=x onerror=alert(1)> \"'&{{7*7}}$x$ ü"


def after(*changes, start=None):
    return curation.changed(start or Curation(), CONCEPTS, changes)


def name(concept, called):
    return {"action": "name", "concept": concept, "name": called}


def merge(concept, *others):
    return {"action": "merge", "concept": concept, "with": list(others)}


def drop(concept):
    return {"action": "drop", "concept": concept}


# ------------------------------------------------------------------------------------------------------------ the file


def test_a_curation_is_read_as_it_was_written(tmp_path):
    said = after(
        name("motion 000", HOSTILE),
        merge("motion 000", "motion 002"),
        {"action": "approve", "concept": "motion 000"},
        {"action": "note", "concept": "bat", "note": "looks like: a stick # or so"},
        drop("bat"),
    )
    path = tmp_path / curation.FILE
    curation.written(path, said)
    assert curation.read(path) == said and [item.name for item in tmp_path.iterdir()] == [curation.FILE]
    assert said.structure() == {
        "motion": {"drop": [], "into": {C: A}},
        "object": {"drop": [curation.word_digest("object", "bat")], "into": {}},
    }
    assert Curation.of(said.marks()).structure() == said.structure()
    remark = after({"action": "note", "concept": "bat", "note": "?"})
    assert remark.entries and remark.marks() == {} == remark.structure()
    curation.written(path, Curation())
    assert curation.read(path) == Curation() == curation.read(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("motion: [", "is not valid YAML (line 1)"),
        ("- motion", "must hold the types motion, object, scene"),
        ("motoin: {}", "unknown type `motoin`"),
        ("motion: 3", "motion must hold digests"),
        ("motion: {abc: {}}", "`abc` of type motion is no digest"),
        ("motion: {1234567890123456: {}}", "one of digits alone stands in quotes"),
        (f"motion: {{{A}: x}}", "must hold marks"),
        (f"motion: {{{A}: {{nmae: x}}}}", "unknown key `nmae`; did you mean `name`?"),
        (f"motion: {{{A}: {{drop: 1}}}}", "drop must be true or false, not 1"),
        (f"motion: {{{A}: {{name: 3}}}}", "the name must be text, not 3"),
        (f"motion: {{{A}: {{name: ''}}}}", "a name may not be empty"),
        (f"motion: {{{A}: {{name: 'object:x'}}}}", "begins with a type and a colon"),
        (f'motion: {{{A}: {{name: "a\\nb"}}}}', "holds a control character"),
        (f'motion: {{{A}: {{name: "a\\e[31mb"}}}}', "holds a control character"),
        (f'motion: {{{A}: {{name: "a\\u202eb"}}}}', "holds a control character"),
        (f"motion: {{{A}: {{name: {'x' * 101}}}}}", "has 101 characters; 100 are allowed"),
        (f"motion: {{{A}: {{name: jump}}, {B}: {{name: JUMP}}}}", "both have the name `JUMP`"),
        (f"motion: {{{A}: {{}}, {A}: {{drop: true}}}}", f"a key stands twice: {A}"),
        (f"motion: {{{A}: {{into: {A}}}}}", "is merged into itself"),
        (f"motion: {{{A}: {{into: xyz}}}}", "into must be the digest of a concept"),
        (f"motion: {{{A}: {{into: {B}, drop: true}}}}", "is dropped and merged"),
        (f"motion: {{{A}: {{into: {B}}}, {B}: {{drop: true}}}}", "which is dropped"),
        (f"motion: {{{A}: {{into: {B}}}, {B}: {{into: {C}}}}}", f"which is merged itself; name {C}"),
        (f"motion: {{{A}: {{into: {B}}}}}\nobject: {{{B}: {{}}}}", "merged into a concept of type object"),
        ("a: &a {x: *a}", "is not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("[" * 3000, "is not valid YAML"),
        ("? {a: b}\n: c", "is not valid YAML"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path, text, words):
    path = tmp_path / curation.FILE
    path.write_text(text)
    with pytest.raises(CurationError) as error:
        curation.read(path)
    line = str(error.value)
    assert words in line and "\n" not in line and len(line) < 500 and str(path) in line and "\x1b" not in line


def test_what_is_no_text_is_told_in_one_line(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(CurationError, match="is not UTF-8 text"):
        curation.read(tmp_path / "bytes")
    with pytest.raises(CurationError, match="cannot be read: Is a directory"):
        curation.read(tmp_path)
    (tmp_path / "large").write_bytes(b" " * ((4 << 20) + 1))
    with pytest.raises(CurationError, match="more than 4 MB"):
        curation.read(tmp_path / "large")


def test_a_curation_that_would_be_refused_is_not_written(tmp_path):
    path = tmp_path / curation.FILE
    for entry in (Entry(name="a\nb"), Entry(into="x"), Entry(name=" padded ")):
        with pytest.raises(CurationError):
            curation.written(path, Curation({("motion", A): entry}))
    assert not list(tmp_path.iterdir())


def test_the_file_in_the_documentation_is_one(project):
    text = (project / "docs/curation.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    said = curation.parsed(text)
    assert said.structure() == {
        "motion": {"drop": [], "into": {"0123456789abcdef": "4f1e2d3c4b5a6978"}},
        "object": {"drop": ["1234567890123456"], "into": {}},
    }
    assert curation.parsed(curation.as_text(said)) == said


# ------------------------------------------------------------------------------------------------------------- changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([name("motion 00", "x")], "there is no concept `motion 00`; did you mean `motion 00"),
        ([name("ball", "x")], "`ball` means 2 concepts; say object:"),
        ([name("motion 000", "motion 001")], "would both be called `motion 001`"),
        ([name("motion 000", "x"), name("motion 001", "X")], "would both be called `X`"),
        ([name("motion 000", "a\tb")], "control character"),
        ([merge("motion 000", "bat")], "merge concepts of one type"),
        ([merge("motion 000", "motion 000")], "cannot be merged with itself"),
        ([merge("motion 000")], "takes with: a list"),
        ([drop("motion 000"), merge("motion 000", "motion 001")], "is dropped, and cannot lead a merge"),
        ([merge("motion 000", "motion 001"), drop("motion 000")], "others are merged into motion `motion 000`"),
        ([drop("motion 000"), drop("motion 001"), drop("motion 002")], "drops all 3 motion concepts"),
        ([drop("scene:ball")], "drops the only scene concept"),
        ([{"action": "forget", "concept": "bat"}], "there is nothing to forget"),
        ([{"action": "delete", "concept": "bat"}], "a change has one of the actions"),
        ([{"action": "drop", "concept": "bat", "path": "/etc"}], "the action drop takes concept"),
        ([{"action": "name", "concept": "bat"}], "the action name takes concept, name"),
        ([{"action": "drop", "concept": 3}], "the action drop takes concept"),
        (["drop"], "a change has one of the actions"),
        ("drop", "a change has one of the actions"),
        ({"action": "drop", "concept": "nobody"}, "there is no concept `nobody`"),
        (None, "a change has one of the actions"),
        ([{**merge("motion 000"), "with": ["motion 001", 3]}], "takes with: a list"),
    ],
)
def test_changes_that_cannot_be_meant_are_told(changes, words):
    with pytest.raises(CurationError) as error:
        curation.changed(Curation(), CONCEPTS, changes)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_concepts_are_meant_by_any_of_their_names():
    said = after(name("motion 000", "lifts the arm"))
    for text in (f"motion:{A}", A, A[:6], "lifts the arm", "motion:lifts the arm", "motion 000", "motion:motion 000"):
        assert curation.find(said, CONCEPTS, text).digest == A
    # Types may share a name, as candidates do.
    assert after(name("motion 000", "ball")).entries["motion", A].name == "ball"
    assert curation.find(Curation(), CONCEPTS, "scene:ball").type == "scene"


def test_forgetting_is_the_way_back():
    said = after(name("motion 000", "x"), merge("motion 000", "motion 001"), drop("bat"))
    back = [{"action": "forget", "concept": concept} for concept in ("x", "motion 001", "bat")]
    assert after(*back, start=said) == Curation()


def test_a_merge_takes_along_what_was_merged_before():
    said = after(merge("motion 001", "motion 002"), merge("motion 000", "motion 001"))
    assert said.structure()["motion"]["into"] == {B: A, C: A}
    assert curation.groups(said.structure(), "motion", [A, B, C]) == [[0, 1, 2]]
    assert curation.groups(said.structure(), "motion", [C, D, B, A]) == [[1], [3, 0, 2]]


def test_what_is_gone_is_said_and_kept():
    said = after(name("motion 000", "x"), merge("motion 000", "motion 001"), drop("motion 002"))
    left = CONCEPTS[1:]
    told = curation.told(said, left)
    assert told == {"applied": 1, "unknown": [f"motion:{A} (motion 000)"]}
    assert curation.unknown_words(told["unknown"]).startswith("1 curated concept is not in this run")
    # A merge into what is gone does nothing.
    assert curation.groups(said.structure(), "motion", [B, C]) == [[0]]
    rows = {row["id"]: row for row in curation.shown(said, left)}
    assert rows[f"motion:{A}"]["state"] == "unknown" and rows[f"motion:{A}"]["name"] == "x"
    assert rows[f"motion:{B}"]["state"] == "kept" and rows[f"motion:{C}"]["state"] == "dropped"
    more = curation.changed(said, left, [{"action": "approve", "concept": "motion 001"}])
    assert more.entries["motion", A] == said.entries["motion", A]
    assert ("motion", A) not in curation.changed(said, left, [{"action": "forget", "concept": A}]).entries


def test_digests_are_of_the_content():
    rng = np.random.default_rng(0)
    medoids = rng.uniform(size=(3, 4, 17, 2)).astype(np.float32)
    names = ["a", "b", "c"]
    digests = curation.motion_digests(medoids, names, [])
    assert all(curation.DIGEST.fullmatch(digest) for digest in digests)
    assert curation.motion_digests(medoids[::-1], names, []) == digests[::-1]
    assert curation.motion_digests(medoids.astype(">f4"), names, []) == digests
    changed = medoids.copy()
    changed[1, 0, 0, 0] += 1e-6
    others = curation.motion_digests(changed, names, [])
    assert [a == b for a, b in zip(others, digests, strict=True)] == [True, False, True]
    # Imported labels have no medoids: the videos that show a concept are its content, and two may be alike.
    rows = [{"video_id": "v", "concepts": [0, 2]}, {"video_id": "w", "concepts": [0, 1, 2]}]
    imported = curation.motion_digests(medoids[:0], names, rows)
    assert len(set(imported)) == 3 and imported == curation.motion_digests(medoids[:0], names, rows[::-1])


# ------------------------------------------------------------------------------------------------------ the bottleneck

PLENTY = {"train": [6, 6, 6], "val": [3, 3, 3], "test": [2, 2, 2]}
FIRST, LAST = ("motion_concepts", "readings", "concepts"), ("concept_layers", "classifier", "model", "named")
KINDS = (["dance"], ["dance+salf", "read"], ["read", "dance"], ["read+salf"])


def found(folder):
    """A store after the stages before the bottleneck, and its concepts."""
    store = little.inputs(np.random.default_rng(0), PLENTY, {"object": 3, "scene": 2})
    assert not any(little.run(folder, store, FIRST).values())
    ((arrays, about),), ((_, words),) = store["motion_concepts"], store["pseudo_labels"]
    labels = store["motion_labels"][0].to_pylist()
    return store, curation.motion_concepts(arrays, about, labels) + curation.word_concepts(words)


def learned(folder, store, kinds, said=None, wanted=("readings", *LAST)):
    """The store after the bottleneck under a curation."""
    store = copy.deepcopy({key: value for key, value in store.items() if key not in ("index",)}) | {
        "index": store["index"]
    }
    own = {**little.SETTINGS["concept_layers"], "kinds": kinds}
    changes = {"concept_layers": own, "retrained": {"concept_layers": own}}
    for stage in STAGES if said is not None else ():
        for setting in stage.settings:
            if isinstance(setting, Curated):
                extra = said.structure() if setting.structure else said.marks()
                changes[stage.name] = {**changes.get(stage.name, {}), "curation": extra}
    told = little.run(folder, store, wanted, changes)
    assert not any(told.values()), told
    return store


def without(store, motion=(), words=()):
    """A store in which some concepts never were."""
    ((arrays, about),) = store["motion_concepts"]
    kept = [row for row, its in enumerate(about["names"]) if its not in motion]
    place = {row: number for number, row in enumerate(kept)}
    table, described = store["motion_labels"]
    lists = [[place[c] for c in row if c in place] for row in table["concepts"].to_pylist()]
    table = pa.table({"video_id": table["video_id"], "concepts": pa.array(lists, pa.list_(pa.int32()))})
    names = [about["names"][row] for row in kept]
    per_concept = ("names", "medoid_video_id", "medoid_start", "words")
    ((pseudo, told),) = store["pseudo_labels"]
    left = [row for row, its in enumerate(told["names"]) if its not in words]
    return store | {
        "motion_concepts": [
            (
                {key: values[kept] for key, values in arrays.items()},
                about | {key: [about[key][row] for row in kept] for key in per_concept},
            )
        ],
        "motion_labels": (table, described | {"names": names}),
        "pseudo_labels": [
            (
                {"similarity": pseudo["similarity"][:, left], "texts": pseudo["texts"][left]},
                told | {key: [told[key][row] for row in left] for key in ("names", "types")},
            )
        ],
    }


def same(first, second, names=("concept_layers", "classifier", "activations")):
    """Arrays of two stores, bit by bit."""
    for key in names:
        ((a, told),), ((b, said),) = first[key], second[key]
        assert a.keys() == b.keys()
        for part in a:
            np.testing.assert_array_equal(a[part], b[part], err_msg=f"{key}/{part}")
        for part in ("names", "types", "map_names", "read_names"):
            assert told.get(part) == said.get(part)


@pytest.mark.parametrize("kinds", KINDS)
def test_dropping_gives_what_a_run_without_the_concept_gives(tmp_path, kinds):
    store, concepts = found(tmp_path)
    said = curation.changed(Curation(), concepts, [drop("motion 001"), drop("object 1"), drop("scene 0")])
    dropped = learned(tmp_path, store, kinds, said)
    first = torch.load(tmp_path / "named.pt", weights_only=True)["tensors"]
    never = learned(tmp_path, without(store, ["motion 001"], ["object 1", "scene 0"]), kinds)
    second = torch.load(tmp_path / "named.pt", weights_only=True)["tensors"]
    same(dropped, never)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key].numpy(), second[key].numpy(), err_msg=key)
    full = learned(tmp_path, store, kinds)
    assert full["activations"][0][0]["z"].shape[1] == dropped["activations"][0][0]["z"].shape[1] + 3


def test_merged_motion_is_the_union_of_the_positives(tmp_path):
    from pipeline.backbone.samples import read_samples
    from pipeline.methods.dance.bottleneck.targets import read_labels

    store, concepts = found(tmp_path)
    table, described = store["motion_labels"]
    hot = np.zeros((table.num_rows, len(described["names"])), bool)
    for row, own in enumerate(table["concepts"].to_pylist()):
        hot[row, own] = True
    said = curation.changed(Curation(), concepts, [merge("motion 002", "motion 000")])
    job = little.LittleJob("concept_layers", store, tmp_path, {"curation": said.structure()})
    samples = read_samples(job, "DANCE")
    names, labels, _ = read_labels(job, samples)
    assert names == ["motion 001", "motion 002"]
    expected, _ = samples.align(table["video_id"].to_pylist(), np.stack([hot[:, 1], hot[:, 0] | hot[:, 2]], 1))
    np.testing.assert_array_equal(labels, expected)
    assert expected.sum() == hot.sum() and hot.any(0).all()
    # The whole bottleneck: as if the clusters had been one from the first, with the leading one's medoid.
    merged = learned(tmp_path, store, ["dance"], said)
    lists = [sorted({2 if concept == 0 else concept for concept in own}) for own in table["concepts"].to_pylist()]
    united = pa.table({"video_id": table["video_id"], "concepts": pa.array(lists, pa.list_(pa.int32()))})
    first = read_model(tmp_path / "named.pt")
    by_hand = learned(tmp_path, without(store | {"motion_labels": (united, described)}, ["motion 000"]), ["dance"])
    same(merged, by_hand)
    second = read_model(tmp_path / "named.pt")
    np.testing.assert_array_equal(first.medoids, second.medoids)
    assert first.about["merged"]["names"][:2] == [[], ["motion 000"]] and not first.about["merged"]["medoids"]
    development = np.isin(samples.videos.split, ("train", "val"))
    assert first.about["n_videos"] == expected[development].sum(0).tolist()


@pytest.mark.parametrize("kinds", [["dance"], ["read"]])
def test_merged_words_have_the_largest_similarity(tmp_path, kinds):
    store, concepts = found(tmp_path)
    said = curation.changed(Curation(), concepts, [merge("object 0", "object 2")])
    merged = learned(tmp_path, store, kinds, said)
    model = read_model(tmp_path / "named.pt")
    ((pseudo, told),) = store["pseudo_labels"]
    a, b = (told["names"].index(its) for its in ("object 0", "object 2"))
    similarity = pseudo["similarity"].copy()
    similarity[:, a] = np.maximum(similarity[:, a], similarity[:, b])
    by_hand = without(store | {"pseudo_labels": [({**pseudo, "similarity": similarity}, told)]}, [], ["object 2"])
    same(merged, learned(tmp_path, by_hand, kinds))
    if kinds == ["read"]:  # a new video is read in the same way
        embedding = np.random.default_rng(1).standard_normal((3, 8))
        scores = model.scores(embedding)
        expected = embedding @ pseudo["texts"].T.astype(np.float64)
        np.testing.assert_allclose(scores[:, 0], np.maximum(expected[:, a], expected[:, b]))
        assert scores.shape == (3, len(told["names"]) - 1)


def test_merged_words_are_located_where_any_of_them_is(tmp_path):
    from pipeline.methods.dance.bottleneck.spatial import SpatialData

    rng = np.random.default_rng(0)
    maps, regions = rng.standard_normal((2, 1, 2, 2, 3)), rng.standard_normal((2, 1, 2, 2, 4))
    texts = rng.standard_normal((4, 4)).astype(np.float32)
    apart = SpatialData.of(maps, regions, texts, np.array([0]))
    merged = SpatialData.of(maps, regions, texts, np.array([0]), np.array([0, 1, 1, 2]))
    (_, each), (_, united) = apart.rows(slice(None)), merged.rows(slice(None))
    assert merged.n_concepts == 3
    np.testing.assert_array_equal(united[..., 0], each[..., 0])
    np.testing.assert_array_equal(united[..., 1], each[..., 1:3].amax(-1))
    np.testing.assert_array_equal(united[..., 2], each[..., 3])
    store, concepts = found(tmp_path)
    said = curation.changed(Curation(), concepts, [merge("object 0", "object 2"), merge("scene 1", "scene 0")])
    model = learned(tmp_path, store, ["dance+salf"], said) and read_model(tmp_path / "named.pt")
    assert [own for own, kind in zip(model.concepts, model.types, strict=True) if kind != "motion"] == [
        "object 0",
        "object 1",
        "scene 1",
    ]


@pytest.mark.parametrize("among", [True, False])
def test_merged_motion_is_read_by_all_its_medoids(tmp_path, among):
    rng = np.random.default_rng(0)
    clips, medoids = rng.uniform(size=(5, 4, 17, 2)), rng.uniform(size=(3, 4, 17, 2))
    settings, weight = Reading(among_concepts=among), np.ones((5, 4, 17))
    each = read_clips(clips, weight, medoids, settings)
    united = read_clips(clips, weight, medoids, settings, np.array([0, 1, 0]))
    expected = each[:, 0] + each[:, 2] if among else np.maximum(each[:, 0], each[:, 2])
    np.testing.assert_allclose(united, np.stack([expected, each[:, 1]], 1))


def test_a_model_reads_new_videos_by_what_was_merged(tmp_path):
    store, concepts = found(tmp_path)
    said = curation.changed(Curation(), concepts, [merge("motion 002", "motion 000")])
    merged = learned(tmp_path, store, ["read"], said)
    model = read_model(tmp_path / "named.pt")
    ((arrays, _),) = store["motion_concepts"]
    medoids, concept_of = model.read_medoids
    np.testing.assert_array_equal(medoids, arrays["medoids"][[1, 2, 0]])
    assert concept_of.tolist() == [0, 1, 1] and len(model.medoids) == 2
    assert merged["readings"][0][1]["names"] == ["motion 001", "motion 002"]


def test_without_a_curation_nothing_is_different(tmp_path):
    store, _ = found(tmp_path)
    first = learned(tmp_path, store, ["dance+salf", "read"])
    content = torch.load(tmp_path / "named.pt", weights_only=True)
    metrics = (tmp_path / "named.json").read_bytes()
    second = learned(tmp_path, store, ["dance+salf", "read"], Curation())
    again = torch.load(tmp_path / "named.pt", weights_only=True)
    same(first, second)
    assert content["metadata"] == again["metadata"] and (tmp_path / "named.json").read_bytes() == metrics
    assert '"was"' not in content["metadata"] and '"curation"' not in metrics.decode()


# --------------------------------------------------------------------------------------------------------- what is said


def test_names_are_everywhere(tmp_path):
    from pipeline.methods.dance.explain import summary

    store, concepts = found(tmp_path)
    changes = [name("motion 001", HOSTILE), name("object 0", "a ball"), {"action": "approve", "concept": "object 0"}]
    said = curation.changed(Curation(), concepts, changes)
    gone = Curation({**said.entries, ("motion", D): Entry(was="motion 009", drop=True)})
    wanted = ("readings", *LAST, "retrained", "pictures", "report")
    named = learned(tmp_path, store, ["dance"], gone, wanted)
    model = read_model(tmp_path / "named.pt")
    assert HOSTILE in model.concepts and "a ball" in model.concepts and "motion 001" not in model.concepts
    assert model.was[model.concepts.index("a ball")] == "object 0"
    assert [m for m, yes in enumerate(model.about["approved"]) if yes] == [model.concepts.index("a ball")]
    known = {concept.id: concept.was for concept in concepts}
    ids = [f"{kind}:{digest}" for kind, digest in zip(model.types, model.about["digests"], strict=True)]
    assert [known[own] for own in ids] == model.was
    z = named["activations"][0][0]["z"][:1].astype(np.float64)
    for m, called in enumerate(model.concepts):
        assert called in model.reason(z[0], m, 1.0)["said"]
    page = (tmp_path / "report.html").read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in page and "<img src=x" not in page and ">motion 001" not in page
    assert page.count("approved by a person") == 1
    # What is computed from the model has not seen the names.
    assert named["activations"][0][1]["names"] == model.was
    metrics = little.strict(tmp_path / "named.json")
    assert metrics["curation"] == {"applied": 2, "unknown": [f"motion:{D} (motion 009)"]}
    sentence = curation.unknown_words(metrics["curation"]["unknown"])
    assert f"warning: {sentence}" in summary.lines(tmp_path, metrics)
    assert sentence in named["curation"][1]["provenance"]["warnings"]["named"]
    states = {row["was"]: row["state"] for row in named["curation"][0].to_pylist()}
    assert states["motion 009"] == "unknown" and states["motion 001"] == "kept"


def test_a_run_that_cannot_follow_says_so_in_one_line(tmp_path):
    """A file that somebody has written by hand, or that was copied from another run."""
    store, concepts = found(tmp_path)
    own = [concept.digest for concept in concepts if concept.type == "motion"]
    every = Curation({("motion", digest): Entry(drop=True) for digest in own})
    settings = {**little.SETTINGS["concept_layers"], "kinds": ["dance"], "curation": every.structure()}
    told = little.run(tmp_path, store, ("concept_layers",), {"concept_layers": settings})
    assert told["concept_layers"].startswith(f"curation.yaml drops all {len(own)} motion concepts; keep one, or take")
    clash = Curation({("motion", own[0]): Entry(name="motion 001")})
    done = learned(tmp_path, store, ["dance"], None, ("readings", *LAST[:-1]))
    told = little.run(tmp_path, done, ("named",), {"named": {"curation": clash.marks()}})
    assert "would both be called `motion 001`" in told["named"] and "\n" not in told["named"]


def test_aliases_of_aliases_are_refused_before_they_grow():
    levels = "".join(f", &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, 60))
    with pytest.raises(CurationError, match=r"\*a0 stands for another part"):
        curation.parsed(f'motion: {{"0000000000000000": {{drop: [&a0 [x, x]{levels}]}}}}')
