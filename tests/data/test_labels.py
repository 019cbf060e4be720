"""Videos with none, one or many labels, and labelled segments: from lists and files into the tables of the stages."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.data import index, videos
from pipeline.data.entries import Entry, ListError, Segment, members_digest
from pipeline.data.lists import carve_validation, read_entries, read_listing
from pipeline.data.settings import Index
from pipeline.data.table import listed_ids, read_index, read_videos
from pipeline.jobs.stage import RUNTIME_VARIABLE, Job, StageError
from pipeline.store.tables import read_table

LABELS = "video,label,start,end\na.mp4,open door,0.5,2\na.mp4,sit,3,4.25\nb/b,0001,,\na.mp4,open door,1,3\nc,sit,,\n"


@pytest.fixture
def root(tmp_path):
    """Five videos without labels in their lists; labels of three of them in a file."""
    (tmp_path / "train.csv").write_text("a.mp4\nb/b.mp4\nc.mp4\nd, x 0.mp4\n")
    (tmp_path / "test.csv").write_text("e.mp4\n")
    (tmp_path / "labels.csv").write_text(LABELS)
    return tmp_path


def settings(**changes) -> Index:
    own = {"lists": {"train": "train.csv", "test": "test.csv"}, "labels": "labels.csv", "validation_by": "video"}
    return Index(**own | {"check_files": False, "validation_fraction": 0.01} | changes)


def found(entries: list[Entry]) -> dict:
    return {entry.path: (entry.labels, entry.class_names, entry.segments) for entry in entries}


EXPECTED = {
    "a.mp4": ((1, 2), ("open door", "sit"), (Segment(0.5, 2, 1), Segment(1, 3, 1), Segment(3, 4.25, 2))),
    "b/b.mp4": ((0,), ("0001",), ()),
    "c.mp4": ((2,), ("sit",), ()),
    "d, x 0.mp4": ((), (), ()),
    "e.mp4": ((), (), ()),
}


# --------------------------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize(
    ("line", "path", "labels"),
    [
        ("a/x.avi,[run;sit down]", "a/x.avi", (1, 2)),
        ("a/x, y.avi , [ sit down ;run; run]", "a/x, y.avi", (1, 2)),
        ("a/x.avi,[2;0]", "a/x.avi", (0, 2)),
        ('"a/x, [1].avi",[1]', "a/x, [1].avi", (1,)),
        ("a/x.avi,[]", "a/x.avi", ()),
        ("a/[x;y].avi", "a/[x;y].avi", (0,)),  # no set: the name of the file
        ("a/frames [0] 240 1", "a/frames [0]", (1,)),
        ("a/x.avi,[3;4]", "a/x.avi", (3,)),  # a class of that name
        ("a/x.avi,[3;4] 2", "a/x.avi,[3;4]", (2,)),
    ],
)
def test_sets_of_labels_in_lists(tmp_path, line, path, labels):
    (tmp_path / "classes.txt").write_text("a\nrun\nsit down\n[3;4]\n")
    (tmp_path / "train.csv").write_text(f"{line}\na/0.avi,0\n")
    own = Index(lists={"train": "train.csv"}, class_list="classes.txt", check_files=False)
    entry = read_entries(own, tmp_path)[0]
    names = ("a", "run", "sit down", "[3;4]")
    assert (entry.path, entry.labels, entry.problem) == (path, labels, None)
    assert entry.class_names == tuple(names[label] for label in labels)


def test_one_wrong_label_of_a_set_is_a_problem_of_its_video(tmp_path):
    (tmp_path / "classes.txt").write_text("run\nsit\n")
    (tmp_path / "train.csv").write_text("x.mp4,[run;fly]\ny.mp4,[0;7]\nz.mp4,[sit;run]\n")
    own = Index(lists={"train": "train.csv"}, class_list="classes.txt", check_files=False)
    assert [(entry.labels, entry.problem) for entry in read_entries(own, tmp_path)] == [
        ((), "class `fly` is not in the class list"),
        ((), "label 7 is not among the 2 classes"),
        ((0, 1), None),
    ]


def test_classes_of_sets_where_no_list_names_them(tmp_path):
    (tmp_path / "train.csv").write_text("x.mp4,[sit;run]\ny.mp4,jump\nz.mp4,[]\n")
    own = Index(lists={"train": "train.csv"}, check_files=False)
    assert read_listing(own, tmp_path).class_names == ["jump", "run", "sit"]
    (tmp_path / "train.csv").write_text("x.mp4,[sit;1]\n")
    with pytest.raises(ListError, match=r"train\.csv, line 1: labels are numbers there"):
        read_listing(own, tmp_path)


# ------------------------------------------------------------------------------------------------------ files of labels


def test_a_file_of_labels(root):
    listing = read_listing(settings(), root)
    assert listing.class_names == ["0001", "open door", "sit"]
    assert found(listing.entries) == EXPECTED
    assert [entry.problem for entry in listing.entries] == [None] * 5


def test_tabs_and_further_columns_and_other_orders(root):
    rows = [line.split(",") for line in LABELS.splitlines()]
    text = "\ufeff" + "".join(f"{label}\tnoted\t{end}\t{start}\t{video}\r\n" for video, label, start, end in rows)
    (root / "labels.tsv").write_text(text.replace("noted", "note", 1), newline="")
    assert found(read_entries(settings(labels="labels.tsv"), root)) == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_semicolons_quotes_accents_and_encodings(root, encoding):
    (root / "train.csv").write_text("a.mp4\nb/b.mp4\nc.mp4\né.mp4\n")
    text = (
        LABELS.replace("open door", "op\u00e9n; door")
        .replace(",", ";")
        .replace("op\u00e9n; door", '"ope\u0301n; door"')
    )
    (root / "labels.csv").write_bytes((text + "e\u0301.mp4;sit;;\n").encode(encoding))
    listing = read_listing(settings(), root)
    assert listing.class_names == ["0001", "op\u00e9n; door", "sit"]
    assert [entry.labels for entry in listing.entries] == [(1, 2), (0,), (2,), (2,), ()]
    assert listing.entries[0].segments == EXPECTED["a.mp4"][2]


def test_a_list_of_paths_may_have_a_header(root):
    (root / "train.csv").write_text("video\n" + (root / "train.csv").read_text())
    assert found(read_entries(settings(), root)) == EXPECTED


@pytest.mark.parametrize("encode", [False, True])
def test_labels_in_parquet_stay_text(root, encode):
    table = pa.table(
        {
            "start": [0.5, 3, None, 1, None],
            "end": pa.array([2, 4.25, None, 3, None], pa.float32()),
            "label": ["open door", "sit", "0001", "open door", "sit"],
            "video": ["a.mp4", "a", "b__b", "a.mp4", "c.mp4"],
        }
    )
    if encode:  # as pandas writes categories
        table = table.set_column(2, "label", table["label"].dictionary_encode())
    pq.write_table(table, root / "labels.parquet")
    assert found(read_entries(settings(labels="labels.parquet"), root)) == EXPECTED


def test_a_class_list_orders_the_labels_and_may_name_more(root):
    (root / "classes.txt").write_text("sit\nwave\nopen door\n0001\n")
    listing = read_listing(settings(class_list="classes.txt"), root)
    assert listing.class_names == ["sit", "wave", "open door", "0001"]
    assert listing.entries[0].labels == (0, 2) and listing.entries[0].class_names == ("sit", "open door")
    assert listing.entries[0].segments[0] == (0.5, 2, 2) and listing.entries[1].labels == (3,)
    (root / "classes.txt").write_text("sit\nopen door\n1\n")
    with pytest.raises(ListError, match=r"labels\.csv, line 4: class `0001` is not in the class list$"):
        read_listing(settings(class_list="classes.txt"), root)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("f.mp4,sit,,", "`f.mp4` is not one of the 5 listed videos; write its path as in the lists, or its id"),
        ('"x\ny",sit,,', "`x?y` is not one of the 5 listed videos"),
        (",sit,,", "`` is not one of the 5 listed videos"),
        ("a.mp4,,1,2", "the label is empty; a video without labels needs no row"),
        ("a.mp4,sit,2,2", "a segment must begin at 0 seconds or later and end after it begins, found 2.0 to 2.0"),
        ("a.mp4,sit,3,1.5", "end after it begins, found 3.0 to 1.5"),
        ("a.mp4,sit,-1,2", "found -1.0 to 2.0"),
        ("a.mp4,sit,nan,2", "found nan to 2.0"),
        ("a.mp4,sit,1,nan", "found 1.0 to nan"),
        ("a.mp4,sit,1,inf", "found 1.0 to inf"),
        ("a.mp4,sit,1,", "give both `start` and `end`, or leave both empty"),
        ("a.mp4,sit,0:10,0:20", "`start` and `end` are seconds such as 12.5, found `0:10` and `0:20`"),
        ("a.mp4,sit", "expected 4 columns, found 2"),
        ("a.mp4,open, then sit,1,2", "expected 4 columns, found 5; quote a value that contains the separator"),
    ],
)
def test_a_wrong_row_is_told_with_its_line(root, row, words):
    (root / "labels.csv").write_text(f'video,label,start,end\n\nc,"si\nt",,\n{row}\n')
    with pytest.raises(ListError) as told:
        read_listing(settings(), root)
    assert f"{root}/labels.csv, line {4 + row.count(chr(10)) + 1}: " in str(told.value) and words in str(told.value)
    assert "\n" not in str(told.value)


def test_the_first_of_several_wrong_rows_is_told(root):
    (root / "labels.csv").write_text("video,label\nx,sit\na,sit\ny,sit\nz,sit\n")
    with pytest.raises(ListError, match=r"line 2: `x` is not one .* \(and 2 further lines are wrong\)$"):
        read_listing(settings(), root)
    columns = {"video": ["a", "a", "b"], "label": ["sit"] * 3, "start": [0, float("nan"), 1], "end": [1.0, 2, 2]}
    pq.write_table(pa.table(columns), root / "labels.parquet")
    with pytest.raises(ListError, match=r"parquet, row 2: .* found nan to 2.0 \(and 1 further rows are wrong\)$"):
        read_listing(settings(labels="labels.parquet"), root)


def test_files_that_are_no_labels(root):
    for text, words in (
        ("video|label\na.mp4|sit\n", r"the columns must be named `video` and `label`, .* found video\|label"),
        ("video,label,start\na.mp4,sit,1\n", "with segments also `start` and `end`; found video, label, start"),
        ("", "found none"),
        ("video,label\n", "holds no label; write a row `video,label` per label"),
    ):
        (root / "labels.csv").write_text(text)
        with pytest.raises(ListError, match=words):
            read_listing(settings(), root)
    (root / "labels.csv").write_bytes(b"video,label\na.mp4,\xff\n")
    with pytest.raises(ListError, match=r"labels\.csv cannot be read as a table"):
        read_listing(settings(), root)
    (root / "labels.parquet").write_text("video,label\n")
    with pytest.raises(ListError, match=r"labels\.parquet cannot be read as Parquet"):
        read_listing(settings(labels="labels.parquet"), root)
    pq.write_table(pa.table({"video": ["a"], "label": [["sit"]]}), root / "labels.parquet")
    with pytest.raises(ListError, match=r"labels\.parquet cannot be read as Parquet"):
        read_listing(settings(labels="labels.parquet"), root)
    with pytest.raises(ListError, match=r"none\.csv does not exist; data\.index\.labels names it"):
        read_listing(settings(labels="none.csv"), root)
    with pytest.raises(ValueError, match="`labels` needs `source: lists`; the source folders has "):
        Index(source="folders", labels="labels.csv")


def test_reading_text_imports_no_reader_of_tables(root):
    code = (
        "import sys; from pathlib import Path; from pipeline.data.lists import read_entries; "
        "from pipeline.data.settings import Index; "
        f"own = Index.model_validate_json({settings().model_dump_json()!r}); "
        f"assert len(read_entries(own, Path({str(root)!r}))) == 5; "
        "assert not {'pyarrow', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------------------------------- splits and digest


@pytest.mark.parametrize("by", ["group", "video"])
def test_every_class_of_sets_keeps_a_train_video(by):
    for seed in range(40):
        random = np.random.default_rng(seed)
        sets = random.random((random.integers(5, 120), random.integers(2, 9))) < 0.25
        entries = []
        for row, shown in enumerate(sets):
            labels = tuple(np.flatnonzero(shown).tolist())
            names = tuple(map(str, labels))
            entries.append(Entry(f"v{row}", "", labels, names, "train", "train", f"g{random.integers(6)}"))
        carved = carve_validation(entries, 0.2, by, seed)
        splits = defaultdict(Counter)
        for entry in carved:
            for label in entry.labels:
                splits[label][entry.split] += 1
        assert all(own["train"] for own in splits.values())
        if by == "video" and len(entries) > 30:
            n_val = sum(entry.split == "val" for entry in carved)
            assert 1 <= n_val <= max(0.25 * len(entries), sets.shape[1]) + sets.shape[1]


def test_validation_takes_no_class_from_train_for_another():
    """Class a is in two groups; to move either one, or its videos alone, would take class b or c from train."""
    entries = [
        Entry("v0", "", (0, 1), ("a", "b"), "train", "train", "g0"),
        Entry("v1", "", (0, 2), ("a", "c"), "train", "train", "g1"),
    ]
    assert [entry.split for entry in carve_validation(entries, 0.5, "group", 0)] == ["train", "train"]
    free = [*entries, Entry("v2", "", (0,), ("a",), "train", "train", "g1")]
    assert [entry.split for entry in carve_validation(free, 0.5, "group", 0)] == ["train", "train", "train"]
    free = [*entries, Entry("v2", "", (0,), ("a",), "train", "train", "g2")]
    assert [entry.split for entry in carve_validation(free, 0.5, "group", 0)] == ["train", "train", "val"]


def test_videos_without_labels_are_carved_like_a_class():
    entries = [Entry(f"v{row:02d}", "", (), (), "train", "train") for row in range(20)]
    assert sum(entry.split == "val" for entry in carve_validation(entries, 0.2, "video", 0)) == 4


def test_the_digest_tells_labels_and_segments():
    first = Entry("v", "v.mp4", (0,), ("a",), "train", "train", segments=(Segment(0.0, 1.5, 0),))
    others = [
        replace(first, labels=(0, 1), class_names=("a", "b")),
        replace(first, labels=(), class_names=()),
        replace(first, labels=(1,)),
        replace(first, segments=(Segment(0.0, 1.25, 0),)),
        replace(first, segments=(Segment(0.0, 1.5, 1),)),
        replace(first, segments=()),
    ]
    assert len({members_digest([entry], None, with_labels=True) for entry in (first, *others)}) == 7
    assert len({members_digest([entry], None) for entry in (first, *others)}) == 1


# --------------------------------------------------------------------------------------------------------------- stages


class Data:
    """Stages on one folder of lists."""

    def __init__(self, root, monkeypatch):
        self.root = root
        monkeypatch.setenv(RUNTIME_VARIABLE, json.dumps({"roots": {"own": str(root)}}))

    def job(self, name: str, chosen: dict, inputs: tuple[str, ...] = (), shard: str = "") -> Job:
        call = argparse.Namespace(
            settings=json.dumps(chosen),
            input=[[key, str(self.root / f"{key}.parquet")] for key in inputs],
            output=[[name, str(self.root / f"{name}.parquet")]],
            dataset="own",
            shard=shard,
            threads=1,
        )
        return Job(name, f"pipeline.data.{name}", call)

    def index(self, **changes) -> tuple[pa.Table, dict]:
        index.build(self.job("index", settings(**changes).model_dump(mode="json")))
        return read_table(self.root / "index.parquet")

    def videos(self, own: Index, *experiments: Index) -> tuple[pa.Table, dict]:
        dumped = (experiment.model_dump(mode="json", exclude_defaults=True) for experiment in experiments)
        raw = {f"fold_{number}": experiment for number, experiment in enumerate(dumped, 1)}
        chosen = {"index": own.model_dump(mode="json"), "experiments": raw}
        videos.build(self.job("videos", chosen))
        return read_table(self.root / "videos.parquet")

    def reader(self, shard: str = "") -> Job:
        return self.job("reader", {}, ("videos", "index"), shard)


@pytest.fixture
def data(root, monkeypatch) -> Data:
    return Data(root, monkeypatch)


def test_the_index_holds_sets_and_segments(data):
    table, attributes = data.index(unseen_classes=True)
    assert attributes["class_names"] == ["0001", "open door", "sit"]
    assert table.schema.field("labels").type == pa.list_(pa.int32())
    assert table.schema.field("class_names").type == pa.list_(pa.string())
    assert table.schema.field("segments").type == index.SEGMENTS
    assert table["labels"].to_pylist() == [[1, 2], [0], [2], [], []]
    assert table["class_names"].to_pylist() == [["open door", "sit"], ["0001"], ["sit"], [], []]
    assert table["segments"].to_pylist()[:2] == [
        [
            {"start": 0.5, "end": 2.0, "label": 1},
            {"start": 1.0, "end": 3.0, "label": 1},
            {"start": 3.0, "end": 4.25, "label": 2},
        ],
        [],
    ]
    assert table["status"].to_pylist() == ["ok"] * 5
    seen = read_index(data.reader())
    assert seen.video_id.tolist() == ["a", "b__b", "c", "d%2C%20x%200", "e"]
    assert [own.tolist() for own in seen.labels] == [[1, 2], [0], [2], [], []]
    assert seen.labels[3].dtype == np.int32
    assert seen.segments[0] == EXPECTED["a.mp4"][2] and seen.segments[4] == ()
    assert seen.take(np.array([4, 0])).segments[1] == EXPECTED["a.mp4"][2]


def test_the_index_says_what_is_left_out_and_what_is_there_twice(data, capsys):
    for split, names in {"train": "abcdef", "test": "gh"}.items():
        for name in names:
            place = data.root / split / ("x" if name in "aceg" else "y") / f"{name}.mp4"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(name)
    (data.root / "test/x/g.mp4").write_text("a")
    (data.root / "loose.wmv").write_text("")
    own = Index(source="folders", validation_by="video")
    index.build(data.job("index", own.model_dump(mode="json")))
    _, attributes = read_table(data.root / "index.parquet")
    few = "4 videos are few; a class with fewer than 5 is hardly learned"
    told = attributes["provenance"]["warnings"]["index"]
    assert told[:-1] == [f"x: {few}", f"y: {few}", "1 videos are outside the class folders, for example loose.wmv"]
    assert told[-1].endswith("test/x/g.mp4 = train/x/a.mp4: figures would be too good; remove the copies")
    assert main(["inspect", str(data.root / "index.parquet")]) == 0
    shown = capsys.readouterr().out
    assert all(f"warning: index: {text}" in shown for text in told)


def test_one_label_per_video_or_a_line_that_says_what_to_do(data):
    data.index(unseen_classes=True)
    seen = read_index(data.reader())
    assert seen.take(np.array([2, 1])).single_label().tolist() == [2, 0]
    with pytest.raises(StageError) as told:
        seen.single_label("DANCE")
    assert str(told.value) == (
        "DANCE decides between mutually exclusive classes; 3 of 5 videos have none or several labels, for example "
        "`a` has 2 (open door, sit); give each video one label, or choose a method for label sets"
    )
    with pytest.raises(StageError, match=r"2 of 2 videos .* for example `d%2C%20x%200` has 0; give"):
        seen.take(np.array([3, 4])).single_label()


def test_a_class_without_train_videos_needs_a_setting(data):
    (data.root / "labels.csv").write_text(LABELS + "e.mp4,wave,,\n")
    with pytest.raises(StageError, match=r"`wave` has no train video: all 1 are in other splits; .*unseen_classes"):
        data.index(validation_fraction=0.01)
    assert data.index(unseen_classes=True)[1]["class_names"] == ["0001", "open door", "sit", "wave"]


def test_experiments_share_their_videos(data):
    lists = {"train": "a.mp4,x\nb.mp4,zebra\n", "test": "c.mp4,x\nd.mp4,x\ne.mp4,x\n"}
    lists |= {"fold_train": "e.mp4,x\na.mp4,x\n", "fold_val": "c.mp4,x\n", "classes": "x\n"}
    for name, text in lists.items():
        (data.root / f"{name}.csv").write_text(text)
    own = settings(labels="", class_list="classes.csv", max_failed_fraction=0.5)
    fold = own.model_copy(update={"lists": {"train": "fold_train.csv", "val": "fold_val.csv"}})
    table, attributes = data.videos(own, own, fold)
    assert table.select([*("path", "listed", "status", "developed")]).to_pylist() == [
        {"path": "a.mp4", "listed": "train", "status": "ok", "developed": True},
        {"path": "b.mp4", "listed": "train", "status": "failed", "developed": True},
        {"path": "c.mp4", "listed": "test", "status": "ok", "developed": True},
        {"path": "d.mp4", "listed": "test", "status": "ok", "developed": False},
        {"path": "e.mp4", "listed": "test", "status": "ok", "developed": True},
    ]
    assert set(table.column_names) - {"path", "listed", "status", "developed"} == {
        *("video_id", "first_frame", "end_frame", "reason")
    }
    assert attributes["failed"] == [{"video_id": "b", "reason": "class `zebra` is not in the class list"}]
    seen = read_videos(data.reader())
    assert seen.video_id.tolist() == ["a", "c", "d", "e"] and seen.developed.tolist() == [True, True, False, True]
    assert seen.files()[1] == ("c", "c.mp4", None)
    assert listed_ids(data.reader()) == {"train": ["a", "b"], "test": ["c", "d", "e"]}
    parts = [read_videos(data.reader(f"{number:03d}-of-002")) for number in (0, 1)]
    assert sorted(key for part in parts for key in part.video_id) == ["a", "c", "d", "e"]
    assert data.videos(own, own)[0]["developed"].to_pylist() == [True, True, False, False, False]


def test_an_experiment_has_no_videos_of_its_own(data):
    (data.root / "more.csv").write_text("a.mp4\nz/9.mp4\n")
    own = settings()
    other = settings(lists={"train": "more.csv"}, labels="more_labels.csv")
    (data.root / "more_labels.csv").write_text("video,label\na.mp4,sit\nz/9,sit\n")
    with pytest.raises(
        StageError, match=r"^the experiment `fold_3` has the video `z__9` \(z/9.mp4\), which the data set's own "
    ):
        data.videos(own, own, settings(test_fraction=0.5), other)
    # The same id in another folder is another file.
    with pytest.raises(StageError, match=r"^the experiment `fold_2` has the video `a` \(copies/a.mp4\)"):
        data.videos(own, own, settings(videos="copies"))
    with pytest.raises(ValueError, match="lists_"):
        videos.build(
            data.job("videos", {"index": own.model_dump(mode="json"), "experiments": {"fold": {"lists_": {}}}})
        )


def test_excerpts_reach_the_stages(data):
    (data.root / "00sequences.txt").write_text(
        "".join(f"person{p}_{action}_d1 frames 1-40, 41-80\n" for p in (11, 12, 22) for action in ("boxing", "walking"))
    )
    kth = Index(source="kth", check_files=False)
    data.videos(kth, kth)
    seen = read_videos(data.reader())
    assert seen.files()[:2] == [
        ("person11_boxing_d1_0", "boxing/person11_boxing_d1_uncomp.avi", (0, 40)),
        ("person11_boxing_d1_1", "boxing/person11_boxing_d1_uncomp.avi", (40, 80)),
    ]
