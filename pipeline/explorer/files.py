"""The files of the page itself, which come with the package; what a run adds is its method's."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".png": "image/png",
}


def type_of(name: str) -> str:
    """The media type of a file by its name."""
    return TYPES.get(Path(name).suffix, "application/octet-stream")


def page_files() -> dict[str, Path]:
    """Name → path of what the page is made of; only these can be asked for, so that no name leads elsewhere."""
    return {
        path.relative_to(PAGE).as_posix(): path
        for path in sorted(PAGE.rglob("*"))
        if path.suffix in TYPES and path.is_file() and not path.is_symlink()
    }
