from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.readers import resize_and_crop
from pipeline.motion.sheet import SIDE, on_clip, row, words
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


def test_words_tell_frames_without_a_person_and_jumps():
    confidence = np.array([0.5, 0.7, 0.1, 0.0])[:, None].repeat(17, 1)
    present = np.array([True, True, False, False])
    said = words(confidence, present, ["", "pose_jump", "low_confidence"])
    assert said == "person found in 50.0% of 4 frames, mean confidence 0.60; of 3 key clips 1 jump"
    assert words(confidence[2:], present[2:], []) == "person found in 0.0% of 2 frames"
