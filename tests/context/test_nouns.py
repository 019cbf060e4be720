"""Nouns of a WordNet that is small enough to see through, in the real file format."""

from __future__ import annotations

import pytest

from pipeline.context.candidates import collect
from pipeline.context.nouns import NounError, read_names, read_wordnet
from pipeline.context.settings import Candidates

LICENCE = "  1 This software and database is being provided\n  2 to you, the LICENSEE\n"
# artifact ← structure ← house, igloo; artifact ← racket ← tennis_racket; location ← beach; person ← golfer;
# Paris is an instance of a location.
DATA = """\
00000100 03 n 01 artifact 0 002 ~ 00000200 n 0000 ~ 00000300 n 0000 | made by people
00000200 06 n 02 structure 0 construction 1 001 @ 00000100 n 0000 | built
00000210 06 n 01 house 0 002 @ 00000200 n 0000 #p 00000500 n 0000 | to live in
00000220 06 n 01 igloo 0 001 @ 00000200 n 0000 | of snow
00000300 06 n 02 racket 0 racquet 0 001 @ 00000100 n 0000 | to hit with
00000310 06 n 02 tennis_racket 0 TENNIS_bat 0 002 @ 00000300 n 0000 + 00000900 v 0101 | to hit tennis balls with
00000400 15 n 01 location 0 000 | where
00000410 15 n 01 beach 0 001 @ 00000400 n 0000 | of sand
00000420 15 n 01 paris 0 001 @i 00000400 n 0000 | a city
00000430 10 n 01 golfer 0 000 | plays
"""
INDEX = """\
artifact n 1 1 ~ 1 1 00000100
location n 2 0 2 1 00000400 00000999
structure n 1 2 @ ~ 1 1 00000200
"""


@pytest.fixture
def wordnet(tmp_path):
    (tmp_path / "data.noun").write_text(LICENCE + DATA)
    (tmp_path / "index.noun").write_text(LICENCE + INDEX)
    return tmp_path


def test_things_and_places(wordnet):
    names = read_wordnet(wordnet)
    assert names["scene"] == ["beach", "construction", "house", "igloo", "location", "structure"]
    assert names["object"] == ["artifact", "racket", "racquet", "tennis racket"]


def test_files_that_are_something_else(wordnet):
    (wordnet / "index.noun").write_text("<html>")
    with pytest.raises(NounError, match=r"expected WordNet's index\.noun"):
        read_wordnet(wordnet)
    (wordnet / "data.noun").write_text("00000100 03 n zz artifact\n")
    with pytest.raises(NounError, match=r"data\.noun, line 1: not a synset"):
        read_wordnet(wordnet)
    (wordnet / "data.noun").write_text(LICENCE)
    with pytest.raises(NounError, match="holds no synset"):
        read_wordnet(wordnet)
    (wordnet / "data.noun").unlink()
    with pytest.raises(NounError, match=r"data\.noun does not exist"):
        read_wordnet(wordnet)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("plain.txt", "Tench\n\n# note\ngreat_white_shark\ntench\n", ["tench", "great white shark"]),
        ("map.txt", "n01440764 tench, Tinca tinca\nn01443537 goldfish\n", ["tench", "goldfish"]),
        ("places.txt", "/a/airfield 0\n/a/apartment_building/outdoor 8\n", ["airfield", "apartment building outdoor"]),
        ("index.json", '{"1": ["n2", "goldfish"], "0": ["n1", "white_shark"]}', ["white shark", "goldfish"]),
    ],
)
def test_names_of_imagenet_and_places(tmp_path, name, text, found):
    (tmp_path / name).write_text(text)
    assert read_names(tmp_path / name) == found


def test_names_that_are_none(tmp_path):
    (tmp_path / "index.json").write_text('["tench"]')
    with pytest.raises(NounError, match="is not JSON of the form"):
        read_names(tmp_path / "index.json")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(NounError, match="holds no name"):
        read_names(tmp_path / "empty.txt")
    with pytest.raises(NounError, match="does not exist"):
        read_names(tmp_path / "gone.txt")


def test_both_sources_give_the_rows_of_the_stage(wordnet):
    rows = collect(Candidates(source="wordnet", wordnet="."), wordnet)
    assert rows[0] == ("object", "", "artifact") and rows[-1] == ("scene", "", "structure")
    (wordnet / "objects.txt").write_text("tench\n")
    (wordnet / "places.txt").write_text("/b/beach 3\n")
    settings = Candidates(source="names", names={"object": "objects.txt", "scene": "places.txt"})
    assert collect(settings, wordnet) == [("object", "", "tench"), ("scene", "", "beach")]


def test_sources_that_lack_something_are_refused():
    with pytest.raises(ValueError, match="needs a url and a model"):
        Candidates(source="endpoint", url="http://localhost/v1")
    with pytest.raises(ValueError, match="needs the folder"):
        Candidates(source="wordnet")
    with pytest.raises(ValueError, match="a file in `names` for every type"):
        Candidates(source="names", names={"object": "x.txt"})
