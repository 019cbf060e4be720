from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.data.readers import resize_and_crop
from pipeline.motion.quality import Quality, summed, warnings_of, words
from pipeline.motion.sheet import SIDE, on_clip, row, rows_of
from pipeline.motion.skeleton import skeleton

JOINTS = skeleton("coco")


@pytest.mark.parametrize(("height", "width", "size"), [(144, 180, 72), (240, 100, 50), (60, 60, 120)])
def test_points_go_where_their_pixels_go(height, width, size):
    """A bright block of a frame is found again in the picture that the clip keeps of it."""
    frame = np.zeros((1, height, width, 3), np.uint8)
    y, x = height // 2 - 9, width // 2 + 9
    frame[0, y - 4 : y + 5, x - 4 : x + 5] = 255
    kept = resize_and_crop(frame, size)[0, ..., 0].astype(float)
    rows, columns = np.indices(kept.shape)
    middle = [(columns * kept).sum() / kept.sum(), (rows * kept).sum() / kept.sum()]
    np.testing.assert_allclose(on_clip(np.array([float(x), float(y)]), height, width, size), middle, atol=0.5)


def test_a_row_shows_who_was_found_and_only_sure_joints():
    clip = np.full((3, 64, 64, 3), 99, np.uint8)
    points = np.stack([np.linspace(20, 44, 17), np.linspace(8, 56, 17)], 1)[None].repeat(3, 0)
    sure = np.array([0.9, 0.9, 0.1])[:, None].repeat(17, 1)
    pictures = row(clip, points, sure, np.array([True, False, True]), JOINTS).reshape(SIDE, 3, SIDE, 3).swapaxes(0, 1)
    drawn = (pictures[:, 20:] != 99).any(-1).sum((1, 2))  # below the numbers
    assert drawn[0] > 200 and drawn[1] == drawn[2] == 0


def test_a_row_of_the_table_tells_frames_without_a_person_and_jumps():
    """Two videos in a shard; of the first, three key clips."""
    poses = {
        "offsets": np.array([0, 4, 6]),
        "confidence": np.array([0.5, 0.7, 0.1, 0.0, 0.2, 0.2])[:, None].repeat(17, 1),
        "present": np.array([True, True, False, False, False, False]),
    }
    rows = rows_of(poses, ["a", "b"], {"a": ["", "pose_jump", "low_confidence"]})
    assert rows[0] == {"video_id": "a", "frames": 4, "found": 2, "confidence": 0.6, "clips": 3, "jumps": 1}
    assert rows[1] == {"video_id": "b", "frames": 2, "found": 0, "confidence": 0.0, "clips": 0, "jumps": 0}
    quality = summed(rows)
    assert words(quality) == "person found in 33.3% of 6 frames, mean confidence 0.60; of 3 key clips 1 jump"
    assert words(summed(rows[1:])) == "person found in 0.0% of 2 frames"


def test_poor_poses_are_warned_of_and_good_ones_are_not():
    good = Quality(1000, 0.98, 0.65, 300, 0.01)
    assert warnings_of(good) == []
    assert [
        sentence.partition(",")[0]
        for changed in ({"found": 0.5}, {"confidence": 0.41}, {"jumps": 0.5})
        for sentence in warnings_of(replace(good, **changed))
    ] == [
        "a person is found in 50% of the frames",
        "joints have a mean confidence of 0.41",
        "poses jump in 50% of the key clips",
    ]
    assert len(warnings_of(Quality(10, 0.0, 0.0, 0, 0.0))) == 1
