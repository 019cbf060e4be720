from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from pipeline.data.readers import open_video
from pipeline.data.tracks import Track, filled, link, main_person, overlaps


def person(x: float, y: float, width: float = 20, height: float = 50, score: float = 0.9) -> list[float]:
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2, score]


def frames(*persons: list[list[float] | None]) -> list[np.ndarray]:
    """Persons over time, None where one is not seen → detections by frame."""
    return [np.array([box for box in boxes if box], float).reshape(-1, 5) for boxes in zip(*persons, strict=True)]


def track_of(boxes: dict[int, list[float]]) -> Track:
    track = Track()
    for frame, box in boxes.items():
        track.add(frame, np.array(box[:4]))
    return track


def test_overlap_is_intersection_over_union():
    a = np.array([[0, 0, 10, 10], [0, 0, 2, 2]], float)
    b = np.array([[5, 0, 15, 10], [20, 20, 30, 30]], float)
    np.testing.assert_allclose(overlaps(a, b), [[50 / 150, 0], [0, 0]])


def test_two_who_cross_keep_their_tracks():
    """Each is nearest to where it was heading, not to where the other is."""
    left = [person(20 + 6 * t, 50) for t in range(20)]
    right = [person(134 - 6 * t, 52) for t in range(20)]
    tracks = link(frames(left, right), max_gap=3)
    assert [len(track.frames) for track in tracks] == [20, 20]
    for track, truth in zip(tracks, (left, right), strict=True):
        np.testing.assert_allclose(np.array(track.boxes), np.array(truth)[:, :4])


@pytest.mark.parametrize(("gap", "expected"), [(3, 1), (4, 2)])
def test_a_gap_is_bridged_up_to_its_limit(gap, expected):
    seen = [person(20 + 5 * t, 50) for t in range(20)]
    for t in range(8, 8 + gap):
        seen[t] = None
    tracks = link(frames(seen), max_gap=3)
    assert len(tracks) == expected
    if expected == 1:
        indices, boxes = filled(tracks[0])
        assert indices.tolist() == list(range(20))
        # Somebody walking steadily is where he would be, also while nobody saw him.
        np.testing.assert_allclose(boxes, [person(20 + 5 * t, 50)[:4] for t in range(20)])


def test_unsure_boxes_continue_a_track_and_begin_none():
    seen = [person(50, 50, score=0.3 if t in (4, 5, 6) else 0.9) for t in range(12)]
    ghost = [person(150, 50, score=0.4) for _ in range(12)]
    tracks = link(frames(seen, ghost), max_gap=0, min_score=0.5)
    assert len(tracks) == 1 and tracks[0].frames == list(range(12))


def test_an_unsure_box_never_takes_the_track_of_a_sure_one():
    sure = [person(50 + t, 50) for t in range(6)]
    unsure = [person(51 + t, 50, score=0.3) for t in range(6)]
    (track,) = link(frames(unsure, sure), max_gap=2)
    np.testing.assert_array_equal(track.boxes, [box[:4] for box in sure])


def test_the_main_person_is_the_largest_times_longest():
    long_small = [person(20, 30, 10, 20) for _ in range(30)]  # 200 · 30
    large = [person(100, 60, 40, 90) if 5 <= t < 25 else None for t in range(30)]  # 3600 · 20
    larger_but_brief = [person(160, 60, 60, 110) if t < 6 else None for t in range(30)]  # 6600 · 6
    boxes = main_person(link(frames(long_small, large, larger_but_brief), 3), 30, 3)
    there = np.isfinite(boxes[:, 0])
    assert np.flatnonzero(there).tolist() == list(range(5, 25))
    np.testing.assert_allclose(boxes[there], np.repeat([person(100, 60, 40, 90)[:4]], 20, 0))


def test_who_returns_to_an_empty_scene_is_the_main_person_again():
    first = {t: person(20 + 4 * t, 60) for t in range(15)}
    again = {t: person(170 - 4 * (t - 40), 60) for t in range(40, 60)}
    passer_by = {t: person(90, 20, 6, 12) for t in range(22, 36)}
    boxes = main_person([track_of(first), track_of(again), track_of(passer_by)], 70, max_gap=5)
    assert np.flatnonzero(np.isfinite(boxes[:, 0])).tolist() == [*range(15), *range(40, 60)]


def test_nobody_takes_over_where_the_main_person_is_lost():
    """Too near in time to be a return: this is somebody else, or a mistake of the linking."""
    main = {t: person(50, 60) for t in range(30)}
    other = {t: person(120, 60) for t in range(33, 50)}
    boxes = main_person([track_of(main), track_of(other)], 50, max_gap=5)
    assert np.flatnonzero(np.isfinite(boxes[:, 0])).tolist() == list(range(30))


