from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.data.readers import open_video
from pipeline.motion.pose.tracks import Track, filled, link, main_person, overlaps


def person(x: float, y: float, width: float = 20, height: float = 50, score: float = 0.9) -> list[float]:
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2, score]


def frames(*persons: list[list[float] | None]) -> list[np.ndarray]:
    """Persons over time, None where one is not seen → detections by frame."""
    return [np.array([box for box in boxes if box], float).reshape(-1, 5) for boxes in zip(*persons, strict=True)]


def track_of(boxes: dict[int, list[float]]) -> Track:
    track = Track()
    for frame, box in boxes.items():
        track.add(frame, np.array(box[:4]), box[4])
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
    assert set(track.scores) == {0.9}


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


def test_flicker_is_nobody_unless_there_is_nothing_else():
    flicker = track_of({3: person(50, 50, 200, 200), 4: person(50, 50, 200, 200)})
    real = track_of({t: person(100, 50) for t in range(10, 15)})
    assert np.flatnonzero(np.isfinite(main_person([flicker, real], 20, 2)[:, 0])).tolist() == list(range(10, 15))
    assert np.flatnonzero(np.isfinite(main_person([flicker], 20, 2)[:, 0])).tolist() == [3, 4]
    assert np.isnan(main_person([], 4, 2)).all()
    assert link([np.zeros((0, 5))] * 3, 2) == []


def moving_boxes(path, min_area: int = 100) -> tuple[list[np.ndarray], np.ndarray]:
    """What differs from the median picture as boxes by frame, and its area; a detector for a still camera."""
    with open_video(path) as video:
        clip = np.concatenate([frames for _, frames in video.batches()])[..., 1]
    background = np.median(clip[:: max(1, len(clip) // 60)], axis=0)
    found, area = [], []
    for frame in clip:
        mask = (np.abs(frame - background) > 18).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((13, 7), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        blobs = [row for row in stats[1:] if row[4] >= min_area]
        found.append(np.array([[x, y, x + w, y + h, 0.9] for x, y, w, h, _ in blobs], float).reshape(-1, 5))
        area.append(sum(row[4] for row in blobs))
    return found, np.array(area)
