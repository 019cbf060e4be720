"""What a person does with the explorer, from opening it to finding it again as it was left."""

from __future__ import annotations

import json

import numpy as np
import pytest
from playwright.sync_api import expect

from pipeline.demo.videos import write_video
from pipeline.explorer.export import export
from pipeline.methods.dance.bottleneck.recogniser import read_model
from pipeline.methods.dance.explain import editing
from tests.explorer.browser.curated import copied
from tests.explorer.browser.driving import hosting, serving, watched
from tests.explorer.runs import HOSTILE


@pytest.fixture
def own(small_run, tmp_path):
    """A run to write into."""
    return copied(small_run, tmp_path)


def verdict(page) -> str:
    return page.locator(".verdict").inner_text()


def test_the_whole_path(browser, own):
    core, cached = own.core, own.cached
    seen = watched(browser, serving(own))
    page = seen.open()

    # A cell of the confusion matrix opens its clips.
    split = np.flatnonzero(cached.split == "test")
    decided = editing.decisions(core, cached.z)
    wrong = next(row for row in split if decided[row] != cached.label[row])
    true, other = core.class_names[cached.label[wrong]], core.class_names[decided[wrong]]
    page.get_by_role("link", name=f"{true} decided as {other}:").click()
    page.wait_for_selector(".grid a")
    asked = (decided == decided[wrong]) & (cached.label == cached.label[wrong]) & (cached.split == "test")
    assert page.locator(".grid a").count() == asked.sum()

    # Filters narrow the grid down, and the address keeps them.
    page.get_by_role("link", name="Clear all filters").click()
    expect(page.locator(".grid a")).to_have_count(24)
    page.get_by_label("Decision").select_option("wrong")
    page.get_by_label("Split").select_option("train")
    train = (cached.split == "train") & (decided != cached.label)
    assert page.locator(".grid a").count() == train.sum() > 0
    page.reload()
    seen.ready()
    assert page.locator(".grid a").count() == train.sum()

    # A clip plays, by the keyboard too.
    seen.open("clip/1")
    time = page.locator(".clock")
    page.get_by_role("button", name="Play").or_(page.get_by_role("button", name="Pause")).first.focus()
    if page.locator(".play").inner_text() == "Play":
        page.keyboard.press("Enter")
    before = time.inner_text()
    expect(time).not_to_have_text(before)
    page.keyboard.press("Enter")
    page.get_by_label("Time", exact=True).press("Home")
    assert time.inner_text() == "0.00 s"

    # A concept that is switched off is off in every clip.
    concept = page.get_by_label("Concept", exact=True)
    concept.select_option("2")
    page.get_by_role("switch", name="On").uncheck()
    z = core.without(cached.z, [2])
    effect = np.array([editing.decisions(core, z), decided])
    fixed = ((effect[1] != cached.label) & (effect[0] == cached.label)).sum()
    broken = ((effect[1] == cached.label) & (effect[0] != cached.label)).sum()
    assert fixed + broken > 0
    assert page.locator(".dock .told").inner_text() == f"1 change: {fixed} fixed, {broken} broken"
    share = core.probabilities(z[1])[0].max()
    assert f"{share:.1%}" in verdict(page)
    page.get_by_role("button", name="Undo").click()
    assert page.get_by_role("switch", name="On").is_checked()

    # A region is painted; what was there before comes back with undo, and again with redo.
    untouched = verdict(page)
    page.get_by_role("button", name="Box").click()
    canvas = page.locator(".player canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"], steps=4)
    page.mouse.up()
    expect(page.locator(".verdict")).not_to_have_text(untouched, use_inner_text=True)
    painted = verdict(page)
    page.keyboard.press("Control+z")
    assert verdict(page) == untouched
    page.keyboard.press("Control+Shift+z")
    assert verdict(page) == painted
    page.get_by_role("button", name="Brush").click()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 12, steps=3)
    page.mouse.up()
    expect(page.locator(".dock .told")).to_contain_text("2 changes")
    page.get_by_role("button", name="Clear").click()
    assert verdict(page) == untouched

    # A weight is dragged, and kept as a model with its log.
    weight = page.get_by_label(f"Weight of {HOSTILE} ball")
    page.get_by_label("Weight for").select_option("0")
    weight.press("ArrowRight")
    weight.press("ArrowRight")
    value = float(weight.input_value())
    page.get_by_role("button", name="Review").click()
    page.get_by_label("Name of the model").fill("by_hand")
    page.get_by_role("button", name="Save as model").click()
    page.get_by_text("Saved as").wait_for()
    saved = read_model(own.folder / "by_hand.pt")
    assert np.isclose(saved.weight[0, 2], value, atol=1e-6) and value != core.weight[0, 2]
    (edit,) = saved.about["edits"]
    assert (edit["class"], edit["concept"]) == (core.class_names[0], core.concepts[2])
    page.keyboard.press("Escape")

    # A concept gets a name from people, which everything shows at once and after a new start.
    seen.open("concept/2")
    name = "<b>leather</b> ball"
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Name", exact=True).click()
    page.get_by_role("heading", name=name, level=1).wait_for()
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Undo all of this").wait_for()
    assert json.loads((own.folder / "curation.json").read_text())["object:" + core.concepts[2]] == {
        "name": name,
        "approved": True,
    }
    page.reload()
    seen.ready()
    page.get_by_role("heading", name=name, level=1).wait_for()
    seen.open("clip/1")
    assert page.get_by_label("Concept", exact=True).locator("option", has_text=name).count()
    seen.open("concepts")
    assert page.get_by_text("old <b>").count() == 1
    seen.quiet()


