"""Every view: nothing to complain of, nothing from elsewhere, names as they are, accessible, wide and small."""

from __future__ import annotations

import json
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from pipeline.methods.dance.explore.run import open_run
from pipeline.methods.registry import METHODS
from tests.explorer.browser.driving import serving, watched
from tests.explorer.runs import HOSTILE

VIEWS = ("", "clips", "clip/0", "clip/3", "clip/4", "concepts", "concept/0", "concept/2", "try", "nothing")


class Other:
    """A run of a method that the page has no view of its own for."""

    suffixes: tuple[str, ...] = ()
    ROWS = 3000

    def described(self) -> dict[str, Any]:
        return {
            "live": True,
            "view": "figures",
            "title": f"{HOSTILE} set",
            "data_set": "set",
            "method": "other",
            "about": "a method",
            "headline": {"name": HOSTILE, "value": 0.5, "split": "test"},
            "summary": [f"line {HOSTILE}", "  second"],
            "tables": [
                {"title": HOSTILE, "columns": ["a", HOSTILE], "rows": [{"name": HOSTILE, "values": [0.25, None]}]}
            ],
            "warnings": [HOSTILE],
            "rows": "data/rows.json",
            "pages": [],
            "suffixes": [],
        }

    def rows(self) -> dict[str, Any]:
        kinds = {"id": "text", "true": "class", "share": "number", "right": "flag", "also": "classes"}
        columns = [{"name": name, "kind": kind} for name, kind in kinds.items()]
        n = self.ROWS
        values = [
            [f"{HOSTILE} {i:04d}" for i in range(n)],
            [i % 2 for i in range(n)],
            [(i * 7919 % n) / n for i in range(n)],
            [None if i == 5 else i % 3 == 0 for i in range(n)],
            [[0, 1] if i % 2 else [] for i in range(n)],
        ]
        return {"classes": [f"{HOSTILE} class", "second"], "columns": columns, "values": values}

    def read(self, name: str, live: bool) -> bytes | None:
        known = {"data/explore.json": self.described, "data/rows.json": self.rows}
        return json.dumps(known[name]()).encode() if name in known else None

    def actions(self) -> dict[str, Any]:
        return {}


@pytest.fixture(scope="module")
def other_address():
    return serving(Other())


def violations(page) -> list[str]:
    """What axe-core finds wrong, each in a line."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
        for rule in found
        for node in rule["nodes"]
    ]


def shown_as_they_are(page) -> None:
    """No name has become an element, and none has been cut out."""
    assert page.locator("main img:not([src^='media/'])").count() == 0
    assert "onerror" in page.locator("main").inner_text() or "onerror" not in page.content()


def narrow_enough(page) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= page.viewport_size["width"], wide


@pytest.mark.parametrize("view", VIEWS)
def test_views(browser, address, view):
    for wide, dark in ((True, False), (False, True)):
        seen = watched(browser, address, wide, dark, reduced_motion="reduce")
        page = seen.open(view)
        shown_as_they_are(page)
        narrow_enough(page)
        assert violations(page) == []
        seen.quiet()
        page.context.close()


@pytest.mark.parametrize("view", ["", "rows"])
def test_views_of_other_methods(browser, other_address, view):
    for wide, dark in ((True, True), (False, False)):
        seen = watched(browser, other_address, wide, dark)
        page = seen.open(view)
        shown_as_they_are(page)
        narrow_enough(page)
        assert violations(page) == []
        seen.quiet()
        page.context.close()


def test_rows_of_other_methods(browser, other_address):
    seen = watched(browser, other_address)
    page = seen.open("rows")
    assert page.locator("tbody tr").count() < 100
    page.get_by_role("button", name="share").click()
    assert page.locator("tbody tr td.of-number").first.inner_text() == "0.000"
    page.get_by_role("button", name="share").click()
    assert page.locator("tbody tr td.of-number").first.inner_text() == "1.000"
    page.get_by_label("right").select_option("yes")
    page.get_by_label("Search").fill("0003")
    assert page.locator("tbody tr").count() == 1
    seen.quiet()


def test_changes_are_accessible(browser, address):
    seen = watched(browser, address, wide=False, dark=True)
    page = seen.open("clip/4")
    page.get_by_label("Concept", exact=True).select_option("2")
    page.get_by_label("Activation of").press("End")
    page.get_by_text("A box by numbers").click()
    page.get_by_role("button", name="Mark").click()
    page.get_by_text("2 changes").wait_for()
    assert violations(page) == []
    page.get_by_role("button", name="Review").click()
    assert page.locator(".log li").count() == 3
    shown_as_they_are(page)
    narrow_enough(page)
    assert violations(page) == []
    page.keyboard.press("Escape")
    assert page.locator("dialog").is_hidden()
    seen.quiet()


@pytest.fixture(scope="module")
def large(browser, large_run):
    return watched(browser, serving(open_run(large_run, METHODS["dance"])))


def test_thousands_of_clips(large):
    """Only the cards near the window exist; the keyboard reaches every one of them."""
    page = large.open("clips")
    assert page.get_by_text("13,320 clips").count()
    page.locator(".grid a").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(":focus")).to_have_attribute("href", "#/clip/1")
    page.keyboard.press("End")
    expect(page.locator(":focus")).to_have_attribute("href", "#/clip/13319")
    last = page.locator(".grid li").first.get_attribute("data-position")
    page.mouse.wheel(0, -40_000)
    expect(page.locator(".grid li").first).not_to_have_attribute("data-position", last)
    assert page.locator(".grid a").count() < 200
    large.quiet()


def test_a_run_of_ucf101s_size_without_pictures(large):
    for view in ("", "clip/77", "concepts", "concept/5"):
        page = large.open(view)
        assert page.locator("main img, .player").count() == 0
        narrow_enough(page)
        assert violations(page) == []
    assert page.get_by_role("link", name="Try").count() == 0
    large.quiet()


def test_the_colours_are_a_choice(browser, address):
    seen = watched(browser, address, dark=True)
    page = seen.open()
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Colours: system").click()
    assert page.evaluate(ground) != dark
    page.reload()
    seen.ready()
    assert page.evaluate(ground) != dark
    seen.quiet()


def test_the_keyboard_reaches_everything(browser, address):
    """From the skip link on; focus is visible wherever it goes."""
    seen = watched(browser, address)
    page = seen.open("clip/4")
    page.reload()
    seen.ready()
    stops = []
    for _ in range(40):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "() => { const at = document.activeElement; const style = getComputedStyle(at);"
            " const name = (at.getAttribute('aria-label') ?? at.textContent).trim();"
            " return [at.localName, name, style.outlineStyle]; }"
        )
        stops.append(found)
    names = [name for _, name, _ in stops]
    assert names[0] == "Skip to the content"
    for wanted in ("Overview", "The clip; space", "Time", "Activation of", "Weight of"):
        assert any(name.startswith(wanted) for name in names), wanted
    assert all(style != "none" for tag, _, style in stops if tag != "body")
    seen.quiet()
