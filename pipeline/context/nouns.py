"""Concept names from collections that others made: WordNet's nouns, the class names of ImageNet and of Places365.

Nothing of them is shipped; the files are the user's own download (DANCE supplement, Table 5).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from pipeline.data.lines import lines_of

# Words whose first meaning heads what can be seen as a place, and what can be seen as a thing. A noun below both, such
# as a house below structure and artifact, is a place.
SCENE_HEADS = (
    "location",
    "structure",
    "geological_formation",
    "body_of_water",
    "facility",
    "tract",
    "room",
    "area",
    "thoroughfare",
    "road",
    "vegetation",
)
OBJECT_HEADS = ("artifact", "natural_object", "food", "vascular_plant", "animal")


class NounError(ValueError):
    """A file is not what it should be; the message says what was expected."""


def _lines(path: Path) -> list[tuple[int, str]]:
    return lines_of(path, "docs/datasets/candidates.md says where it comes from", NounError)


def _read_synsets(path: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Offset → words, and offset → offsets of the hyponyms, from ``data.noun``."""
    words: dict[str, list[str]] = {}
    below: dict[str, list[str]] = defaultdict(list)
    for number, line in _lines(path):
        if not re.match(r"\d{8} ", line):
            continue  # the licence, in the first lines
        fields = line.partition("|")[0].split()
        try:
            offset, count = fields[0], int(fields[3], 16)
            words[offset] = fields[4 : 4 + 2 * count : 2]
            rest = fields[4 + 2 * count :]
            for k in range(int(rest[0])):
                symbol, target, part_of_speech = rest[1 + 4 * k : 4 + 4 * k]
                # `@i` leads from a single instance (a city, a person) to its kind: proper names are no common nouns.
                if symbol == "@" and part_of_speech == "n":
                    below[target].append(offset)
        except (IndexError, ValueError):
            raise NounError(f"{path}, line {number}: not a synset of WordNet's data.noun") from None
    if not words:
        raise NounError(f"{path} holds no synset; expected WordNet's data.noun")
    return words, below


def _first_senses(path: Path, wanted: Iterable[str]) -> list[str]:
    """Offsets of the first, that is the most frequent, meaning of some words, from ``index.noun``."""
    remaining = set(wanted)
    found = []
    for _, line in _lines(path):
        word = line.partition(" ")[0]
        if word in remaining:
            fields = line.split()
            found.append(fields[-int(fields[2])])
    if not found:
        raise NounError(f"{path} holds none of {', '.join(sorted(remaining))}; expected WordNet's index.noun")
    return found


def _descendants(heads: Iterable[str], below: dict[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(heads)
    while waiting:
        offset = waiting.pop()
        if offset not in seen:
            seen.add(offset)
            waiting += below.get(offset, ())
    return seen


def read_wordnet(folder: Path) -> dict[str, list[str]]:
    """Common nouns of WordNet for what can be seen: ``object`` and ``scene`` → names, sorted.

    Args:
        folder: ``dict`` of a WordNet download, with ``index.noun`` and ``data.noun``.

    Raises:
        NounError: a file is missing or is something else.
    """
    words, below = _read_synsets(folder / "data.noun")
    scenes = _descendants(_first_senses(folder / "index.noun", SCENE_HEADS), below)
    objects = _descendants(_first_senses(folder / "index.noun", OBJECT_HEADS), below) - scenes
    names = {}
    for kind, offsets in (("scene", scenes), ("object", objects)):
        found = {word.replace("_", " ") for offset in offsets for word in words.get(offset, ())}
        names[kind] = sorted(word for word in found if word == word.lower())
    # The same word can name a thing and a place; it is taken as a place, like the meanings above.
    names["object"] = sorted(set(names["object"]) - set(names["scene"]))
    return names


_PLACE = re.compile(r"/\w/(?P<name>\S+)(?:\s+\d+)?")
_SYNSET = re.compile(r"n\d{8}\s+(?P<name>.+)")


def read_names(path: Path) -> list[str]:
    """Class names of ImageNet or Places365, in the order of the file, without repeats.

    Read are plain names, one per line; ``n01440764 tench, Tinca tinca``, of which the first name counts;
    ``/a/apartment_building/outdoor 8``; and JSON of the form ``{"0": ["n01440764", "tench"]}``.

    Raises:
        NounError: missing, or without a name.
    """
    lines = [line for _, line in _lines(path)]
    if path.suffix == ".json":
        try:
            content = json.loads("\n".join(lines))
            lines = [content[key][1] for key in sorted(content, key=int)]
        except (ValueError, LookupError, TypeError, AttributeError):
            raise NounError(f'{path} is not JSON of the form {{"0": ["n01440764", "tench"]}}') from None
    names = []
    for line in lines:
        if line.startswith("#"):
            continue
        place, synset = _PLACE.fullmatch(line), _SYNSET.fullmatch(line)
        name = place["name"].replace("/", " ") if place else synset["name"].split(",")[0] if synset else line
        names.append(" ".join(name.replace("_", " ").lower().split()))
    if not names:
        raise NounError(f"{path} holds no name")
    return list(dict.fromkeys(names))


if __name__ == "__main__":
    import sys

    print({kind: len(names) for kind, names in read_wordnet(Path(sys.argv[1])).items()})
