"""What the explorer asks of a method: files that a page reads, and what the page may have done.

A page does its arithmetic itself, so that the same files serve a live server and a folder on any web host. A method
names a function that opens its run as `Explored` in ``explore`` of its `pipeline.methods.registry.Method`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.methods.registry import Method

REPORT = "pages/report.html"


class Refused(ValueError):
    """What a page has asked for cannot be done; one line that says why, and what would be right."""


@dataclass(frozen=True)
class Upload:
    """A file that a person dropped on the page.

    Attributes:
        path: of a temporary copy; name: of the file as the page gave it, a hostile string.
        seconds: that everything may take.
    """

    path: Path
    name: str
    seconds: float


class Explored(Protocol):
    """A finished run as the explorer shows it; every call may come from any thread.

    Attributes:
        suffixes: of files that `attempt` takes; empty where it takes none.
    """

    suffixes: tuple[str, ...]

    def warm(self) -> None:
        """Read what every page needs; called once, before anybody asks."""

    def names(self) -> Iterable[str]:
        """Names of all files that a page without a server needs: ``data/explore.json``, ``media/thumb/0.webp``."""

    def read(self, name: str, live: bool) -> bytes | None:
        """One of these files, or one of a file that was tried; None where there is none of that name.

        Args:
            live: whether the page has a server behind it.
        """

    def actions(self) -> Mapping[str, Callable[[Any], dict[str, Any]]]:
        """What a page may ask for by name, with a JSON value; each raises `Refused` where it cannot be done."""

    def attempt(self, upload: Upload) -> dict[str, Any]:
        """What the model makes of a file of the person's own.

        Raises:
            Refused: it cannot be read.
        """


def pages_of(folder: Path, method: Method) -> list[dict[str, str]]:
    """Pages of its own that a method has written, as title and address.

    Args:
        folder: ``results/<data set>``.
    """
    report = folder / f"{method.place}report.html"
    return [{"title": "report", "href": REPORT}] if report.is_file() else []


def read_page(folder: Path, method: Method, name: str) -> bytes | None:
    """One of `pages_of`; None where there is none of that name."""
    if not any(page["href"] == name for page in pages_of(folder, method)):
        return None
    return (folder / f"{method.place}report.html").read_bytes()
