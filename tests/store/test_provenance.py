"""What tells a changed file or folder without reading it."""

from __future__ import annotations

import os

import pytest

from pipeline.store.provenance import fingerprint


@pytest.fixture
def folder(tmp_path):
    """Three frames of a video, all of the same size and time."""
    (tmp_path / "video").mkdir()
    for name in ("1.png", "2.png", "3.png"):
        (tmp_path / "video" / name).write_bytes(b"frame")
        os.utime(tmp_path / "video" / name, ns=(5, 5))
    return tmp_path / "video"


def test_a_file_is_its_size_and_time(folder):
    assert fingerprint(folder / "1.png") == "5:5"
    with pytest.raises(FileNotFoundError):
        fingerprint(folder / "4.png")


@pytest.mark.parametrize("where", [".", "deeper"])
def test_a_folder_is_the_names_sizes_and_times_of_its_files(folder, where):
    place = folder / where
    place.mkdir(exist_ok=True)
    (place / "2.png").write_bytes(b"frame")
    seen = {fingerprint(folder)}
    times = os.stat(place)

    def changed():
        os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))  # that of the folder itself tells nothing
        seen.add(fingerprint(folder))
        return len(seen)

    assert changed() == 1
    with open(place / "2.png", "r+b") as file:
        file.write(b"other")
    os.utime(place / "2.png", ns=(6, 6))
    assert changed() == 2
    (place / "2.png").write_bytes(b"longer than before")
    os.utime(place / "2.png", ns=(6, 6))
    assert changed() == 3
    (place / "2.png").rename(place / "02.png")
    assert changed() == 4
    (place / "02.png").unlink()
    assert changed() == 5
    (place / ".DS_Store").write_bytes(b"a look into the folder")
    assert changed() == 5


def test_links_are_followed_to_files_alone(folder):
    (folder / "4.png").symlink_to(folder.parent / "elsewhere.png")
    (folder / "around").symlink_to(folder)
    without = fingerprint(folder)
    (folder.parent / "elsewhere.png").write_bytes(b"frame")
    found = fingerprint(folder)
    assert found != without
    os.utime(folder.parent / "elsewhere.png", ns=(7, 7))
    assert fingerprint(folder) != found
