"""A model on other classes: mapping, decisions and edits on activations that are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipeline.jobs.stage import StageError
from pipeline.methods.dance.bottleneck import cross_domain
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.store.arrays import read_arrays, write_arrays
from pipeline.store.names import NameUnknown
from pipeline.store.tables import read_table, write_table


@pytest.fixture
def model() -> ConceptModel:
    """Three classes; concept `water` speaks for Surfing, `rope` for JumpRope, nothing for YoYo."""
    weight = np.array([[2.0, 0, 0], [0, 1.0, 0], [0, 0, 0]])
    layer = {"weight": np.eye(3), "mean": np.zeros(3), "std": np.ones(3)}
    return ConceptModel(
        ["Surfing", "JumpRope", "YoYo"],
        ["water", "rope", "rope"],
        ["scene", "object", "motion"],
        layer,
        weight,
        np.zeros(3),
        np.zeros((0, 2, 1, 2), np.float32),
        {},
    )


def test_decisions_among_all_and_among_the_mapped_classes(model):
    z = np.array([[3.0, 0, 0], [0, 2.0, 0], [3.0, 1.0, 0]])
    outcome = cross_domain.decide(model, z, np.array([1, 1, 2]))
    assert outcome.decided.tolist() == [0, 1, 0] and outcome.right.tolist() == [False, True, False]
    assert outcome.among.tolist() == [1, 1, 1]  # Surfing is no class of these videos
    assert cross_domain.by_class(model, outcome) == [
        {"class": "JumpRope", "videos": 2, "right": 1, "taken_for": "Surfing"},
        {"class": "YoYo", "videos": 1, "right": 0, "taken_for": "Surfing"},
    ]


def test_an_edit_changes_one_weight_and_not_the_model(model):
    edited, edit = cross_domain.with_weight(model, "water", "Surfing", "0.1")
    assert edit == {"class": "Surfing", "concept": "water", "type": "scene", "before": 2.0, "after": 0.1}
    assert edited.weight[0, 0] == 0.1 and model.weight[0, 0] == 2.0
    assert (edited.weight != model.weight).sum() == 1
    z, label = np.array([[3.0, 1.0, 0], [3.0, 0, 0]]), np.array([1, 0])
    before, after = (cross_domain.decide(item, z, label) for item in (model, edited))
    assert (~before.right & after.right).tolist() == [True, False]
    assert (before.right & ~after.right).tolist() == [False, False]


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (("watr", "Surfing", "0"), NameUnknown, "no concept `watr`; did you mean `water`"),
        (("water", "Surf", "0"), NameUnknown, "no class `Surf`; did you mean `Surfing`"),
        (("water", "Surfing", "much"), StageError, "`much` is no weight"),
        (("water", "Surfing", "nan"), StageError, "`nan` is no weight"),
        (("rope", "Surfing", "0"), NameUnknown, "say `object:rope` or `motion:rope`"),
    ],
)
def test_wrong_edits_are_told(model, edit, error, message):
    with pytest.raises(error, match=message):
        cross_domain.with_weight(model, *edit)


def test_a_type_tells_concepts_of_one_name_apart(model):
    edited, _ = cross_domain.with_weight(model, "motion:rope", "YoYo", "5")
    assert edited.weight[2].tolist() == [0, 0, 5]


def test_classes_are_mapped_by_name_whatever_the_spelling():
    assert cross_domain.map_by_name(["yo yo", "juggling", "jump_rope"], ["Surfing", "JumpRope", "YoYo"]) == {
        "yo yo": 2,
        "jump_rope": 1,
    }
    with pytest.raises(StageError, match="no class name in common"):
        cross_domain.map_by_name(["a"], ["b"])


def test_a_map_file(tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("# mime\nplaying yoyo, YoYo\r\n\nsurfing water,Surfing\nskipping rope,JumpRope\n")
    there, model = ["playing yoyo", "surfing water", "skipping rope", "other"], ["Surfing", "JumpRope", "YoYo"]
    assert cross_domain.read_map(path, there, model) == {"playing yoyo": 2, "surfing water": 0, "skipping rope": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("playing yoyo YoYo\n", "line 1: expected `class of the data set,class of the model`"),
        ("playing yoyo,\n", "line 1: expected"),
        (
            "\nplaying yoyos,YoYo\n",
            "line 2: there is no class of the data set `playing yoyos`; did you mean `playing yoyo`",
        ),
        ("playing yoyo,YoYos\n", "there is no class of the model `YoYos`; did you mean `YoYo`"),
        ("playing yoyo,YoYo\nplaying yoyo,Surfing\n", "line 2: `playing yoyo` is there twice"),
        ("# nothing\n", "maps no class"),
    ],
)
def test_wrong_map_files_are_told(tmp_path, text, message):
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(StageError, match=message):
        cross_domain.read_map(tmp_path / "map.csv", ["playing yoyo"], ["Surfing", "YoYo"])
    with pytest.raises(StageError, match="does not exist"):
        cross_domain.read_map(tmp_path / "none.csv", [], [])


CUT = {"n_frames": 16, "sampling": "uniform", "stride": 4, "size": 112, "backend": "decord"}
ENCODER = {"source": "computed", "path": {}, "model": "videomae", "revision": "main"}


@pytest.fixture
def other(tmp_path, model):
    """A results folder of another data set: three test videos and one that failed, in two shards."""
    rows = [("a", ["surfing"], "test", "ok"), ("b", ["juggling"], "test", "ok"), ("c", ["yo yo"], "shifted", "ok")]
    rows.append(("d", ["surfing"], "test", "failed"))
    columns = dict(zip(("video_id", "class_names", "split", "status"), zip(*rows, strict=True), strict=True))
    table = pa.table({name: list(values) for name, values in columns.items()})
    write_table(tmp_path / "data/index.parquet", table, {"class_names": ["surfing", "juggling", "yo yo"]}, {})
    for shard, (ids, values) in enumerate([(["b", "a"], np.eye(3)[:2]), (["c"], np.eye(3)[2:])]):
        write_arrays(
            tmp_path / f"backbone/features/{shard:03d}-of-002.zarr.zip",
            {"features": values.astype(np.float32)},
            {"video_id": ids},
            {"settings": ENCODER},
        )
    write_arrays(tmp_path / "data/clips/000-of-002.zarr.zip", {"x": np.zeros(1)}, {}, {"settings": CUT})
    return tmp_path, replace(model, about={"features": ENCODER, "decode": CUT})


def test_videos_are_joined_by_id_whatever_their_order(other):
    results, model = other
    videos = cross_domain.read_videos(cross_domain.files_in(results), str(results), "test", model)
    assert (videos.video_id, videos.class_name) == (["b", "a"], ["juggling", "surfing"])
    assert videos.features.tolist() == np.eye(3)[:2].tolist() and videos.maps is None
    assert cross_domain.read_videos(cross_domain.files_in(results), str(results), "all", model).video_id == [
        "b",
        "a",
        "c",
    ]
    assert cross_domain.activations_of(model, videos).tolist() == np.eye(3)[:2].tolist()


def test_label_sets_are_told(other):
    results, model = other
    rows, _ = read_table(results / "data/index.parquet")
    position = rows.column_names.index("class_names")
    several = rows.set_column(position, "class_names", [[["surfing", "juggling"], ["juggling"], [], ["surfing"]]])
    write_table(results / "data/index.parquet", several, {"class_names": ["surfing", "juggling", "yo yo"]}, {})
    with pytest.raises(
        StageError, match=r"mutually exclusive classes; 2 of 3 videos have none or several labels, .* `a`$"
    ):
        cross_domain.read_videos(cross_domain.files_in(results), str(results), "all", model)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"features": {**ENCODER, "model": "clip"}}, "backbone.features.model is videomae, the model was trained on"),
        ({"decode": {**CUT, "sampling": "dense"}}, "data.decode.sampling is uniform, the model was trained with dense"),
        ({"decode": {**CUT, "size": 224}}, "data.decode.size is 112"),
    ],
)
def test_what_another_encoder_made_is_refused(other, about, message):
    results, model = other
    with pytest.raises(StageError, match=message):
        cross_domain.read_videos(
            cross_domain.files_in(results), str(results), "test", replace(model, about={**model.about, **about})
        )


def test_a_tuned_network_is_known_by_its_weights_and_not_by_its_name(other):
    results, model = other
    named = {**ENCODER, "model": "results/d/backbone/finetuned"}
    tuned = replace(model, about={**model.about, "features": named, "finetuned": "0a1b"})
    with pytest.raises(StageError, match=r"set backbone\.features\.model to results/d/backbone/finetuned"):
        cross_domain.read_videos(cross_domain.files_in(results), str(results), "test", tuned)
    for path in (results / "backbone/features").iterdir():
        arrays, attributes = read_arrays(path)
        content = {"video_id": attributes["video_id"]}
        write_arrays(path, arrays, content, {"settings": ENCODER, "weights": "0a1b"})
    assert len(cross_domain.read_videos(cross_domain.files_in(results), str(results), "test", tuned).video_id) == 2


def test_what_changes_nothing_is_accepted(other):
    """The stride matters to dense sampling only, the decoder never, and of imported features nothing is known."""
    results, model = other
    for about in (
        {"decode": {**CUT, "stride": 2, "backend": "pyav"}},
        {"features": {**ENCODER, "source": "tensor", "model": "clip"}, "decode": {**CUT, "size": 1}},
    ):
        accepted = replace(model, about={**model.about, **about})
        assert (
            len(cross_domain.read_videos(cross_domain.files_in(results), str(results), "test", accepted).video_id) == 2
        )


def test_what_is_not_there_is_told(other):
    results, model = other
    with pytest.raises(StageError, match="no split `val`; it has shifted, test"):
        cross_domain.read_videos(cross_domain.files_in(results), str(results), "val", model)
    narrow = replace(model, layer={**model.layer, "weight": np.eye(3, 5)})
    with pytest.raises(StageError, match="features have 3 dimensions, the model was trained on 5"):
        cross_domain.activations_of(
            narrow, cross_domain.read_videos(cross_domain.files_in(results), str(results), "test", narrow)
        )
    for path in (results / "backbone/features").iterdir():
        path.unlink()
    with pytest.raises(StageError, match="backbone/features holds nothing"):
        cross_domain.read_videos(cross_domain.files_in(results), str(results), "test", model)


@pytest.fixture
def read_there(other):
    """The same folder with poses and embeddings, and a model that reads: `a` is the medoid, `b` has no pose."""
    results, model = other
    medoids = np.random.default_rng(0).uniform(size=(2, 4, 3, 2)).astype(np.float32)
    seen = {"keypoints": np.ones((4, 3, 2)), "confidence": np.ones((4, 3)), "present": np.ones(4, bool)}
    cut = {"poses": medoids[:1], "row": np.zeros(1, np.int32), "start": np.zeros(1, np.int32)}
    settings = {"length": 4, "normalise": "clip"}
    write_arrays(
        results / "motion/poses/000-of-001.zarr.zip", {**seen, "offsets": np.array([0, 4])}, {"video_id": ["a"]}, {}
    )
    write_arrays(results / "motion/pose_clips/000-of-001.zarr.zip", cut, {"video_id": ["a"]}, {"settings": settings})
    embedded = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    encoder = {"source": "computed", "model": "clip", "revision": "main"}
    write_arrays(
        results / "context/dual_encoder/000-of-001.zarr.zip",
        {"embeddings": embedded},
        {"video_id": ["c", "b", "a"]},
        {"settings": encoder},
    )
    layer = {"weight": np.zeros((0, 3)), "mean": np.zeros(3), "std": np.ones(3), "texts": np.eye(2)[:1]}
    motion = {"movement_temperature": None, "among_concepts": False}
    reading = {"pose_clips": settings, "motion": motion, "dual_encoder": encoder}
    about = {**model.about, "reading": reading}
    return results, replace(model, types=["motion", "motion", "scene"], layer=layer, medoids=medoids, about=about)


def test_what_a_model_reads_is_read_in_the_other_set(read_there):
    results, model = read_there
    videos = cross_domain.read_videos(cross_domain.files_in(results), str(results), "test", model)
    assert videos.video_id == ["b", "a"]
    assert np.isnan(videos.read[0, :2]).all() and videos.read[1, 0] == pytest.approx(1) and videos.read[1, 1] < 0.9
    np.testing.assert_allclose(videos.read[:, 2], [0.6, 0.0])
    z = cross_domain.activations_of(model, videos)
    np.testing.assert_allclose(z, np.nan_to_num(videos.read))


def test_what_cannot_be_compared_with_a_reading_model_is_refused(read_there):
    results, model = read_there
    reading = model.about["reading"]
    for changed, message in (
        ({"pose_clips": {"length": 25, "normalise": "clip"}}, r"motion\.pose_clips\.length is 4, .* trained with 25"),
        ({"dual_encoder": {**reading["dual_encoder"], "model": "xclip"}}, r"dual_encoder\.model is clip, .* of xclip"),
    ):
        unlike = replace(model, about={**model.about, "reading": {**reading, **changed}})
        with pytest.raises(StageError, match=message):
            cross_domain.read_videos(cross_domain.files_in(results), str(results), "test", unlike)
    with pytest.raises(StageError, match="its poses have 3 joints, the model's 17"):
        wide = replace(model, medoids=np.ones((2, 4, 17, 2), np.float32))
        cross_domain.read_videos(cross_domain.files_in(results), str(results), "test", wide)
    (results / "motion/poses/000-of-001.zarr.zip").unlink()
    with pytest.raises(StageError, match="motion/poses holds nothing, and the model reads it"):
        cross_domain.read_videos(cross_domain.files_in(results), str(results), "test", model)
