"""Data sets of motion transfer: who may see what, and lists that cannot be used."""

from __future__ import annotations

import csv
import json
import time

import pytest

from pipeline.data.entries import ListError
from pipeline.data.lists import read_entries, read_listing
from pipeline.data.settings import Index, Rendered
from pipeline.data.synthesise import packed, unpacked
from pipeline.demo.synta.classes import clip_of

SOME = {
    "classes": ["rising", "falling"],
    "ids": 6,
    "train_ids": 4,
    "factor_ids": 1,
    "backgrounds": ["realistic", "plain"],
}


def entries(tmp_path, train_set=0, **rendered):
    index = Index(source="synta", train_set=train_set, validation_fraction=0.3, rendered=Rendered(**(SOME | rendered)))
    return [(clip_of(entry.path.removeprefix("videos/")), entry) for entry in read_entries(index, tmp_path / "absent")]


def test_the_full_set_has_ten_thousand_clips(tmp_path):
    start = time.process_time()
    listing = read_listing(Index(source="synta"), tmp_path)
    assert time.process_time() - start < 4
    assert len(listing.entries) == 10_000 == len({entry.video_id for entry in listing.entries})
    assert len(listing.class_names) == 20 and not listing.missing and not any(e.problem for e in listing.entries)


@pytest.mark.parametrize("train_set", [1, 2])
def test_what_is_trained_on_is_of_the_set_and_what_is_unknown_is_not(tmp_path, train_set):
    found = entries(tmp_path, train_set)
    by_split: dict[str, list] = {}
    for clip, entry in found:
        by_split.setdefault(entry.split, []).append(clip)
    assert by_split.keys() == {"train", "val", "test", "unknown", "unknown_motion", "unknown_shape", "unknown_scene"}
    seen = by_split["train"] + by_split["val"]
    assert all(clip.set == clip.shape_set == clip.scene_set == train_set and clip.id <= 4 for clip in seen)
    assert {clip.id for clip in by_split["train"]}.isdisjoint({clip.id for clip in by_split["val"]})
    assert all(clip.set == train_set and clip.id > 4 for clip in by_split["test"])
    assert all(clip.set != train_set and clip.id > 4 for clip in by_split["unknown"])
    for name, other in (("unknown_motion", "set"), ("unknown_shape", "shape_set"), ("unknown_scene", "scene_set")):
        for clip in by_split[name]:
            changed = {part for part in ("set", "shape_set", "scene_set") if getattr(clip, part) != train_set}
            assert changed == {other}


def test_train_clips_of_the_other_set_are_not_listed(tmp_path):
    every = {entry.path for _, entry in entries(tmp_path)}
    for train_set in (1, 2):
        own = {entry.path for _, entry in entries(tmp_path, train_set)}
        hidden = [clip_of(path.removeprefix("videos/")) for path in every - own]
        assert own < every
        assert all(c.background == "plain" or c.factor or (c.set != train_set and c.id <= 4) for c in hidden)


def test_plain_clips_are_splits_of_their_own(tmp_path):
    for clip, entry in entries(tmp_path):
        assert (clip.background == "plain") == entry.split.startswith("plain_")
        assert bool(clip.factor) == entry.split.startswith("unknown_")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"classes": ["flying"]}, "`flying` is not a coarse class of Syn-TA"),
        ({"train_ids": 6}, "leave none for validation"),
        ({"factor_ids": 3}, "there are 2 identities for validation"),
        ({"backgrounds": ["plain"]}, "must include realistic"),
        ({"views": ["front", "front"]}, "names something twice"),
    ],
)
def test_what_cannot_be_rendered_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Rendered(**(SOME | wrong))


def test_packed_ids_come_back():
    import numpy as np

    ids = np.random.default_rng(0).integers(0, 6, (3, 8, 10)).astype(np.uint8)
    assert np.array_equal(unpacked(packed(ids)), ids) and packed(ids).nbytes == ids.nbytes // 2


# ------------------------------------------------------------------------------------------------- K400-TA and SSv2-TA

TABLE = [
    ("k400", 1, "throwing axe", 0, "throwing"),
    ("k400", 2, "javelin throw", 0, "throwing"),
    ("k400", 1, "folding napkins", 1, "folding "),
    ("k400", 2, "folding paper", 1, "folding "),
    ("ssv2", 1, "Poking something", 0, "Poking"),
    ("ssv2", 2, "Poking a hole into something", 0, "Poking"),
]


