"""Builds the pages as a site: ``make docs``. They stay where they lie; the site is made of links to them."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
# What becomes a page, or is shown by one.
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "docs", "pipeline/methods/*/README.md")


def staged(folder: Path) -> None:
    """Link every page into a folder, at its own place, so that links between pages stay right."""
    shutil.rmtree(folder, ignore_errors=True)
    for pattern in PAGES:
        for path in sorted(PROJECT.glob(pattern)):
            place = folder / path.relative_to(PROJECT)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)


def main() -> int:
    """Exit code of MkDocs, which is 1 if a link leads nowhere."""
    call = argparse.ArgumentParser(description=__doc__)
    call.add_argument("--serve", action="store_true", help="show it on 127.0.0.1 while you write")
    build = PROJECT / "build"
    staged(build / "pages")
    what = ["serve"] if call.parse_args().serve else ["build", "--strict", "--site-dir", str(build / "site")]
    command = [sys.executable, "-m", "mkdocs", *what, "--config-file", str(PROJECT / "docs" / "mkdocs.yml")]
    # The theme advertises its successor, which is not finished yet.
    return subprocess.run(command, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
