"""A run as a folder: everything that a page without a server needs, and no address that leads out of it."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from pipeline.cli import main
from pipeline.explorer import files
from pipeline.explorer.files import page_files, type_of
from pipeline.methods.dance.explore.run import open_run
from pipeline.methods.registry import METHODS


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page of two files instead of the real one."""
    folder = tmp_path / "page"
    (folder / "app").mkdir(parents=True)
    (folder / "index.html").write_text("<script type=module src=app/main.js></script>")
    (folder / "app" / "main.js").write_text("fetch('data/explore.json')")
    (folder / "app" / "notes.md").write_text("for authors")
    (folder / "app" / "outside.js").symlink_to("/etc/hostname")
    monkeypatch.setattr(files, "PAGE", folder)
    return folder


def test_the_folder_has_the_page_and_the_files_of_the_run(small_run, page, tmp_path, capsys):
    out = tmp_path / "out" / "demo"
    assert main(["explore", str(small_run), "--export", str(out)]) == 0
    said = capsys.readouterr().out
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    run = open_run(small_run, METHODS["dance"])
    assert written == {".nojekyll", "index.html", "app/main.js", *run.names()}
    assert f"{len(written)} files" in said and "http.server" in said
    about = json.loads((out / "data/explore.json").read_text())
    assert (about["live"], about["suffixes"]) == (False, [])
    live = json.loads(run.read("data/explore.json", live=True))
    assert live["live"] and live["suffixes"]
    changed = {key for key in about if about[key] != live[key]}
    assert changed == {"live", "suffixes"}
    assert (out / "data/z.f32").read_bytes() == run.read("data/z.f32", live=True)
    # From any folder of any host.
    addresses = re.findall(r'"((?:data|media|pages)/[^"]*)"', (out / "data/explore.json").read_text())
    assert addresses and all((out / address).is_file() for address in addresses)
    for path in out.glob("media/clip/*.json"):
        clip = json.loads(path.read_text())
        assert (out / clip["picture"]).is_file() and (out / clip["maps"]).is_file()


def test_a_folder_that_holds_something_is_left_alone(small_run, page, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    assert main(["explore", str(small_run), "--export", str(out)]) == 2
    assert "is no empty folder" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_run_that_breaks_off_leaves_no_half_folder(small_run, page, tmp_path, capsys):
    folder = shutil.copytree(small_run, tmp_path / "small")
    next(folder.glob("data/clips/*")).write_bytes(b"damaged")
    assert main(["explore", str(folder), "--export", str(tmp_path / "out")]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_page_has_no_file_from_elsewhere(page):
    assert set(page_files()) == {"index.html", "app/main.js"}
    assert type_of("app/main.js").startswith("text/javascript") and type_of("data/z.f32") == "application/octet-stream"
