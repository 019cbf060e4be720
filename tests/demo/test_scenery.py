from __future__ import annotations

import numpy as np
import pytest

from pipeline.demo.scenery import (
    OBJECTS,
    SCENES,
    Sprite,
    draw_object,
    draw_occluder,
    draw_scene,
    paint_sprite,
)


@pytest.mark.parametrize("scene", SCENES)
def test_scenes_cover_the_picture_and_vary(scene):
    first = draw_scene(scene, 64, np.random.default_rng(0))
    again = draw_scene(scene, 64, np.random.default_rng(0))
    other = draw_scene(scene, 64, np.random.default_rng(1))
    assert first.shape == (64, 64, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # Nothing was left at the canvas' initial black.
    assert (first.max(axis=-1) > 0).mean() > 0.99


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_have_their_size_and_a_transparent_ground(kind):
    sprite = draw_object(kind, 40, np.random.default_rng(0))
    assert sprite.rgba.shape == (40, 40, 4)
    opacity = sprite.rgba[..., 3]
    assert 0.05 < (opacity > 127).mean() < 0.8
    assert opacity[0, 0] == pytest.approx(0, abs=1)
    # An object spans the sprite in one direction, so that its extent is what was asked for.
    spans = [np.ptp(np.flatnonzero((opacity > 64).any(axis=axis))) for axis in (0, 1)]
    assert max(spans) >= 34


def test_the_shape_of_an_object_does_not_depend_on_its_colours():
    for kind in OBJECTS:
        one = draw_object(kind, 40, np.random.default_rng(0)).rgba
        two = draw_object(kind, 40, np.random.default_rng(1)).rgba
        np.testing.assert_allclose(one[..., 3], two[..., 3], atol=2)
        assert not np.allclose(one[..., :3], two[..., :3], atol=20)


def test_sprite_is_painted_at_its_anchor():
    red = np.zeros((4, 4, 4), np.float32)
    red[..., 0] = red[..., 3] = 255
    image, labels = np.zeros((12, 12, 3), np.uint8), np.zeros((12, 12), np.uint8)
    paint_sprite(image, labels, 2, Sprite(red), (0.5, 1.0), np.array([5.5, 7.5]))
    expected = np.zeros((12, 12), bool)
    expected[4:8, 4:8] = True
    assert np.array_equal(labels == 2, expected)
    assert np.array_equal(image[..., 0] == 255, expected)


def test_sprite_turns_clockwise_about_its_anchor():
    bar = np.zeros((8, 8, 4), np.float32)
    bar[:4, 3:5] = 255  # from the middle upwards
    image, labels = np.zeros((24, 24, 3), np.uint8), np.zeros((24, 24), np.uint8)
    paint_sprite(image, labels, 1, Sprite(bar), (0.5, 0.5), np.array([12.0, 12.0]), degrees=90)
    rows, columns = np.nonzero(labels)
    assert 0 < len(rows) <= 12
    assert columns.min() >= 12 and abs(rows.mean() - 12) < 1


def test_sprite_outside_the_picture_paints_nothing():
    image, labels = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    opaque = Sprite(np.full((4, 4, 4), 255, np.float32))
    paint_sprite(image, labels, 1, opaque, (0.5, 0.5), np.array([-30.0, 4.0]))
    assert not image.any() and not labels.any()


def test_occluders_are_opaque_somewhere():
    for seed in range(6):
        assert (draw_occluder(64, np.random.default_rng(seed)).rgba[..., 3] == 255).mean() > 0.15


def test_unknown_names_are_named():
    with pytest.raises(ValueError, match=r"unknown scene 'moon'.*gym"):
        draw_scene("moon", 32, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"unknown object 'anvil'.*ball"):
        draw_object("anvil", 32, np.random.default_rng(0))
