"""EfficientNet-Lite (Tan and Le 2019; Google 2020) on frames and on what changes between them; 13 MB, fast on a CPU."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from pipeline.backbone.encoders.base import CONVOLUTIONAL, Backbone
from pipeline.encoding.mobile import MobileTrunk
from pipeline.encoding.pixels import evenly

# Of red, green and blue in brightness (ITU-R BT.601).
BRIGHTNESS = (0.299, 0.587, 0.114)
# Changes are small beside what changes: they are made so many times stronger.
GAIN = 3
# Before and after are so many parts of a clip away.
REACH = 24


class EfficientNetLite(nn.Module):
    """The network without its classifier, with the weights that `pipeline.encoding.fetch` writes.

    Args:
        config: of config.json: image_size, stem, stages, last, num_frames.
    """

    def __init__(self, config: dict):
        super().__init__()
        self.config = SimpleNamespace(**config)
        self.trunk = MobileTrunk(config["stem"], config["stages"], config["last"])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, last, h / 32, w / 32]`` of pictures ``[n, 3, h, w]`` in [−1, 1]."""
        return self.trunk(pixels)[-1]


def changes(pixels: torch.Tensor, at: list[int], reach: int) -> torch.Tensor:
    """What changes around frames of clips, as pictures: ``[b, n, 3, h, w]`` in [−1, 1].

    The channels are |now − before|, |after − now| and |after − before| of the brightness: where something moves, and
    which way.

    Args:
        pixels: ``[b, T, 3, h, w]`` in [−1, 1]; at: n of its frames; reach: before and after, in its frames.
    """
    grey = (pixels * pixels.new_tensor(BRIGHTNESS)[:, None, None]).sum(2)  # [b, T, h, w]
    last = grey.shape[1] - 1
    before, now, after = (grey[:, [min(max(frame + step, 0), last) for frame in at]] for step in (-reach, 0, reach))
    change = torch.stack([now - before, after - now, after - before], 2).abs()
    return (GAIN * change).clamp_(max=2) - 1


class FramesAndChanges(Backbone):
    """Mean and deviation over time of what it sees in frames, and of what it sees in their changes.

    It takes all frames of a clip and looks at ``num_frames`` of them; the others show what changes. A clip of three
    times as many frames shows changes over a fiftieth of its length.
    """

    kind = CONVOLUTIONAL
    patch = 32  # five halvings

    @property
    def channels(self) -> int:
        return self.model.config.last

    @property
    def width(self) -> int:
        return 4 * self.channels

    @property
    def map_width(self) -> int:
        return self.channels

    def seen(self, n_frames: int) -> list[int]:
        """The frames of a clip that it looks at."""
        return evenly(n_frames, min(n_frames, self.model.config.num_frames)).tolist()

    def _look(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.model(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])  # [b, n, D, h, w]

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._look(pixels[:, self.seen(pixels.shape[1])]).movedim(2, -1)  # [b, n, h, w, D]

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        at = self.seen(pixels.shape[1])
        reach = max(1, pixels.shape[1] // REACH)
        rows = []
        for pictures in (pixels[:, at], changes(pixels, at, reach)):
            means = self._look(pictures).mean((3, 4))  # [b, n, D]
            rows += [means.mean(1), means.std(1, correction=0)]
        return torch.cat(rows, 1)
