"""Skeletons: the joints of a pose, and how they are connected. Each is a small text file (docs/skeletons.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic import Field

from pipeline.settings import Section

FOLDER = Path(__file__).parent / "skeletons"


@dataclass(frozen=True)
class Skeleton:
    """A pose definition.

    name: of its file.
    joints: joint names, in the order of the keypoint arrays.
    edges: pairs of joint indices that are drawn as limbs.
    pairs: (left, right) indices of the joints that change places in a mirrored picture.
    shoulders: (left, right) shoulder.
    hips: (left, right) hip.
    head: indices of the joints that mark the head.
    """

    name: str
    joints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...]
    shoulders: tuple[int, int]
    hips: tuple[int, int]
    head: tuple[int, ...]


class Definition(Section):
    """What a file says; bones and pairs are two names with a blank between."""

    name: str = ""
    source: str = Field("", max_length=500)
    joints: list[str] = Field(min_length=3, max_length=1000)
    bones: list[str] = Field(max_length=1000)
    pairs: list[str] | None = Field(None, max_length=1000)
    shoulders: str = "left_shoulder right_shoulder"
    hips: str = "left_hip right_hip"
    head: list[str] = Field(default_factory=list, max_length=1000)
    axes: Literal["xy", "yx"] = "xy"

    def two(self, words: str, what: str) -> tuple[int, int]:
        """Indices of two joints.

        Raises:
            ValueError: these are not two different joints.
        """
        found = [self.joints.index(word) for word in words.split() if word in self.joints]
        if len(found) != 2 or len(words.split()) != 2 or found[0] == found[1]:
            raise ValueError(f"{what} `{words[:80]}` is not two of its joints with a blank between")
        return found[0], found[1]

    def skeleton(self) -> Skeleton:
        """Raises: ValueError: what it says does not fit together."""
        twice = [joint for place, joint in enumerate(self.joints) if joint in self.joints[:place]]
        if twice:
            raise ValueError(f"the joint `{twice[0]}` is there twice")
        edges = tuple(self.two(bone, "the bone") for bone in self.bones)
        named = self.pairs
        if named is None:
            named = [f"{name} right{name.removeprefix('left')}" for name in self.joints if name.startswith("left")]
        pairs = tuple(self.two(pair, "the pair") for pair in named)
        paired = [joint for pair in pairs for joint in pair]
        for place, joint in enumerate(paired):
            if joint in paired[:place]:
                raise ValueError(f"the joint `{self.joints[joint]}` is in two pairs")
        unknown = [joint for joint in self.head if joint not in self.joints]
        if unknown:
            raise ValueError(f"`{unknown[0]}` of the head is none of its joints")
        shoulders, hips = self.two(self.shoulders, "shoulders"), self.two(self.hips, "hips")
        head = tuple(self.joints.index(joint) for joint in self.head)
        # Between head and shoulders the pictures draw a neck.
        loose = set(range(len(self.joints))) - _reached([*edges, *((joint, shoulders[0]) for joint in head)])
        if loose:
            raise ValueError(f"no bones lead from `{self.joints[0]}` to `{self.joints[min(loose)]}`")
        return Skeleton(self.name, tuple(self.joints), edges, pairs, shoulders, hips, head)


def _reached(edges: Iterable[tuple[int, int]]) -> set[int]:
    """Joints that bones connect with the first one."""
    reached, before = {0}, 0
    while len(reached) > before:
        before = len(reached)
        for edge in edges:
            if reached & set(edge):
                reached |= set(edge)
    return reached


def shipped() -> dict[str, str]:
    """Name → path from the project's folder of the skeletons that come with it."""
    return {path.stem: f"pipeline/motion/skeletons/{path.name}" for path in sorted(FOLDER.glob("*.yaml"))}


def read_definition(path: Path) -> Definition:
    """A skeleton's file.

    Raises:
        ValueError: missing, not YAML, or it says what does not fit together; one line.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except Exception as error:  # beside its own errors YAML raises those of int, float, datetime and of the stack
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} is no skeleton's file ({words})") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path} is no skeleton's file: it must name joints and bones")
    try:
        found = Definition.model_validate({**raw, "name": path.stem})
        found.skeleton()
    except pydantic.ValidationError as error:
        raise ValueError(f"{path}: {_first(error)}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return found


def _first(error: pydantic.ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    return f"`{'.'.join(map(str, problem['loc']))[:80]}`: {problem['msg']}"


# What stands for a skeleton where motion is that of things.
TRACKS = "tracks"


def skeleton(described: str | Mapping[str, Any]) -> Skeleton | None:
    """The skeleton that an artifact describes, or a shipped one by its name; None for tracks of things.

    Raises:
        ValueError: there is no such skeleton.
    """
    if described == TRACKS:
        return None
    if isinstance(described, Mapping):
        try:
            return Definition.model_validate(described).skeleton()
        except pydantic.ValidationError as error:
            raise ValueError(f"no skeleton: {_first(error)}") from None
    if described not in shipped():
        raise ValueError(f"unknown skeleton {described!r}: choose one of {list(shipped())}")
    return read_definition(FOLDER / f"{described}.yaml").skeleton()


def mirrored(skeleton: Skeleton) -> list[int]:
    """For each joint the one that takes its place in a mirrored picture."""
    places = list(range(len(skeleton.joints)))
    for left, right in skeleton.pairs:
        places[left], places[right] = right, left
    return places