def test_whoever_appears_while_others_are_about_is_no_return():
    """In a crowd somebody is always there: the next large track is the next person, not the first one again."""
    main = {t: person(50, 60, 30, 70) for t in range(30)}
    bystander = {t: person(120, 60) for t in range(20, 80)}
    later = {t: person(60, 60, 28, 68) for t in range(45, 70)}
    boxes = main_person([track_of(main), track_of(bystander), track_of(later)], 80, max_gap=5)
    assert np.flatnonzero(np.isfinite(boxes[:, 0])).tolist() == list(range(30))
    # Somebody small in the background, or somebody who passes and leaves the scene empty, does not stand in the way.
    far = {t: person(120, 20, 8, 20) for t in range(80)}
    brief = {t: person(120, 60) for t in range(32, 36)}
    boxes = main_person([track_of(main), track_of(far), track_of(brief), track_of(later)], 80, max_gap=5)
    assert np.flatnonzero(np.isfinite(boxes[:, 0])).tolist() == [*range(30), *range(45, 70)]


def test_flicker_is_nobody_unless_there_is_nothing_else():
    flicker = track_of({3: person(50, 50, 200, 200), 4: person(50, 50, 200, 200)})
    real = track_of({t: person(100, 50) for t in range(10, 15)})
    assert np.flatnonzero(np.isfinite(main_person([flicker, real], 20, 2)[:, 0])).tolist() == list(range(10, 15))
    assert np.flatnonzero(np.isfinite(main_person([flicker], 20, 2)[:, 0])).tolist() == [3, 4]
    assert np.isnan(main_person([], 4, 2)).all()
    assert link([np.zeros((0, 5))] * 3, 2) == []


def blobs(mask: np.ndarray, min_area: int) -> np.ndarray:
    """Boxes ``[k, 5]`` of the connected parts of a mask, their filled share as the score."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    found = [[x, y, x + w, y + h, area / (w * h)] for x, y, w, h, area in stats[1:] if area >= min_area]
    return np.array(found, float).reshape(-1, 5)


def real_frames(path) -> np.ndarray:
    """Green channel of all frames ``[F, H, W]``."""
    with open_video(path) as video:
        return np.concatenate([frames[..., 1] for _, frames in video.batches()])


def dark_boxes(clip: np.ndarray) -> list[np.ndarray]:
    """Dark people on a bright field, as KTH's outdoor recordings show them."""
    return [blobs(frame < 0.55 * np.median(frame), 25) for frame in clip]


def moving_boxes(clip: np.ndarray) -> list[np.ndarray]:
    """What differs from the median picture: people of a crowd in pieces, joined and parted from frame to frame."""
    background = np.median(clip, axis=0)
    close = np.ones((25, 15), np.uint8)
    return [
        blobs(cv2.morphologyEx((np.abs(frame - background) > 25).astype(np.uint8), cv2.MORPH_CLOSE, close), 300)
        for frame in clip
    ]


@pytest.fixture(scope="module")
def kth(real_data):
    folder = real_data / "kth" / "videos"
    if not folder.is_dir():
        pytest.skip("no KTH videos")
    return {path.name.split("_uncomp")[0]: dark_boxes(real_frames(path)) for path in sorted(folder.glob("*boxing*"))}


@pytest.mark.parametrize("name", ["person01_boxing_d2", "person04_boxing_d1"])
def test_one_person_in_a_real_video_is_one_track_through_zoom_and_flicker(kth, name):
    boxes = main_person(link(kth[name], 5, min_score=0.2), len(kth[name]), 5)
    there = np.isfinite(boxes[:, 0])
    assert there.mean() > 0.99
    largest = [found[np.prod(found[:, 2:4] - found[:, :2], 1).argmax(), :4] for found in kth[name]]
    overlap = [overlaps(boxes[f : f + 1], largest[f][None])[0, 0] for f in np.flatnonzero(there)]
    assert np.median(overlap) > 0.95


def test_an_empty_stretch_of_a_real_video_stays_empty_and_the_person_comes_back(kth):
    detections = list(kth["person01_boxing_d2"])
    for frame in range(150, 230):
        detections[frame] = np.zeros((0, 5))
    boxes = main_person(link(detections, 5, min_score=0.2), len(detections), 5)
    there = np.isfinite(boxes[:, 0])
    assert not there[150:230].any()
    assert there[:150].mean() > 0.97 and there[230:].mean() > 0.97


def test_the_main_person_of_a_real_crowd_never_jumps(real_data):
    """Whoever it is: from one frame to the next it is the same box, moved a little, or nobody for a long while."""
    paths = sorted((real_data / "crowd").glob("*/*.mp4"))[::4]
    if not paths:
        pytest.skip("no crowd clips")
    followed = 0
    for path in paths:
        detections = moving_boxes(real_frames(path))
        boxes = main_person(link(detections, 5, min_score=0.2), len(detections), 5)
        there = np.flatnonzero(np.isfinite(boxes[:, 0]))
        followed += len(there)
        for before, after in pairwise(there):
            if after - before == 1:
                assert overlaps(boxes[before : before + 1], boxes[after : after + 1])[0, 0] > 0.1, (path.name, after)
            else:
                assert after - before > 6, (path.name, before, after)
    assert followed > 60
