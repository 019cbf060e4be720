"""Folders of pictures as data sets of one-frame clips."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.data.decode import decode_video
from pipeline.data.entries import ListError
from pipeline.data.lists import read_entries, read_listing
from pipeline.data.readers import VideoError, open_video
from pipeline.data.settings import Decode, Index


def write(path, value: int = 100, height: int = 40, width: int = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((height, width, 3), value, np.uint8)
    picture[: height // 2, :, 2] = 250  # BGR: red above
    cv2.imwrite(str(path), picture)


def test_a_picture_is_a_video_of_one_frame(tmp_path):
    write(tmp_path / "a.PNG")
    with open_video(tmp_path / "a.PNG") as video:
        assert (video.n_frames, video.height, video.width) == (1, 40, 60)
        ((start, batch),) = video.batches()
    assert start == 0 and batch.shape == (1, 40, 60, 3)
    assert batch[0, 5, 5].tolist() == [250, 100, 100] and batch[0, 35, 5].tolist() == [100, 100, 100]


def test_a_picture_decodes_to_a_clip_that_repeats_it(tmp_path):
    write(tmp_path / "a.png")
    clip = decode_video(tmp_path / "a.png", Decode(n_frames=4, min_frames=1, size=20))
    assert clip["frames"].shape == (4, 20, 20, 3) and clip["frame_index"].tolist() == [0, 0, 0, 0]
    assert (clip["frames"] == clip["frames"][:1]).all()
    with pytest.raises(VideoError, match="too_short"):
        decode_video(tmp_path / "a.png", Decode(n_frames=4, size=20))


def test_broken_pictures_are_told(tmp_path):
    write(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.jpg").write_bytes(b"<!DOCTYPE html><html>no picture</html>")
    for name, reason in (("cut.png", "damaged"), ("empty.jpg", "empty"), ("page.jpg", "not_a_video")):
        with pytest.raises(VideoError) as caught:
            open_video(tmp_path / name)
        assert caught.value.reason == reason


@pytest.fixture
def split(tmp_path):
    """split/class/picture, the usual layout."""
    for part, count in (("train", 10), ("test", 2)):
        for name in ("cat", "dog"):
            for k in range(count):
                write(tmp_path / part / name / f"{k}.jpg")
    return tmp_path


def test_split_folders(split):
    settings = Index(source="images")
    assert read_listing(settings, split).class_names == ["cat", "dog"]
    entries = read_entries(settings, split)
    assert {entry.split: entry.listed for entry in entries} == {"train": "train", "val": "train", "test": "test"}
    test = [entry for entry in entries if entry.split == "test"]
    assert [(entry.path, entry.labels, entry.problem) for entry in test[:2]] == [
        ("test/cat/0.jpg", (0,), None),
        ("test/cat/1.jpg", (0,), None),
    ]
    assert len({entry.video_id for entry in entries}) == 24
    # Every class is validated on some of its pictures.
    assert {entry.labels for entry in entries if entry.split == "val"} == {(0,), (1,)}


def test_a_validation_folder_is_kept(split):
    write(split / "val" / "cat" / "9.png")
    entries = read_entries(Index(source="images"), split)
    assert [entry.path for entry in entries if entry.split == "val"] == ["val/cat/9.png"]


def test_a_class_that_train_lacks_is_told(split):
    write(split / "test" / "cow" / "1.jpg")
    with pytest.raises(ListError, match="holds cow, which train lacks"):
        read_entries(Index(source="images"), split)


def test_groups_make_the_splits_of_class_folders(tmp_path):
    for name in ("cat", "dog"):
        for camera in ("a", "b", "c"):
            for k in range(3):
                write(tmp_path / name / f"{camera}_{k}.jpg")
    settings = Index(source="images", group_pattern="^(?P<group>[a-c])_", test_groups=["c"])
    entries = read_entries(settings, tmp_path)
    assert {entry.group for entry in entries if entry.split == "test"} == {"c"}
    with pytest.raises(ListError, match="test_groups names no group"):
        read_entries(Index(source="images"), tmp_path)


def test_videos_do_not_count_as_pictures(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.mp4").write_bytes(b"x")
    with pytest.raises(ListError, match=r"no folder with pictures.*\.jpg, \.jpeg, \.png"):
        read_listing(Index(source="images"), tmp_path)
