"""The candidate and class lists that the project ships are fit for the filters that read them."""

from __future__ import annotations

import re

import pytest

from pipeline.context.texts import TYPES, read_candidates, spoken
from pipeline.data.entries import read_class_list

CLASS_COUNTS = {"haa100": 100, "kth": 6, "penn_action": 15, "ucf101": 101}
# Weizmann has no class list of its own: its classes are the names of its folders.
WEIZMANN = ["bend", "jack", "jump", "pjump", "run", "side", "skip", "walk", "wave1", "wave2"]
SENTENCES = ("temporal", "spatio_temporal")
DATA_SETS = sorted([*CLASS_COUNTS, "weizmann"])
each_list = pytest.mark.parametrize(("data_set", "kind"), [(name, kind) for name in DATA_SETS for kind in TYPES])


@pytest.fixture
def candidate_file(project):
    return lambda data_set, kind: project / "pipeline" / "context" / "candidates" / data_set / f"{kind}.txt"


@pytest.fixture
def class_names(project):
    def read(data_set: str) -> list[str]:
        if data_set == "weizmann":
            return WEIZMANN
        return read_class_list(project / "pipeline" / "data" / "classes" / f"{data_set}.txt")

    return read


def letters(text: str) -> str:
    """What is left of a text if case, blanks, hyphens and underscores do not count."""
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def by_class(path) -> dict[str, list[str]]:
    """Class → its candidates, from the headings of a shipped list."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            found[line[3:]] = []
        elif line and not line.startswith("#"):
            found[list(found)[-1]].append(line)
    return found


@each_list
def test_first_line_says_what_the_list_holds(candidate_file, data_set, kind):
    first = candidate_file(data_set, kind).read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ") and data_set in first.replace(",", "").split()


@each_list
def test_every_candidate_is_a_short_lower_case_text(candidate_file, data_set, kind):
    found = read_candidates(candidate_file(data_set, kind))
    assert len(found) >= 15
    # 30 characters is the length filter of DANCE: a longer candidate would be written for nothing.
    assert [text for text in found if not re.fullmatch(r"[a-z][a-z0-9' -]{1,28}[a-z0-9]", text)] == []


@pytest.mark.parametrize("data_set", CLASS_COUNTS)
@pytest.mark.parametrize("kind", [*TYPES, *SENTENCES])
def test_every_class_has_its_own(candidate_file, class_names, data_set, kind):
    """About five objects and scenes, four sentences of each kind; in label order, none twice in a class."""
    found = by_class(candidate_file(data_set, kind))
    assert list(found) == class_names(data_set)
    low, high = (4, 4) if kind in SENTENCES else (4, 6)
    assert {name: len(texts) for name, texts in found.items() if not low <= len(texts) <= high} == {}
    for texts in found.values():
        assert len({letters(text) for text in texts}) == len(texts)
    listed = [text for texts in found.values() for text in texts]
    assert read_candidates(candidate_file(data_set, kind)) == list(dict.fromkeys(listed))


@each_list
def test_no_candidate_is_a_class_name(candidate_file, class_names, data_set, kind):
    classes = {letters(name) for name in class_names(data_set)}
    assert [text for text in read_candidates(candidate_file(data_set, kind)) if letters(text) in classes] == []


@pytest.mark.parametrize("data_set", DATA_SETS)
def test_objects_and_scenes_share_nothing(candidate_file, data_set):
    objects, scenes = (set(read_candidates(candidate_file(data_set, kind))) for kind in TYPES)
    assert objects & scenes == set()


@pytest.mark.parametrize("data_set", CLASS_COUNTS)
@pytest.mark.parametrize("kind", SENTENCES)
def test_sentences_do_not_give_their_class_away(candidate_file, data_set, kind):
    for name, texts in by_class(candidate_file(data_set, kind)).items():
        for text in texts:
            assert re.fullmatch(r"[a-z][a-z0-9', -]{15,118}[a-z0-9]", text), text
            assert not re.search(rf"\b{re.escape(spoken(name))}\b", text), (name, text)


BODY = (
    "arms?|hands?|knees?|hips?|shoulders?|chest|legs?|feet|foot|heels?|elbows?|heads?|palms?|thighs?|fingers?|wrists?"
)


@pytest.mark.parametrize("data_set", CLASS_COUNTS)
def test_temporal_sentences_name_no_part_of_the_body(candidate_file, data_set):
    """The question asked for the course of the action alone."""
    found = read_candidates(candidate_file(data_set, "temporal"))
    assert [text for text in found if re.search(rf"\b({BODY})\b", text)] == []


@pytest.mark.parametrize(("data_set", "count"), CLASS_COUNTS.items())
def test_class_lists_are_complete(class_names, data_set, count):
    assert len(class_names(data_set)) == count


@pytest.mark.parametrize(
    ("data_set", "places"),
    {
        "haa100": {0: "arm_wave", 29: "CPR", 51: "jump rope", 99: "yoga_updog"},
        "kth": {0: "walking", 2: "jogging", 5: "handclapping"},
        "penn_action": {0: "baseball_pitch", 3: "strum_guitar", 14: "squat"},
        "ucf101": {0: "ApplyEyeMakeup", 22: "CricketBowling", 50: "LongJump", 100: "YoYo"},
    }.items(),
)
def test_label_order(class_names, data_set, places):
    names = class_names(data_set)
    assert {label: names[label] for label in places} == places


@pytest.mark.parametrize("data_set", CLASS_COUNTS)
def test_class_lists_equal_those_of_the_data(class_names, real_data, data_set):
    original = real_data / data_set / "class_list.txt"
    if not original.is_file():
        pytest.skip(f"no class list at {original}")
    assert class_names(data_set) == read_class_list(original)
