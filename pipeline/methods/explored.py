"""What the explorer asks of a method: files that a page reads, and what the page may have done.

A page does its arithmetic itself, so that the same files serve a live server and a folder on any web host. A method
names a function that opens its run as `Explored` in ``explore`` of its `pipeline.methods.registry.Method`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.methods.registry import Method, function
from pipeline.store.atomic import ArtifactError
from pipeline.store.plain import as_json

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


# Of a column: text, a number, whether something is so, a class, several classes.
KINDS = ("text", "number", "flag", "class", "classes")


@dataclass(frozen=True)
class Rows:
    """What a method has decided clip by clip.

    Attributes:
        classes: names that columns of classes point into.
        columns: name → one of `KINDS`, and a value per row.
    """

    classes: list[str]
    columns: Mapping[str, tuple[str, list[Any]]]

    def as_dict(self) -> dict[str, Any]:
        columns = [{"name": name, "kind": kind} for name, (kind, _) in self.columns.items()]
        return {
            "classes": self.classes,
            "columns": columns,
            "values": [values for _, values in self.columns.values()],
        }


def tables(figures: Mapping[str, Any], title: str = "") -> Iterator[dict[str, Any]]:
    """The numbers of a ``metrics.json`` as tables: a mapping of mappings of numbers is one.

    Yields:
        ``title``, ``columns``, and ``rows`` with a ``name`` and ``values``, None where there is none; the longer side
        is that of the rows.
    """
    inner = {name: _numbers(own) for name, own in figures.items() if isinstance(own, Mapping)}
    shown = {name: own for name, own in inner.items() if own}
    if title and shown:
        columns = list(dict.fromkeys(column for own in shown.values() for column in own))
        rows, values = list(shown), [[own.get(column) for column in columns] for own in shown.values()]
        if len(columns) > len(rows):
            columns, rows, values = rows, columns, [list(column) for column in zip(*values, strict=True)]
        named = [{"name": name, "values": own} for name, own in zip(rows, values, strict=True)]
        yield {"title": title, "columns": columns, "rows": named}
    for name, own in figures.items():
        if isinstance(own, Mapping) and (not title or not inner[name]):
            yield from tables(own, f"{title} · {name}" if title else name)


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a mapping, those one level further down too, as ``outer: inner``."""
    found: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, bool | int | float):
            found[name] = float(value)
        elif isinstance(value, Mapping) and all(isinstance(item, int | float) for item in value.values()):
            found |= {f"{name}: {inner}": float(item) for inner, item in value.items()}
    return found


class Figures:
    """A run of a method without a view of its own: its figures, what its summary says, its page, its rows."""

    suffixes: tuple[str, ...] = ()

    def __init__(self, folder: Path, method: Method, rows: Callable[[Path], Rows | None] = lambda folder: None):
        """``rows`` reads the rows of a run, given ``results/<data set>``; None where it has none."""
        self.folder, self.method, self._rows = folder, method, rows
        self._written: bytes | None = None

    def warm(self) -> None:
        """Read the rows."""
        self.rows()

    def described(self, live: bool) -> dict[str, Any]:
        """``data/explore.json``."""
        path = self.folder / f"{self.method.place}metrics.json"
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path} cannot be read ({error}); run the pipeline again") from None
        said = function(self.method.summary)(self.folder, metrics, None) if self.method.summary else []
        return {
            "live": live,
            "view": "figures",
            "title": self.folder.resolve().name,
            "data_set": self.folder.resolve().name,
            "method": self.method.name,
            "about": self.method.title,
            "headline": metrics.get("headline"),
            "summary": said,
            "tables": list(tables(metrics)),
            "warnings": metrics.get("warnings", []),
            "rows": "data/rows.json" if self.rows() else None,
            "pages": pages_of(self.folder, self.method),
            "suffixes": [],
        }

    def rows(self) -> bytes:
        """``data/rows.json``; nothing where there are none."""
        if self._written is None:
            found = self._rows(self.folder)
            self._written = as_json(found.as_dict(), None).encode() if found else b""
        return self._written

    def names(self) -> Iterator[str]:
        """See `Explored`."""
        yield "data/explore.json"
        if self.rows():
            yield "data/rows.json"
        yield from (page["href"] for page in pages_of(self.folder, self.method))

    def read(self, name: str, live: bool) -> bytes | None:
        """See `Explored`."""
        if name == "data/explore.json":
            return as_json(self.described(live), None).encode()
        if name == "data/rows.json":
            return self.rows() or None
        return read_page(self.folder, self.method, name)

    def actions(self) -> Mapping[str, Callable[[Any], dict[str, Any]]]:
        """See `Explored`."""
        return {"state": lambda told: {}}

    def attempt(self, upload: Upload) -> dict[str, Any]:
        """See `Explored`."""
        raise Refused("this run takes no files")


def open_figures(folder: Path, method: Method) -> Figures:
    """What there is of every method."""
    return Figures(folder, method)
