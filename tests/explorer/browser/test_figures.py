"""What the page computes is what Python computes, to 1e-6; and it says it in the same words."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.encoding.grid import cell_positions, interpolation, smooth_interpolation
from pipeline.learning.metrics import wilson
from pipeline.methods.dance.bottleneck.pooling import POOLINGS, pool
from pipeline.methods.dance.explain import editing
from pipeline.methods.dance.explain.overlay import Scale, glow
from pipeline.methods.dance.explain.regions import View, box_mask, edited, point_mask
from pipeline.methods.dance.explain.seen import in_words
from tests.explorer.browser.driving import watched

EQUAL = {"rtol": 0, "atol": 1e-6}

# A session of its own over the run's files, which makes some changes and tells what comes of them.
SESSION = """
async ([changes, step]) => {
  const [{ Session }, { json, floats }, { probabilities }] = await Promise.all(
    ["session", "data", "model"].map((name) => import(`/app/${name}.js`)));
  const about = await json("data/explore.json");
  const files = [json("data/clips.json"), floats("data/z.f32"), floats("data/weights.f32")];
  const session = new Session(about, ...(await Promise.all(files)));
  await session.look();
  for (const change of changes) session.change(change);
  // A million numbers take a while to hand over: those of every so many clips.
  const some = (values, width = 1) => [...values.filter((_, at) => Math.floor(at / width) % step === 0)];
  return {
    logits: some(session.logits, session.K), margins: some(session.margins), decided: some(session.decided),
    z: [...session.activations(0)], edits: session.edits,
    probabilities: [...probabilities(session.logits.subarray(0, session.K))],
    effects: session.effects.map(({ fixed, broken, before, after }) => ({ fixed, broken, before, after })),
    undone: (() => { while (session.done) session.undo(); return some(session.logits, session.K); })(),
    before: some(session.before, session.K),
  };
}
"""


@pytest.fixture(scope="module")
def page(browser, address):
    return watched(browser, address).open()


@pytest.fixture(scope="module")
def large_page(browser, large_run):
    from pipeline.methods.dance.explore.run import open_run
    from pipeline.methods.registry import METHODS
    from tests.explorer.browser.driving import serving

    opened = open_run(large_run, METHODS["dance"])
    return opened, watched(browser, serving(opened)).open()


def check(found, core, z, label, changed):
    """Logits, margins, decisions and effects against Python's of a changed model and changed activations."""
    logits = changed.logits(z)
    assert np.allclose(np.reshape(found["logits"], logits.shape), logits, **EQUAL)
    assert np.allclose(found["margins"], editing.margins(changed, z, label), **EQUAL)
    assert found["decided"] == editing.decisions(changed, z).tolist()
    assert np.allclose(found["probabilities"], changed.probabilities(z[0])[0], **EQUAL)
    assert found["undone"] == found["before"]


def test_a_model_as_it_is(run, page):
    core, cached = run.core, run.cached
    found = page.evaluate(SESSION, [[], 1])
    check(found, core, cached.z, cached.label, core)
    counts = run.described(live=True)["figures"]["accuracy"]
    right = [own["after"] for own in found["effects"]]
    assert right == [counts[name]["right"] for name in run.described(live=True)["splits"]]


def test_weights(run, page):
    core, cached = run.core, run.cached
    changes = [("weight", 1, 0, -1.5), ("weight", 1, 3, 2.25), ("weight", 0, 2, 0.125), ("weight", 1, 0, 0.5)]
    changed = core
    for _, k, m, value in changes:
        changed = changed.reweight(k, m, value)
    asked = [dict(zip(("kind", "k", "m", "value"), own, strict=True)) for own in changes]
    found = page.evaluate(SESSION, [asked, 1])
    check(found, core, cached.z, cached.label, changed)
    for own, split in zip(found["effects"], run.described(live=True)["splits"], strict=True):
        rows = np.flatnonzero(cached.split == split)
        effect = editing.effect(core, changed, cached.z[rows], cached.label[rows])
        assert (own["fixed"], own["broken"]) == (rows[effect.fixed].tolist(), rows[effect.broken].tolist())
    assert any(own["fixed"] or own["broken"] for own in found["effects"])
    # The log of the model that would be saved: the last weight of each.
    assert {(edit["class"], edit["concept"]): edit["weight"] for edit in found["edits"]} == {
        (k, m): value for _, k, m, value in changes
    }


@pytest.mark.parametrize("level", ["absent", "mean", "zero"])
def test_without_concepts(run, page, level):
    core, cached = run.core, run.cached
    found = page.evaluate(SESSION, [[{"kind": "off", "m": m, "level": level} for m in (2, 0)], 1])
    z = core.without(cached.z, [2, 0], level)
    check(found, core, z, cached.label, core)
    assert np.allclose(found["z"], z[0], **EQUAL)


def test_everything_at_once(run, page):
    core, cached = run.core, run.cached
    changes = [
        {"kind": "activation", "clip": 0, "m": 1, "value": 3.5},
        {"kind": "weight", "k": 2, "m": 1, "value": -0.75},
        {"kind": "off", "m": 0, "level": "absent"},
        {"kind": "off", "m": 3, "level": "mean"},
        {"kind": "off", "m": 3, "level": None},
    ]
    z = np.array(cached.z)
    z[0, 1] = 3.5
    changed = core.reweight(2, 1, -0.75)
    check(page.evaluate(SESSION, [changes, 1]), core, core.without(z, [0]), cached.label, changed)


def test_ucf101s_size(large_page):
    opened, own = large_page
    core, cached = opened.core, opened.cached
    weight = {"kind": "weight", "k": 7, "m": 70, "value": 1.5}
    found = own.evaluate(SESSION, [[weight, {"kind": "off", "m": 5, "level": "absent"}], 100])
    check(found, core, core.without(cached.z[::100], [5]), cached.label[::100], core.reweight(7, 70, 1.5))


