"""The methods that there are: every folder beside this file that has a ``method.py``.

A method stands on the floors and has a folder of its own for everything else: what may be configured, its stages, its
network, how its models are opened, and a README. CONTRIBUTING.md adds one step by step.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.jobs.declare import Stage
from pipeline.settings import Section

# Sections of a data set's configuration that are no method's.
FLOORS = ("data", "motion", "context", "backbone", "graphs", "demo", "dataset", "profile", "expects", "ablations")


def _accept(section: Any) -> None:
    return None


@dataclass(frozen=True)
class Method:
    """What the project must know of a method; it names code, and imports none that is slow.

    Attributes:
        name: of its folder, of what its model files say, and of its results: ``results/<data set>/<name>/``.
        title: in words.
        sections: keys that it adds to a data set's configuration, with their models.
        stages: what it computes.
        goal: the stage that makes its model and its ``metrics.json``.
        load: ``module:function``; opens a model, given a `pipeline.methods.models.Envelope` and the folder of its run.
        summary: ``module:function``; lines about a finished run, given its folder; empty: the figures of metrics.json.
        comparisons: module of what ``conceptreel ablate`` compares; see `pipeline.ablations.variants`.
        explore: ``module:function``; opens a finished run as `pipeline.methods.explored.Explored`, given the folder of
            its data set and this method; by default its figures, its page and its rows.
        check: raises ValueError where sections do not fit each other.
        folder: of its results below ``results/<data set>``; DANCE's lie there themselves.
    """

    name: str
    title: str
    sections: Mapping[str, type[Section]]
    stages: tuple[Stage, ...]
    goal: str
    load: str
    summary: str = ""
    comparisons: str = ""
    explore: str = "pipeline.methods.explored:open_figures"
    check: Callable[[Any], None] = field(default=_accept, compare=False)
    folder: str | None = None

    @property
    def place(self) -> str:
        """Prefix of its results below ``results/<data set>``: ``toy/``, or nothing."""
        folder = self.name if self.folder is None else self.folder
        return f"{folder}/" if folder else ""


def function(name: str) -> Callable[..., Any]:
    """The function that ``module:function`` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _found() -> dict[str, Method]:
    """All methods by name.

    Raises:
        ValueError: a method has another name than its folder, or a section's name is taken.
    """
    here = Path(__file__).parent
    found: dict[str, Method] = {}
    taken = dict.fromkeys(FLOORS, "a floor")
    for folder in sorted(path.parent.name for path in here.glob("*/method.py")):
        method: Method = importlib.import_module(f"pipeline.methods.{folder}.method").METHOD
        if method.name != folder:
            raise ValueError(f"{method.title}: its folder is `{folder}`, so it cannot be called `{method.name}`")
        for section in method.sections:
            if section in taken:
                raise ValueError(f"the method {folder} names a section `{section}`, which is {taken[section]}'s")
            taken[section] = f"the method {folder}"
        found[folder] = method
    return found


METHODS: dict[str, Method] = _found()
