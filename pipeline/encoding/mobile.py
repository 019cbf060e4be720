"""The trunk of small convolutional networks: inverted residuals (MobileNetV2, Sandler et al. 2018), no batch norms.

MoveNet and EfficientNet-Lite (Tan and Le 2019, without squeeze-and-excitation) differ in its numbers only. Batch norms
are folded into the convolutions when a checkpoint is made (`pipeline.encoding.fetch`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class Same(nn.Conv2d):
    """A convolution with TensorFlow's padding: where it is odd, the larger half comes after the picture."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        padding = []
        for size, kernel, stride in zip(pixels.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]
        # Even padding is the convolution's own, which needs no copy of the picture.
        if padding[::2] == padding[1::2]:
            return F.conv2d(pixels, self.weight, self.bias, self.stride, padding[::-2], self.dilation, self.groups)
        return super().forward(F.pad(pixels, padding))


class InvertedResidual(nn.Module):
    """Wider by 1 × 1, through a k × k convolution of each channel, narrower by 1 × 1; added to its input if it can be.

    Args:
        expansion: width of the middle over that of the input; 1 has no first convolution.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int):
        super().__init__()
        middle = inputs * expansion
        self.expand = nn.Conv2d(inputs, middle, 1) if expansion > 1 else None
        self.depthwise = Same(middle, middle, kernel, stride, groups=middle)
        self.project = nn.Conv2d(middle, outputs, 1)
        self.added = stride == 1 and inputs == outputs

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        wide = pixels if self.expand is None else F.relu6(self.expand(pixels), inplace=True)
        result = self.project(F.relu6(self.depthwise(wide), inplace=True))
        return result.add_(pixels) if self.added else result


class MobileTrunk(nn.Module):
    """All stages of such a network.

    Args:
        stem: channels of the first convolution, of stride 2.
        stages: expansion, channels, blocks, stride and kernel of each; the stride is that of its first block.
        last: channels of the convolution at the end.
    """

    def __init__(self, stem: int, stages: Sequence[Sequence[int]], last: int):
        super().__init__()
        self.stem = Same(3, stem, 3, 2)
        blocks, self.ends, width = [], [], stem
        for expansion, channels, count, stride, kernel in stages:
            for number in range(count):
                blocks.append(InvertedResidual(width, channels, expansion, 1 if number else stride, kernel))
                width = channels
            self.ends.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Conv2d(width, last, 1)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """What each stage gives for pictures ``[n, 3, h, w]``, and after them what the last convolution gives."""
        result, found = F.relu6(self.stem(pixels.contiguous(memory_format=torch.channels_last)), inplace=True), []
        for number, block in enumerate(self.blocks):
            result = block(result)
            if number in self.ends:
                found.append(result)
        return [*found, F.relu6(self.last(result), inplace=True)]