def reasons(page, z, label, against=None):
    return page.evaluate(
        """async ([z, label, against]) => {
          const { reasons } = await import("/app/words.js");
          const [{ json, floats }] = [await import("/app/data.js")];
          const about = await json("data/explore.json");
          const weights = Float64Array.from(await floats("data/weights.f32"));
          const found = reasons(Float64Array.from(z), weights, about.concepts, label, against, 3);
          return found.map(({ concept, ...own }) => ({ ...own, index: concept.index, type: concept.type }));
        }""",
        [z.tolist(), label, against],
    )


def test_words(run, page):
    core, cached = run.core, run.cached
    said = set()
    for row in range(12):
        z = cached.z[row]
        for label, against in ((0, None), (1, None), (2, 1)):
            known = editing.contrast(core, z, label, against, 3) if against else core.explain(z, label, 3)
            found = reasons(page, z, label, against)
            for own, python in zip(found, known, strict=True):
                value = python.difference if against else python.contribution
                assert np.isclose(own["value"], value, **EQUAL)
                for name in ("index", "type", "present", "said", "speaks", "doubt"):
                    assert own[name] == getattr(python, name), name
                said.add((own["present"], own["speaks"], bool(own["doubt"])))
    assert len(said) > 4
    for distance in (3.0, 11.55, 40.0):
        told = page.evaluate(
            "async ([far, unseen]) => (await import('/app/words.js')).likeTraining(far, unseen).text",
            [distance, {"threshold": core.reach.limit}],
        )
        assert told == in_words(core.unseen(distance))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_regions(page, pooling):
    rng = np.random.default_rng(1)
    height, width, (h, w) = 60, 80, (7, 5)
    view = View(height, width, np.linspace(0.1, 0.9, h), (np.arange(w) + 0.5) / w)
    maps = rng.normal(size=(3, h, w, 2))
    top, left, side = view.square
    masks = [box_mask(height, width, (20, 11, 47, 33)), point_mask(height, width, (40, 30), 60)]
    for mask in masks:
        known = pool(edited(maps, view, mask, 1, -2.5)[None], pooling)[0, 1]
        seen = mask[top : top + side, left : left + side]
        found = page.evaluate(
            """async ([maps, shape, mask, side, rows, columns, pooling]) => {
              const { mapOf, taken, activationWith } = await import("/app/regions.js");
              const part = taken(Uint8Array.from(mask), side, rows, columns);
              return activationWith(mapOf(maps, shape, 1), part, -2.5, { mean: 0, std: 1 }, pooling);
            }""",
            [
                maps.ravel().tolist(),
                maps.shape,
                seen.ravel().astype(int).tolist(),
                side,
                view.rows.tolist(),
                view.columns.tolist(),
                pooling,
            ],
        )
        assert np.isclose(found, known, **EQUAL)


def test_boxes_are_those_of_the_command(page):
    side = 48
    # Eighths are exact in binary, so that both round the same numbers.
    box = {"x": 0.125, "y": 0.25, "width": 0.515625, "height": 0.375}
    found = page.evaluate(
        "async ([side, box]) => [...(await import('/app/regions.js')).boxMask(side, box)]", [side, box]
    )
    corners = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
    assert np.array_equal(
        np.reshape(found, (side, side)), box_mask(side, side, tuple(side * value for value in corners))
    )


@pytest.mark.parametrize("places", [1, 2, 3, 5, 7])
def test_heat_between_places(page, places):
    rng = np.random.default_rng(places)
    positions, targets = np.sort(rng.uniform(0.05, 0.95, places)), cell_positions(24)
    axes = page.evaluate(
        """async ([sources, targets]) => {
          const { linear, smooth } = await import("/app/regions.js");
          return [linear, smooth].map((own) => [...own(sources, targets)]);
        }""",
        [positions.tolist(), targets.tolist()],
    )
    for own, known in zip(axes, (interpolation, smooth_interpolation), strict=True):
        assert np.allclose(np.reshape(own, (24, places)), known(positions, targets), **EQUAL)
    view, concept_map, scale = View(24, 24, positions, positions), rng.normal(size=(places, places)), Scale(0.2, 1.1)
    found = page.evaluate(
        """async ([map, sources, targets]) => {
          const { smooth, heatOf } = await import("/app/regions.js");
          const axis = smooth(sources, targets);
          return [...heatOf(map, [0.2, 1.1], axis, axis, targets.length)];
        }""",
        [concept_map.ravel().tolist(), positions.tolist(), targets.tolist()],
    )
    assert np.allclose(np.reshape(found, (24, 24)), glow(concept_map[None], view, scale)[0], **EQUAL)


def test_intervals(page):
    for right, of in ((0, 3), (3, 3), (38, 48), (0, 0)):
        found = page.evaluate("async ([a, b]) => (await import('/app/model.js')).wilson(a, b)", [right, of])
        if of:
            assert np.allclose(found, wilson(right, of), **EQUAL)


def test_nearest_clips(run, page):
    z = run.cached.z
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    like = unit @ unit[5]
    like[5] = -2
    found = page.evaluate(
        """async ([z, M, own]) => {
          const { nearest } = await import("/app/model.js");
          return nearest(Float32Array.from(z), z.length / M, M, own, 4, 5);
        }""",
        [z.ravel().tolist(), z.shape[1], z[5].tolist()],
    )
    assert [row for row, _ in found] == np.argsort(-like, kind="stable")[:4].tolist()
    assert np.allclose([value for _, value in found], np.sort(like)[::-1][:4], **EQUAL)