def test_merge_and_drop(browser, own):
    seen = watched(browser, serving(own))
    page = seen.open("concept/0")
    page.get_by_role("button", name="Merge").click()
    page.get_by_text("snakemake results/small/model.pt").wait_for()
    seen.open("concept/1")
    page.get_by_text("Merged into").wait_for()
    page.get_by_role("button", name="Undo all of this").click()
    page.get_by_role("button", name="Drop").click()
    page.get_by_text("Dropped.").wait_for()
    seen.quiet()


def test_a_file_of_ones_own(browser, own, tmp_path):
    """It is shown as a clip of the run is, and changed as one."""
    path = tmp_path / f"{HOSTILE.replace('/', '')}.mp4"
    rng = np.random.default_rng(0)
    write_video(path, rng.integers(0, 255, (24, 64, 80, 3), np.uint8))
    core, answers, attempt = own.core, [], own.attempt
    own.attempt = lambda upload: answers.append(attempt(upload)) or answers[0]
    seen = watched(browser, serving(own))
    page = seen.open("try")
    page.locator("input[type=file]").set_input_files(path)
    expect(page.get_by_role("heading", level=1).last).to_have_text(path.name, timeout=120_000)
    z = np.array(answers[0]["z"])
    shares = core.probabilities(z)[0]
    assert verdict(page).split("\n")[0] == core.class_names[shares.argmax()] and f"{shares.max():.1%}" in verdict(page)
    page.get_by_label("Concept", exact=True).select_option("2")
    page.get_by_label("Activation of").press("End")
    z[2] = float(page.get_by_label("Activation of").input_value())
    assert f"{core.probabilities(z)[0].max():.1%}" in verdict(page)
    # What a person does to a file of their own touches no clip of the run.
    assert page.locator(".dock .told").inner_text() == "1 change: 0 fixed, 0 broken"
    seen.quiet()


def test_a_file_of_ones_own_that_cannot_be_read(browser, own, tmp_path):
    """What the server refuses is said beside the name of the file, a hostile string."""
    path = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    path.write_bytes(b"no video")
    seen = watched(browser, serving(own))
    page = seen.open("try")
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_text("it cannot be read").wait_for()
    assert path.name in page.locator("main").inner_text()
    assert [text for text in seen.complaints if "400" not in text] == [] and seen.asked == []


def test_the_lambda_path(browser, own):
    seen = watched(browser, serving(own))
    page = seen.open()
    figure = page.locator(".card.figure", has_text="weights").locator("strong")
    before = figure.inner_text()
    page.get_by_label("Stop of the λ path").press("Home")
    expect(figure).not_to_have_text(before)
    weights = own.lambdas.weights(0)
    assert int(figure.inner_text()) == np.count_nonzero(weights[:, :-1])
    right = (cached_logits(own, weights).argmax(1) == own.cached.label)[own.cached.split == "train"]
    assert f"{right.sum()} of {len(right)}" in page.locator(".card.figure").first.inner_text()
    page.get_by_role("button", name="Back to the model").click()
    expect(figure).to_have_text(before)
    seen.quiet()


def cached_logits(own, weights):
    return own.cached.z @ weights[:, :-1].T + weights[:, -1]


def test_a_folder_on_a_web_host(browser, own, tmp_path):
    """The exported folder has the same views, but offers nothing that needs a server."""
    export(own, tmp_path / "exported")
    seen = watched(browser, hosting(tmp_path / "exported"))
    page = seen.open("clip/1")
    page.get_by_role("switch", name="On").uncheck()
    page.get_by_role("button", name="Review").click()
    assert page.get_by_text("This is a copy of a run").is_visible()
    page.keyboard.press("Escape")
    assert page.get_by_role("link", name="Try").count() == 0
    seen.open("concept/2")
    assert page.get_by_role("button", name="Approve").count() == 0
    seen.open("concepts")
    seen.open("clips")
    seen.quiet()
