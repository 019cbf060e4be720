from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pipeline.encoding.mobile import InvertedResidual, MobileTrunk, Same


# TensorFlow's guide to padding: out = ceil(in / stride), the odd pixel after.
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [(8, 3, 1, 1, 1), (8, 3, 2, 0, 1), (7, 3, 2, 1, 1), (8, 5, 2, 1, 2), (9, 5, 2, 2, 2), (8, 5, 1, 2, 2)],
)
def test_padding_is_that_of_tensorflow(size, kernel, stride, before, after):
    torch.manual_seed(0)
    layer, pixels = Same(2, 3, kernel, stride), torch.rand(1, 2, size, size)
    expected = F.conv2d(F.pad(pixels, (before, after) * 2), layer.weight, layer.bias, stride)
    assert expected.shape[2:] == (-(-size // stride),) * 2
    torch.testing.assert_close(layer(pixels), expected)


def test_sides_are_padded_each_by_its_own_length():
    layer, pixels = Same(2, 3, 3, 2), torch.rand(1, 2, 7, 8)
    expected = F.conv2d(F.pad(pixels, (0, 1, 1, 1)), layer.weight, layer.bias, 2)
    torch.testing.assert_close(layer(pixels), expected)


def test_a_block_is_added_to_its_input_where_it_can_be():
    torch.manual_seed(0)
    pixels = torch.rand(1, 4, 6, 6)
    same = InvertedResidual(4, 4, 2, 1, 3)
    for value in same.project.parameters():
        torch.nn.init.zeros_(value)
    torch.testing.assert_close(same(pixels), pixels)
    assert InvertedResidual(4, 6, 1, 2, 5)(pixels).shape == (1, 6, 3, 3)


def test_a_trunk_gives_each_stage():
    trunk = MobileTrunk(4, [[1, 6, 1, 1, 3], [2, 8, 2, 2, 5]], 10)
    shapes = [tuple(maps.shape) for maps in trunk(torch.rand(2, 3, 16, 16))]
    assert shapes == [(2, 6, 8, 8), (2, 8, 4, 4), (2, 10, 4, 4)]
