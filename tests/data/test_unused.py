"""What lies in a data set's folder and is not used is told, and so is a video that two splits share."""

from __future__ import annotations

import os
from collections import Counter
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.data.entries import VIDEO_SUFFIXES, ListError, split_named
from pipeline.data.lists import read_listing
from pipeline.data.readers import open_video
from pipeline.data.settings import Index
from pipeline.data.unused import copies, unused, with_findings

FOLDERS = Index(source="folders", test_fraction=0.2, validation_by="video")


def make(root, *names):
    """Files of different content below a folder."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def film(path, codec, container, size=(64, 48), n=12):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for k in range(n):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 20 * k, np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


# ------------------------------------------------------------------------------------------------------------- endings


@pytest.mark.parametrize(
    ("ending", "codec", "container", "size"),
    [
        ("wmv", "wmv2", "asf", (64, 48)),
        ("flv", "flv1", "flv", (64, 48)),
        ("3gp", "mpeg4", "3gp", (64, 48)),
        ("MTS", "libx264", "mpegts", (64, 48)),
        ("ts", "mpeg2video", "mpegts", (64, 48)),
        ("vob", "mpeg2video", "vob", (64, 48)),
        ("mxf", "mpeg2video", "mxf", (64, 48)),
        ("m2v", "mpeg2video", "mpeg2video", (64, 48)),
        ("divx", "mpeg4", "avi", (64, 48)),
    ],
)
def test_videos_of_every_ending_are_seen_and_read(tmp_path, ending, codec, container, size):
    make(tmp_path, "A/0.mp4", "A/1.mp4", "A/2.mp4")
    film(tmp_path / f"B/x.{ending}", codec, container, size)
    listing = read_listing(FOLDERS, tmp_path)
    assert listing.class_names == ["A", "B"]
    (entry,) = [entry for entry in listing.entries if entry.class_names == ("B",)]
    assert (entry.video_id, entry.path) == ("B__x", f"B/x.{ending}") and f".{ending}".lower() in VIDEO_SUFFIXES
    with open_video(tmp_path / entry.path) as video:
        assert sum(len(batch) for _, batch in video.batches()) == 12


def test_a_video_with_another_ending_is_told_by_its_content(tmp_path):
    make(tmp_path, *[f"{c}/{k}.mp4" for c in "AB" for k in range(3)], "A/notes.txt", "A/sound.wav")
    film(tmp_path / "A/x.dat", "mpeg4", "avi")
    film(tmp_path / "C/y", "libx264", "mp4")
    film(tmp_path / "C/z.video", "libx264", "mpegts")
    listing = read_listing(FOLDERS, tmp_path)
    assert listing.class_names == ["A", "B"]
    assert unused(listing, "folders", tmp_path) == [
        "A: 1 files have video content but another ending, for example A/x.dat; rename them",
        "A: 2 files are not videos, for example notes.txt",
        "C: 2 files have video content but another ending, for example C/y; rename them",
    ]


# ------------------------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("TRAIN_SET", "train"),
        ("valid", "val"),
        ("Validation", "val"),
        ("val_videos", "val"),
        ("dev", "val"),
        ("Testing", "test"),
        ("test-data", "test"),
        ("eval", "test"),
        ("trainer", None),
        ("valley", None),
        ("contest", None),
        ("test2", None),
    ],
)
def test_names_of_splits(name, split):
    assert split_named(name) == split


def test_folders_of_splits_by_other_names(tmp_path):
    names = {"Training": 4, "valid": 2, "TEST": 3}
    make(tmp_path, *[f"{split}/{c}/{split}{k}.mp4" for split, n in names.items() for c in "AB" for k in range(n)])
    listing = read_listing(Index(source="folders", validation_by="video"), tmp_path)
    assert Counter(entry.split for entry in listing.entries) == {"train": 8, "val": 4, "test": 6}
    assert listing.notes == [
        "the folder TEST is the split `test`",
        "the folder Training is the split `train`",
        "the folder valid is the split `val`",
    ]
    make(tmp_path, "val/A/0.mp4")
    with pytest.raises(ListError, match="has val and valid for the split `val`; join or rename them"):
        read_listing(FOLDERS, tmp_path)


def test_a_split_without_class_folders_is_told_and_an_empty_one_stops(tmp_path):
    make(tmp_path, *[f"train/{c}/{k}.mp4" for c in "AB" for k in range(4)], "test/1.mp4", "test/2.mp4", "train/3.mp4")
    make(tmp_path, "holdout/A/1.mp4", "loose.mp4")
    listing = read_listing(FOLDERS, tmp_path)
    assert {entry.split for entry in listing.entries} == {"train", "val", "test"}  # test is carved
    assert unused(listing, "folders", tmp_path) == [
        "1 videos are outside the class folders, for example loose.mp4",
        "the folder holdout/A is not train, val or test: its 1 videos are not read, for example holdout/A/1.mp4",
        "the folder test has no class folders: its 2 videos are not read, for example test/1.mp4",
        "1 videos are outside the class folders in train, for example train/3.mp4",
    ]
    (tmp_path / "val").mkdir()
    with pytest.raises(ListError, match="val holds no folder with videos"):
        read_listing(FOLDERS, tmp_path)


def test_a_class_named_like_a_split_is_a_class(tmp_path):
    make(tmp_path, *[f"{c}/{k}.mp4" for c in ("training", "test", "yoga") for k in range(3)])
    assert read_listing(FOLDERS, tmp_path).class_names == ["test", "training", "yoga"]


def test_what_no_list_names_is_told(tmp_path):
    make(tmp_path, *[f"a/{k}.mp4" for k in range(6)], "b/more/x.webm", "frames/f/1.jpg", "c/.hidden.mp4", "c/plan.txt")
    (tmp_path / "train.csv").write_text("a/0.mp4,x\na/1.mp4,y\nframes/f,x\n")
    (tmp_path / "test.csv").write_text("a/2.mp4,x\n")
    settings = Index(lists={"train": "train.csv", "test": "test.csv"})
    os.symlink(tmp_path, tmp_path / "b/circle")
    listing = with_findings(read_listing(settings, tmp_path), settings, tmp_path)
    assert listing.unused == [
        "a: 3 videos are in no list of the data set, for example a/3.mp4",
        "b: 1 videos are in no list of the data set, for example b/more/x.webm",
    ]
    # Where nothing need be on disk nobody looks.
    imported = settings.model_copy(update={"check_files": False})
    assert with_findings(read_listing(imported, tmp_path), imported, tmp_path).unused == []


def test_folders_of_frames_and_many_unused_folders_are_told(tmp_path):
    make(tmp_path, *[f"{c}/{k}.mp4" for c in "AB" for k in range(3)], *[f"A/clip{k}/1.jpg" for k in range(2)])
    make(tmp_path, *[f"set{k:02d}/inner/x.mp4" for k in range(12)])
    lines = unused(read_listing(FOLDERS, tmp_path), "folders", tmp_path)
    assert lines[0] == ("A: 2 sub-folders of pictures are not read, for example A/clip0; lists can name them as videos")
    assert lines[1] == "the folder set00 is not a class: its 1 videos are in sub-folders; move them up"
    assert len(lines) == 11 and lines[-1] == "and 3 more such folders"


# -------------------------------------------------------------------------------------------------------------- copies


def test_one_video_in_two_splits_is_told(tmp_path):
    make(tmp_path, *[f"{s}/{c}/{s}{k}.mp4" for s in ("train", "val", "test") for c in "AB" for k in range(3)])
    settings = Index(source="folders")
    assert copies(read_listing(settings, tmp_path), tmp_path) == []
    (tmp_path / "test/A/new.mp4").write_bytes((tmp_path / "train/B/train1.mp4").read_bytes())
    (tmp_path / "train/A/again.mp4").write_bytes((tmp_path / "train/A/train0.mp4").read_bytes())  # within train
    (tmp_path / "val/A/none.mp4").write_bytes(b"")
    (tmp_path / "test/A/none.mp4").write_bytes(b"")
    assert copies(read_listing(settings, tmp_path), tmp_path) == [
        "1 videos are in test and train with the same content, for example test/A/new.mp4 = train/B/train1.mp4: "
        "figures would be too good; remove the copies"
    ]


def test_videos_that_differ_in_one_byte_are_no_copies(tmp_path):
    for split, last in (("train", b"0"), ("test", b"1")):
        for c in "AB":
            make(tmp_path, f"{split}/{c}/{split}.mp4")
        (tmp_path / f"{split}/A/long.mp4").write_bytes(bytes(200_000) + last)
    assert copies(read_listing(Index(source="folders", validation_by="video"), tmp_path), tmp_path) == []


def test_folders_of_the_same_pictures_are_copies(tmp_path):
    for folder, pictures in {"a": "xyz", "b": "xyz", "c": "xqz", "d": "xy"}.items():
        for k, text in enumerate(pictures):
            make(tmp_path, f"{folder}/{k}.jpg")
            (tmp_path / f"{folder}/{k}.jpg").write_text(text)
    (tmp_path / "train.csv").write_text("a,run\nd,sit\n")
    (tmp_path / "test.csv").write_text("b,run\nc,run\n")
    listing = read_listing(Index(lists={"train": "train.csv", "test": "test.csv"}, validation_by="video"), tmp_path)
    (line,) = copies(listing, tmp_path)
    assert "for example b = a" in line and line.startswith("1 videos are in test and train ")
