"""The pages as a site: every link and anchor leads somewhere, and no page loads anything from another host."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tools.site import PAGES, staged


def copy_of(project, folder):
    for name in (*PAGES, "tools"):
        for path in project.glob(name):
            place = folder / path.relative_to(project)
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, place)
    return folder


@pytest.fixture
def pages(project, tmp_path):
    """A copy of all pages, and of what builds them."""
    return copy_of(project, tmp_path / "project")


def build(folder):
    return subprocess.run([sys.executable, "-m", "tools.site"], cwd=folder, capture_output=True, text=True)


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(pages):
    done = build(pages)
    assert done.returncode == 0, done.stderr
    site = pages / "build" / "site"
    assert (site / "index.html").is_file() and (site / "docs" / "glossary.html").is_file()
    loaded = re.compile(r'<(?:script|img|iframe)[^>]*\ssrc="(https?:)?//|<link[^>]*stylesheet[^>]*href="(https?:)?//')
    for page in site.rglob("*.html"):
        assert not loaded.search(page.read_text()), page


@pytest.mark.parametrize("link", ["[gone](docs/gone.md)", "[gone](docs/cache.md#gone)"])
def test_a_dead_link_fails(pages, link):
    (pages / "CONTRIBUTING.md").write_text(f"# Contributing\n\n{link}\n")
    done = build(pages)
    assert done.returncode == 1 and "gone" in done.stderr


def test_pages_are_linked_where_they_lie(project, tmp_path):
    staged(tmp_path / "pages")
    assert (tmp_path / "pages" / "pipeline" / "methods" / "proda" / "README.md").resolve().parent.name == "proda"