def write_table(root, rows=TABLE):
    with (root / "fine_to_coarse.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "set", "fine", "coarse_id", "coarse"])
        writer.writerows(rows)


@pytest.fixture
def kinetics(tmp_path):
    write_table(tmp_path)
    head = "label,youtube_id,time_start,time_end,split\n"
    lines = {
        "train": [
            "throwing axe,aaa,1,11,train",
            "javelin throw,bbb,2,12,train",
            "folding paper,eee,0,10,train",
            "folding napkins,ccc,3,13,train",
            "playing chess,zzz,0,10,train",
        ],
        "validate": ["throwing axe,-f,46,56,val", "javelin throw,ggg,46,56,val", "folding paper,hhh,0,9,val"],
    }
    for name, own in lines.items():
        (tmp_path / f"{name}.csv").write_text(head + "\n".join(own) + "\n")
    return tmp_path


def test_kinetics_are_read_from_official_annotations(kinetics):
    found = read_listing(Index(source="k400_ta", check_files=False, validation_fraction=0.01), kinetics)
    assert found.class_names == ["throwing", "folding "] and len(found.entries) == 7
    known = read_listing(Index(source="k400_ta", train_set=1, check_files=False, validation_by="video"), kinetics)
    splits = {entry.path: entry.split for entry in known.entries}
    assert splits["val/-f_000046_000056.mp4"] == "test" and splits["val/ggg_000046_000056.mp4"] == "unknown"
    assert not any("bbb" in path or "eee" in path for path in splits)


def test_absent_kinetics_are_missing(kinetics):
    found = read_listing(Index(source="k400_ta", max_failed_fraction=1), kinetics)
    assert all(entry.problem.startswith("missing") for entry in found.entries)


def test_something_something_loses_its_brackets(tmp_path):
    write_table(tmp_path)
    for name in ("train", "validation"):
        rows = [
            {"id": f"{k}{len(name)}", "template": text}
            for k, text in enumerate(["Poking [something]", "Poking a hole into [something]", "Throwing [something]"])
        ]
        (tmp_path / f"something-something-v2-{name}.json").write_text(json.dumps(rows))
    found = read_listing(Index(source="ssv2_ta", train_set=2, check_files=False), tmp_path)
    assert {(entry.path, entry.split) for entry in found.entries} == {
        ("15.webm", "train"),
        ("010.webm", "unknown"),
        ("110.webm", "test"),
    }


def test_lists_of_the_release_are_read(tmp_path):
    write_table(tmp_path)
    for s in (1, 2):
        for split in ("train", "val"):
            (tmp_path / f"k400_{split}_set{s}_coarse.txt").write_text(f"{split}/{s}a.mp4 0\n{split}/{s}b.mp4 1\n")
    found = read_listing(Index(source="k400_ta", train_set=1, check_files=False), tmp_path)
    assert {entry.path for entry in found.entries} >= {"val/2a.mp4", "val/1b.mp4"}
    assert "train/2a.mp4" not in {entry.path for entry in found.entries}


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (
            lambda root: write_table(root, TABLE[:2] + TABLE[2:3]),
            "the coarse class `folding ` has no fine class in set 2",
        ),
        (lambda root: write_table(root, [*TABLE, ("k400", 2, "throwing axe", 0, "throwing")]), "is listed twice"),
        (lambda root: write_table(root, TABLE[4:]), "has no line of the data set k400"),
        (lambda root: write_table(root, [("k400", "x", "a", 0, "b")]), "expected the columns"),
        (lambda root: (root / "fine_to_coarse.csv").unlink(), "fine_to_coarse.csv is not in"),
        (lambda root: (root / "train.csv").write_text("label,youtube_id\nthrowing axe,a\n"), "line 2: expected label"),
        (
            lambda root: [path.unlink() for path in root.glob("*.csv") if path.name != "fine_to_coarse.csv"],
            "nor is there a list such as k400_train_set1_coarse.txt",
        ),
    ],
)
def test_lists_that_cannot_be_used_are_told(kinetics, break_it, words):
    break_it(kinetics)
    with pytest.raises(ListError, match=words):
        read_listing(Index(source="k400_ta", check_files=False), kinetics)


def test_a_video_in_both_sets_is_refused(kinetics):
    with (kinetics / "train.csv").open("a") as file:
        file.write("folding paper,aaa,1,11,train\n")
    with pytest.raises(ListError, match=r"aaa_000001_000011\.mp4 is in both sets"):
        read_listing(Index(source="k400_ta", check_files=False), kinetics)


def test_real_lists_of_the_release(real_data, tmp_path):
    import shutil

    folder = real_data / "motion_transfer"
    shutil.copy(folder / "fine_to_coarse.csv", tmp_path)
    shutil.copy(folder / "splits_excerpt/k400_val_set2_coarse.txt", tmp_path)
    found = read_listing(Index(source="k400_ta", train_set=1, check_files=False), tmp_path)
    labels = {entry.path: entry.labels[0] for entry in found.entries}
    assert labels["val/ZBaXmIE2sLQ_000005_000015.mp4"] == 27 and len(found.class_names) == 41
    assert {entry.split for entry in found.entries} == {"unknown"}
