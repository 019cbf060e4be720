from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.backbone.finetuning import operations
from pipeline.backbone.finetuning.augment import RAND_AUGMENT, View, augment, draw_view, random_box
from pipeline.backbone.settings import Finetune

FILL = torch.tensor([124.0, 116.0, 104.0])
PLAIN = Finetune(flip=False, crop_scale=(1, 1), colour_jitter=0, rand_augment_operations=0)


def clips(n: int, n_frames: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, n_frames, 20, 20, 3), dtype=np.uint8))


def views(settings: Finetune, n: int) -> list[View]:
    return [draw_view(settings, 20, 20, np.random.default_rng([1, row])) for row in range(n)]


def test_nothing_chosen_is_nothing_done():
    # The whole square is the only crop of its area.
    given = clips(2)
    whole = [View((0, 0, 20, 20), False), View((0, 0, 20, 20), True)]
    result = augment(given, whole, 20, FILL)
    torch.testing.assert_close(result[0], given[0].movedim(-1, 1))
    torch.testing.assert_close(result[1], given[1].movedim(-1, 1).flip(-1))
    assert not any(view.flip or view.steps for view in views(PLAIN, 50))


def test_all_frames_of_a_clip_are_treated_alike():
    still = clips(40)[:, :1].repeat(1, 3, 1, 1, 1)
    result = augment(still, views(Finetune(crop_scale=(0.3, 1)), 40), 16, FILL)
    torch.testing.assert_close(result[:, 0], result[:, 1])
    torch.testing.assert_close(result[:, 0], result[:, 2])
    assert len({clip.numpy().tobytes() for clip in result}) == 40


def test_a_clip_looks_the_same_whatever_stands_beside_it():
    given, drawn = clips(30), views(Finetune(), 30)
    together = augment(given, drawn, 16, FILL)
    for row in range(0, 30, 7):
        torch.testing.assert_close(augment(given[row : row + 1], drawn[row : row + 1], 16, FILL)[0], together[row])


def test_steps_come_in_their_order():
    steps = [(operations.invert, 0.0, False), (operations.brightness, 0.5, False)]
    given = torch.full((2, 1, 4, 4, 3), 100, dtype=torch.uint8)
    first = View((0, 0, 4, 4), False, steps)
    second = View((0, 0, 4, 4), False, steps[::-1])
    result = augment(given, [first, second], 4, FILL)
    assert result[0].unique().tolist() == [77]  # (255 - 100) / 2
    assert result[1].unique().tolist() == [205]  # 255 - 100 / 2


def test_draws_follow_the_settings():
    drawn = views(Finetune(), 4000)
    assert np.mean([view.flip for view in drawn]) == pytest.approx(0.5, abs=0.03)
    counts = [len(view.steps) - 3 for view in drawn]  # three of them are colour jitter
    # Two operations, each applied to half of the clips.
    np.testing.assert_allclose(np.bincount(counts) / 4000, [0.25, 0.5, 0.25], atol=0.03)
    areas = [view.box[2] * view.box[3] / 400 for view in drawn]
    assert 0.05 < min(areas) < 0.15 and max(areas) > 0.9
    jitter = np.array([step[1] for view in drawn for step in view.steps[-3:]])
    assert jitter.min() == pytest.approx(0.6, abs=0.01) and jitter.max() == pytest.approx(1.4, abs=0.01)
    used = {step[0] for view in drawn for step in view.steps[:-3]}
    assert used == {operation.apply for operation in RAND_AUGMENT}


def test_magnitude_nine_with_deviation_a_half():
    settings = Finetune(rand_augment_operations=1, colour_jitter=0)
    turns = [step[1] for view in views(settings, 6000) for step in view.steps if step[0] is operations.rotate]
    assert np.abs(turns).mean() == pytest.approx(27, abs=0.4)
    assert np.abs(turns).std() == pytest.approx(1.5, abs=0.3)
    assert np.mean(np.sign(turns)) == pytest.approx(0, abs=0.2)
    assert np.abs(turns).max() <= 30


def test_crops_keep_their_area_and_stay_inside():
    random = np.random.default_rng(0)
    boxes = [random_box(100, 140, (0.25, 0.5), random) for _ in range(500)]
    for top, left, height, width in boxes:
        assert 0 <= top <= 100 - height and 0 <= left <= 140 - width
        assert 0.23 < height * width / 14000 < 0.53
        assert 0.7 < width / height < 1.4
    # No crop of the whole area with such an aspect ratio fits into a very wide picture.
    assert random_box(10, 100, (1, 1), random) == (0, 45, 10, 10)
