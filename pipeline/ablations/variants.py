"""What comparisons are made of: variants of a configuration, and tables of them. A method says which it has.

A method's ``comparisons`` is a module with ``tables(section)``, ``section_of(section, variant, seed)`` and
``figures_of(cache, section, variant)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.config import Dataset, checked
from pipeline.settings import ConfigError


@dataclass(frozen=True)
class Variant:
    """One line of a table.

    Attributes:
        name: as printed.
        changes: dotted key of the data set's section → value.
        head: what decides, in the method's own terms.
        paper: data set → top-1 in per cent, as published.
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    head: Any = None
    paper: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A comparison.

    Attributes:
        source: which table of the paper it follows.
        remakes: stages that its variants may make again, although that reads every video.
    """

    name: str
    title: str
    source: str
    variants: list[Variant]
    remakes: tuple[str, ...] = ()


def changed(section: Dataset, changes: dict[str, Any], where: str = "ablations") -> Dataset:
    """The section with some settings replaced.

    Args:
        changes: dotted key → value; a mapping replaces the whole of a mapping.
        where: what to call the changes in an error.

    Raises:
        ConfigError: an unknown key or a value that is not allowed.
    """
    raw = section.model_dump(mode="json")
    for key, value in changes.items():
        *parents, last = key.split(".")
        part: Any = raw
        for step in parents:
            part = part.get(step) if isinstance(part, dict) else None
        if not isinstance(part, dict):
            raise ConfigError(f"{where}: there is no setting `{key}`; keys are written like motion.pose_clips.length")
        part[last] = value
    result = checked(Dataset, raw, where)
    result._name, result._base, result._folder = section.name, section.base, section._folder
    return result
