from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from pipeline.cli import main
from pipeline.inspection.thumbnails import GAP, LABEL, Tile, chosen_videos, contact_sheet, spread
from pipeline.store.tables import read_table

FOLDER = "results/own"


def middles(path, columns: int, count: int, size: int) -> list[tuple[int, ...]]:
    """Colour in the middle of each tile."""
    sheet = np.asarray(Image.open(path).convert("RGB"))
    places = [(n // columns, n % columns) for n in range(count)]
    return [
        tuple(sheet[GAP + r * (size + LABEL + GAP) + size // 2, GAP + c * (size + GAP) + size // 2]) for r, c in places
    ]


def test_a_sheet_shows_every_picture_in_its_place():
    tiles = [Tile(np.full((8, 8, 3), 40 * n, np.uint8), f"video {n}") for n in range(5)]
    sheet = contact_sheet(tiles, 3, 20)
    assert sheet.size == (3 * (20 + GAP) + GAP, 2 * (20 + LABEL + GAP) + GAP)
    pixels = np.asarray(sheet)
    assert pixels[GAP + 10, GAP + 10 + 2 * (20 + GAP)].tolist() == [80] * 3
    assert pixels[-5, -5].tolist() == [255] * 3  # the sixth place is empty
    labels = pixels[GAP + 20 : GAP + 20 + LABEL, : 20 + GAP]
    assert labels.min() < 200
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], 3, 20)


def test_videos_are_spread_over_the_classes():
    videos = [{"video_id": str(n), "class_names": [str(n // 10)]} for n in range(40)]
    assert [video["class_names"] for video in spread(videos, 4)] == [["0"], ["1"], ["2"], ["3"]]
    assert spread(videos, 100) == videos


def test_a_video_belongs_to_each_of_its_classes(cache):
    assert [video["video_id"] for video in chosen_videos(cache.folder, ["wave"])] == ["wave_2", "wave_1"]
    assert [video["video_id"] for video in chosen_videos(cache.folder, ["run"])] == ["run_1", "run_2", "wave_2"]


def test_middle_frames_from_the_cache(cache, capsys, tmp_path):
    out = tmp_path / "sheet.png"
    assert main(["thumbnails", FOLDER, "--out", str(out), "--columns", "2", "--size", "16"]) == 0
    assert "3 pictures of 4 videos" in capsys.readouterr().out
    # Sorted by class and id; the failed video has no clip.
    assert middles(out, 2, 3, 16) == [(20 + 40 * n,) * 3 for n in range(3)]
    assert main(["thumbnails", FOLDER, "--out", str(out), "--class", "wave", "--split", "train", "--size", "16"]) == 0
    assert middles(out, 1, 1, 16) == [(100, 100, 100)]
    assert main(["thumbnails", FOLDER, "--out", str(out), "--video", "run_2", "--size", "16"]) == 0
    assert middles(out, 2, 2, 16) == [(60, 60, 60)] * 2


def test_key_frames_from_the_video_files(cache, tmp_path):
    """A folder of pictures is a video, too."""
    cache.table("keyframes", {"video_id": ["run_1"], "frames": [[0, 2]]}, shard=cache.shard_of("run_1"))
    folder = tmp_path / "data" / "run_1.mp4"
    folder.mkdir(parents=True)
    for n in range(3):
        Image.fromarray(np.full((32, 32, 3), 50 * n + 30, np.uint8)).save(folder / f"{n}.png")
    out = tmp_path / "sheet.png"
    arguments = ["--frames", "keyframes", "--video", "run_1", "--data-root", str(tmp_path / "data"), "--size", "32"]
    assert main(["thumbnails", FOLDER, "--out", str(out), *arguments]) == 0
    assert middles(out, 2, 2, 32) == [(30,) * 3, (130,) * 3]
    out = tmp_path / "sheet.jpg"
    assert main(["thumbnails", FOLDER, "--out", str(out), *arguments, "--limit", "1"]) == 0
    with Image.open(out) as sheet:
        assert sheet.format == "JPEG" and sheet.width == 32 + 2 * GAP


def test_key_frames_of_an_excerpt_are_counted_from_its_first_frame(cache, tmp_path):
    cache.table("keyframes", {"video_id": ["run_1"], "frames": [[0, 2]]}, shard=cache.shard_of("run_1"))
    table, attributes = read_table(cache.path("index"))
    excerpt = [4, None, None, None], [9, None, None, None]
    columns = {name: table[name] for name in table.column_names}
    columns |= dict(zip(("first_frame", "end_frame"), excerpt, strict=True))
    cache.table("index", columns, {"class_names": attributes["class_names"]})
    (tmp_path / "data" / "run_1.mp4").mkdir(parents=True)
    for n in range(12):
        Image.fromarray(np.full((32, 32, 3), 20 * n, np.uint8)).save(tmp_path / "data" / "run_1.mp4" / f"{n}.png")
    out = tmp_path / "sheet.png"
    arguments = ["--frames", "keyframes", "--video", "run_1", "--data-root", str(tmp_path / "data"), "--size", "32"]
    assert main(["thumbnails", FOLDER, "--out", str(out), *arguments]) == 0
    assert middles(out, 2, 2, 32) == [(80,) * 3, (120,) * 3]


def test_bad_input_writes_nothing(cache, capsys, tmp_path):
    out = tmp_path / "sheet.png"
    before = sorted(tmp_path.rglob("*"))
    cases = [
        (["--out", str(tmp_path / "sheet.pdf")], "written as .png"),
        (["--out", str(out), "--class", "wafe"], "no class `wafe` in results/own; did you mean wave"),
        (["--out", str(out), "--video", "run_3"], "did you mean run_"),
        (["--out", str(out), "--split", "testing"], "did you mean test"),
        (["--out", str(out), "--video", "wave_2"], "no clips of these videos"),
        (["--out", str(out), "--frames", "keyframes", "--video", "run_2"], "`--frames clip` needs no video files"),
    ]
    for arguments, words in cases:
        assert main(["thumbnails", FOLDER, *arguments]) == 2
        error = capsys.readouterr().err
        assert words in error and len(error.splitlines()) == 1
    assert main(["thumbnails", str(tmp_path), "--out", str(out)]) == 2
    assert "no data/index.parquet" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    shutil.rmtree(cache.folder / "data/clips")
    assert main(["thumbnails", FOLDER, "--out", str(out)]) == 2
