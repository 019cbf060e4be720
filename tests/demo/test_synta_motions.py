"""The formulas of Syn-TA's fine classes at times that can be worked out by hand, and the names of clips."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.demo.synta.classes import COARSE, FINE, PARTNER, REVERSED, Clip, UnknownClip, clip_of
from pipeline.demo.synta.motions import Space, motion, triangle

SPACE = Space("front", 6.84, (0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, -0.97, 0.24))
CODED = [(coarse, n) for coarse in COARSE for n in FINE[coarse] if (coarse, n) not in REVERSED]


def made(coarse: str, n: int, seed: int = 0, space: Space = SPACE):
    return motion(coarse, n, np.random.default_rng(seed), space)


def test_there_are_the_published_classes():
    sets = [fine.set for own in FINE.values() for fine in own.values()]
    assert len(COARSE) == 20 and (sets.count(1), sets.count(2)) == (53, 47)
    assert all(PARTNER[PARTNER[name]] == name for name in PARTNER) and len(PARTNER) == 10
    assert FINE["occlusion"][1].words == "Small object coming infront of big object barely occluding it"


def test_classes_are_those_of_the_release(real_data):
    import csv

    path = real_data / "motion_transfer/labels/synta_naming_scheme.csv"
    with path.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 100
    for row in rows:
        coarse = row["Coarse class"].lower()
        assert COARSE[int(row["Coarse class id"])] == coarse
        fine = FINE[coarse][int(row["Intra class no."])]
        assert (fine.set, fine.words) == (int(row["Set"]), row["Fine Class"])


@pytest.mark.parametrize(("coarse", "n"), CODED)
def test_every_class_is_finite_and_has_one_number_of_bodies(coarse, n):
    for view in ("front", "ground"):
        found = made(coarse, n, 3, Space(view, 5.5, (0, -1, 0), (1, 0, 0), (0, -0.8, 0.6)))
        states = [found(t) for t in np.linspace(0, 1, 9)]
        assert len({len(state.scale) for state in states}) == 1 and 1 <= len(states[0].scale) <= 4
        for state in states:
            assert np.isfinite(state.position).all() and (state.scale > 0).all()
            assert ((state.alpha >= 0) & (state.alpha <= 1)).all()


def test_appearing():
    start, end = (made("appearing", 2)(t) for t in (0, 1))
    assert (start.alpha == 0).all() and (end.alpha == 1).all() and np.array_equal(start.position, end.position)
    one_by_one = made("appearing", 3)(0.5).alpha
    assert one_by_one[0] == 1 and one_by_one[-1] == 0
    assert made("appearing", 4)(0).alpha.tolist() == [1, 1, 0, 0]
    assert made("appearing", 1)(0.5).alpha == pytest.approx([0.5])


def test_arriving_begins_out_of_the_picture():
    for n in (1, 2, 3):
        start = made("arriving", n)(0).position
        assert (np.abs(start[:, 0]) > SPACE.reach + 1).all()
    others = made("arriving", 4)
    assert np.array_equal(others(0).position[1:], others(1).position[1:])
    back = made("arriving", 6)
    assert back(0).position == pytest.approx(back(1).position)
    assert abs(back(0.5).position[0, 0]) < SPACE.reach


@pytest.mark.parametrize(
    ("coarse", "n", "first", "last"),
    [
        ("expanding", 2, [0.4], [1.8]),
        ("expanding", 3, [0.35, 0.7], [1.4, 1.4]),
        ("shrinking", 1, [1.8], [1.0]),
        ("shrinking", 4, [1.9, 1.4], [0.95, 0.4]),
    ],
)
def test_sizes_change_by_equal_factors(coarse, n, first, last):
    found = made(coarse, n)
    start, middle, end = (found(t).scale for t in (0, 0.5, 1))
    factor = start[0] / first[0]
    assert 0.9 <= factor <= 1.1
    assert start == pytest.approx(factor * np.array(first)) and end == pytest.approx(factor * np.array(last))
    assert middle == pytest.approx(np.sqrt(start * end))


def test_rising():
    x, z = np.array([made("rising", 1)(t).position[0, [0, 2]] for t in np.linspace(0, 1, 11)]).T
    assert np.ptp(x) == 0 and (np.diff(z) >= 0).all() and z[-1] - z[0] > 4
    zigzag = np.array([made("rising", 2)(t).position[0, 0] for t in np.linspace(0, 1, 60)])
    assert (np.diff(np.sign(np.diff(zigzag)[np.diff(zigzag) != 0])) != 0).sum() >= 1
    assert [triangle(x) for x in (0, 0.25, 0.5, 0.75, 1)] == [-1, 0, 1, 0, -1]


def test_merging_leaves_fewer_and_cloning_makes_more():
    there = {n: [int((made("merging", n)(t).alpha > 0).sum()) for t in (0, 1)] for n in (1, 2, 3, 4)}
    assert there[1] == there[2] == [2, 1] and there[4] == [4, 2] and there[3][1] == 1 and there[3][0] in (3, 4)
    grown = made("merging", 3)
    assert grown(1).scale[0] == pytest.approx(1.75 * grown(0).scale[0])
    clone = made("cloning", 4)
    assert (clone(0).alpha > 0).sum() == 1 and (clone(1).alpha > 0).sum() in (3, 4)
    assert clone(0).scale[0] == clone(1).scale[0]
    assert made("cloning", 5)(1).colour.tolist() == [0, 1] and made("merging", 1)(0).colour.tolist() == [0, 0]


def test_bouncing_stops_or_goes_on():
    def heights(n):
        return np.array([made("bouncing", n)(t).position[:, 2] for t in np.linspace(0, 1, 200)])

    floor = -3.0
    assert heights(1)[-1] == pytest.approx([floor]) and heights(1).max() > floor + 3
    assert heights(6)[120:].max() == pytest.approx(heights(6).max(), abs=0.1)
    highest = heights(3).max(0)
    assert highest.max() / highest.min() != 1 and np.ptp(highest) > 2
    assert np.ptp(heights(2).max(0)) < 1
    assert heights(7)[-1, 0] < heights(7)[0, 0] - 2 and heights(8)[-1, 0] > heights(8)[0, 0] + 2


def test_orbits_keep_their_distance_and_direction():
    for n, sense in ((1, -1), (2, 1)):
        away = np.array([np.diff(made("orbiting", n)(t).position, axis=0)[0] for t in np.linspace(0, 1, 60)])
        assert np.linalg.norm(away, axis=1) == pytest.approx(np.linalg.norm(away[0]))
        angle = np.unwrap(np.arctan2(-away[:, 1], -away[:, 0]))
        assert (np.sign(np.diff(angle)) == sense).all()
    upright = np.array([made("orbiting", 5)(t).position[0] for t in np.linspace(0, 1, 9)])
    assert np.ptp(upright[:, 1]) == 0 and np.ptp(upright[:, 2]) > 2


def test_what_does_not_collide_keeps_apart():
    for n in (1, 2, 3, 4, 5):
        for seed in range(20):
            found = made("not colliding", n, seed)
            for t in np.linspace(0, 1, 15):
                state = found(t)
                gaps = np.linalg.norm(state.position[:, None] - state.position[None], axis=-1)
                gaps[np.diag_indices(len(gaps))] = 9
                assert gaps.min() > 1.6 * state.scale[0], (n, seed, t)


def test_followers_come_later_on_the_same_path():
    found = made("following", 1)
    path = np.array([found(t).position for t in np.linspace(0, 1, 101)])
    later = np.linalg.norm(path[:, 0] - path[0, 1][None], axis=1).argmin()
    assert later == 0  # the leader was there before the clip began
    arrival = np.linalg.norm(path[:, 1] - path[0, 0][None], axis=1).argmin()
    assert arrival > 10


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_teleporting_jumps_once(n):
    places = np.array([made("teleporting", n)(t).position for t in np.linspace(0, 1, 50)])
    jumps = np.abs(np.diff(places, axis=0)).sum((1, 2)) > 0
    assert jumps.sum() == 1 and 15 < jumps.argmax() < 35


def test_names_are_those_of_the_release():
    clip = Clip("changing color", 1, 7, "front")
    assert clip.path == "changing_color/changing_color1_front_id_7.mp4"
    for other in (
        clip,
        Clip("rising", 3, 50, "ground"),
        Clip("rising", 3, 2, "front", "plain"),
        Clip("cloning", 2, 31, "ground", "realistic", "unknown_scene"),
    ):
        assert clip_of(other.path) == other


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("falling/falling9_id_3.mp4", "has no fine class 9; it has 1, 2, 3, 4 .earlier label files"),
        ("flying/flying1_id_3.mp4", "`flying` is not a coarse class"),
        ("falling/rising1_id_3.mp4", "is not a clip of Syn-TA"),
        ("../falling/falling1_id_3.mp4", "is not a clip of Syn-TA"),
        ("else/falling/falling1_id_3.mp4", "is not a clip of Syn-TA"),
    ],
)
def test_wrong_names_are_told(path, words):
    with pytest.raises(UnknownClip, match=words):
        clip_of(path)
