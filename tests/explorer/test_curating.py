"""Concepts are named, merged, dropped and approved from the page; the file is that of the commands."""

from __future__ import annotations

import json
import shutil

import pytest
from starlette.testclient import TestClient

from pipeline.explorer.server import application
from pipeline.explorer.session import Session
from pipeline.methods.dance import curation
from pipeline.methods.dance.bottleneck.recogniser import read_model
from pipeline.methods.dance.explore.run import open_run
from pipeline.methods.registry import METHODS
from tests.explorer.runs import HOSTILE

SESSION = Session(8123, "the token", "the cookie")
HEADERS = {"cookie": "conceptreel_8123=the cookie", "x-conceptreel": "1"}


class Page:
    """A page that curates."""

    def __init__(self, folder):
        self.folder = folder
        app = application(open_run(folder, METHODS["dance"]), SESSION)
        self.client = TestClient(app, base_url="http://127.0.0.1:8123")

    @property
    def about(self):
        return self.client.get("/data/explore.json", headers=HEADERS).json()

    def curate(self, *changes):
        return self.client.post("/api/curate", headers=HEADERS, json={"changes": changes})


@pytest.fixture
def page(small_run, tmp_path):
    return Page(shutil.copytree(small_run, tmp_path / "small"))


def test_a_name_is_shown_at_once_and_the_commands_read_it(page):
    first, _, ball, _ = page.about["concepts"]
    assert first["id"].startswith("motion:") and first["curated"]["state"] == "kept"
    name = f"{HOSTILE} both arms"
    answer = page.curate(
        {"action": "name", "concept": first["id"], "name": name}, {"action": "approve", "concept": ball["id"]}
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["outdated"] == "names" and "snakemake" in told["command"]
    again = page.about["concepts"]
    assert again[0]["label"] == again[0]["curated"]["name"] == name and again[2]["curated"]["approved"]
    assert page.client.get("/api/state", headers=HEADERS).json()["curation"] == told == page.about["curation"]
    kept = curation.shown(curation.read(page.folder / curation.FILE), curation.of_run(page.folder))
    assert kept == told["concepts"]


def test_merges_and_drops_say_what_must_be_run(page):
    first, second = (concept["id"] for concept in page.about["concepts"][:2])
    for change, expected in (
        ({"action": "merge", "concept": first, "with": [second]}, ("merged", first)),
        ({"action": "drop", "concept": second}, ("dropped", None)),
    ):
        told = page.curate(change).json()
        state = {row["id"]: row for row in told["concepts"]}
        assert told["outdated"] == "structure"
        assert (state[second]["state"], state[second]["into"], state[first]["state"]) == (*expected, "kept")
        assert page.about["concepts"][1]["curated"]["state"] == expected[0]
        told = page.curate({"action": "forget", "concept": second}).json()
        assert {row["state"] for row in told["concepts"]} == {"kept"} and told["outdated"] == ""


@pytest.mark.parametrize(
    "changes",
    [
        None,
        [],
        {},
        ["drop"],
        [{}],
        [{"action": "drop"}],
        [{"action": "drop", "concept": 1}],
        [{"action": "drop", "concept": "object:ffffffffffffffff"}],
        [{"action": "eat", "concept": "sea"}],
        [{"action": "name", "concept": "sea"}],
        [{"action": "name", "concept": "sea", "name": 3}],
        [{"action": "name", "concept": "sea", "name": "two\nlines"}],
        [{"action": "merge", "concept": "sea", "with": "motion 000"}],
        [{"action": "merge", "concept": "sea", "with": [1]}],
        [{"action": "merge", "concept": "sea", "with": ["motion 000"]}],
        [{"action": "approve", "concept": "sea"}, {"action": "drop", "concept": "nothing"}],
    ],
)
def test_changes_that_cannot_be_meant_write_nothing(page, changes):
    answer = page.client.post("/api/curate", headers=HEADERS, json={"changes": changes})
    assert answer.status_code == 400 and list(answer.json()) == ["error"]
    assert not (page.folder / curation.FILE).exists()


def test_a_file_that_is_none_is_said_and_the_page_works(page):
    (page.folder / curation.FILE).write_text("motion: [")
    about = page.about
    assert about["curation"] is None and any(curation.FILE in line for line in about["figures"]["warnings"])
    assert page.curate({"action": "approve", "concept": "sea"}).status_code == 400
    assert (page.folder / curation.FILE).read_text() == "motion: ["


def test_what_was_made_again_is_shown_without_a_new_start(page):
    assert page.about["concepts"][3]["label"] == "sea"
    model = read_model(page.folder / "model.pt")
    model.concepts[3] = "ocean"
    model.save(page.folder / "model.pt")
    assert page.about["concepts"][3]["label"] == "ocean"


def test_an_exported_folder_shows_what_was_said(page):
    page.curate({"action": "name", "concept": "sea", "name": "the sea"})
    run = open_run(page.folder, METHODS["dance"])
    about = json.loads(run.read("data/explore.json", live=False))
    assert about["concepts"][3]["label"] == "the sea" and about["curation"]["concepts"]


def test_damaged_motion_concepts_are_told_and_not_taken_for_a_model_without_a_run(page):
    path = page.folder / "motion" / "motion_concepts.zarr.zip"
    path.write_bytes(path.read_bytes()[:100])
    about = page.about
    assert about["curation"] is None and any("motion_concepts" in line for line in about["figures"]["warnings"])
    answer = page.client.get("/api/state", headers=HEADERS)
    assert answer.status_code == 400 and "motion_concepts" in answer.json()["error"]


def test_a_model_without_a_run_has_nothing_to_curate(page):
    shutil.rmtree(page.folder / "bottleneck")
    assert page.client.get("/api/state", headers=HEADERS).json()["curation"] is None
