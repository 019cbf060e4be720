"""MoveNet (Google 2021): 17 joints from a square picture, or boxes of up to six people; a few MB, fast on a CPU.

A MobileNetV2 with a feature pyramid, and CenterNet's heads (Zhou et al. 2019): where people are centred, where each
joint is from there, a heatmap per joint, and how far from the middle of its cell. Published as a graph that takes one
picture; the network is written out here, decoding is done in batch. `conceptreel fetch small` brings the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from pipeline.encoding.checkpoints import config_of
from pipeline.encoding.encoder import Encoder
from pipeline.encoding.loading import load_tensors
from pipeline.encoding.mobile import MobileTrunk, Same
from pipeline.encoding.pixels import Preprocessing
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.motion.pose.vitpose import check_joints, fit_boxes
from pipeline.store.atomic import StageError

STRIDE, N_JOINTS, PYRAMID, HIDDEN = 4, 17, (64, 32, 24, 24), 96
# Head → channels. A network of one person has the first four.
HEADS = {"center": 1, "kpt_heatmap": 17, "kpt_regress": 34, "kpt_offset": 34, "box_scale": 2, "box_offset": 2}
# Pixels 0…255 → the network's, as its graph has it: nearly x / 127.5 − 1, in half precision.
SCALE = 0.007843017578125
# Added to distances (in cells) that confidences are divided by.
NEAR = 1.8
# Of the network of several people: how many, below which confidence a joint does not count, and how fast joints count
# less away from where they are expected, as a part of the map's side.
PEOPLE, SURE_JOINT, SPREAD = 6, 0.127, 0.3
# A part of the picture that shrinks is sampled as often as it shrinks, along each side, but no more than this.
FINEST = 6


class _Separable(nn.Module):
    """A convolution of each channel, then one of 1 × 1, rectified."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.depthwise = Same(inputs, inputs, 3, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return F.relu(self.pointwise(self.depthwise(maps)), inplace=True)


class MoveNetModel(nn.Module):
    """The network, with the weights that `pipeline.encoding.fetch` writes.

    Args:
        config: of config.json: image_size, stem, stages, last, and the names of its heads.
    """

    def __init__(self, config: dict):
        super().__init__()
        self.config = SimpleNamespace(**config)
        self.trunk = MobileTrunk(config["stem"], config["stages"], config["last"])
        widths = [stage[1] for stage in config["stages"]]
        inner, *outer = PYRAMID
        # From the coarsest to the finest: the last convolution, and stages 4, 3 and 2.
        self.lateral = nn.ModuleList(
            nn.Conv2d(width, channels, 1)
            for width, channels in zip((config["last"], *widths[3:0:-1]), (inner, inner, *outer[:-1]), strict=True)
        )
        self.smooth = nn.ModuleList(_Separable(a, b) for a, b in zip(PYRAMID[:-1], outer, strict=True))
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(_Separable(PYRAMID[-1], HIDDEN), nn.Conv2d(HIDDEN, HEADS[name], 1))
                for name in config["heads"]
            }
        )

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Heads of standardised pictures ``[n, 3, h, w]``: name → ``[n, h / 4, w / 4, channels]``."""
        stages = self.trunk(pixels)
        result = self.lateral[0](stages[-1])
        for lateral, smooth, finer in zip(self.lateral[1:], self.smooth, stages[3:0:-1], strict=True):
            larger = F.interpolate(result, scale_factor=2, mode="bilinear", align_corners=False)
            result = smooth(larger + lateral(finer))
        return {name: head(result).float().movedim(1, -1) for name, head in self.heads.items()}


def _grid(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows ``[h, 1]`` and columns ``[1, w]`` of the places of maps ``[n, h, w, …]``."""
    rows, columns = (torch.arange(size, device=maps.device, dtype=torch.float32) for size in maps.shape[1:3])
    return rows[:, None], columns[None]


def _at(maps: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Values ``[n, k, …]`` of maps ``[n, h, w, …]`` at flat places ``[n, k]``."""
    return maps.flatten(1, 2)[torch.arange(len(maps), device=maps.device)[:, None], places]


def decode_person(heads: dict[str, torch.Tensor]) -> torch.Tensor:
    """Joints of the person nearest to the middle, as parts of the picture: ``[n, 17, 3]`` x, y, confidence.

    For each joint the heatmap's maximum is taken where the centre's regression expects it: each place counts less the
    further away it is.
    """
    heat = heads["kpt_heatmap"].sigmoid()  # [n, h, w, 17]
    height, width = heat.shape[1:3]
    rows, columns = _grid(heat)
    from_middle = ((rows - height / 2) ** 2 + (columns - width / 2) ** 2).sqrt()
    centre = (heads["center"][..., 0].sigmoid() / (from_middle + NEAR)).flatten(1).argmax(1, keepdim=True)  # [n, 1]
    expected = _at(heads["kpt_regress"].unflatten(-1, (N_JOINTS, 2)), centre)[:, 0]  # [n, 17, 2] y, x
    y, x = (centre // width + expected[..., 0], centre % width + expected[..., 1])
    distance = ((rows[..., None] - y[:, None, None]) ** 2 + (columns[..., None] - x[:, None, None]) ** 2).sqrt()
    places = (heat / (distance + NEAR)).flatten(1, 2).argmax(1)  # [n, 17]
    joints = torch.arange(N_JOINTS, device=heat.device)
    offset = _at(heads["kpt_offset"].unflatten(-1, (N_JOINTS, 2)), places)[:, joints, joints]  # [n, 17, 2] y, x
    sure = _at(heat, places)[:, joints, joints]
    return torch.stack(
        [(places % width + offset[..., 1]) / width, (places // width + offset[..., 0]) / height, sure], -1
    )


def decode_people(heads: dict[str, torch.Tensor]) -> torch.Tensor:
    """Boxes of up to six people, as parts of the picture: ``[n, 6, 5]`` x0, y0, x1, y1, score, in no order.

    A person is a local maximum of the centre map; the score is its height times the mean confidence of the joints that
    are seen in the box.
    """
    heat = heads["kpt_heatmap"].sigmoid()  # [n, h, w, 17]
    height, width = heat.shape[1:3]
    rows, columns = _grid(heat)
    centre = heads["center"].sigmoid()[..., 0]
    highest = F.max_pool2d(centre[:, None], 5, 1, 2)[:, 0]
    score, places = torch.where(highest - centre < 1e-6, centre, 0).flatten(1).topk(PEOPLE)  # [n, 6]
    y, x = places // width, places % width
    middle = torch.stack([y, x], -1) + _at(heads["box_offset"], places)
    half = _at(heads["box_scale"], places).clamp(min=0) / 2
    last = middle.new_tensor([height, width])
    low, high = (middle - half).clamp(min=0).minimum(last), (middle + half).clamp(min=0).minimum(last)  # [n, 6, 2]
    expected = torch.stack([y, x], -1)[..., None, :] + _at(heads["kpt_regress"].unflatten(-1, (N_JOINTS, 2)), places)
    # One person after the other: all together would be six times the maps.
    weighted = []
    for person in range(PEOPLE):
        top, left, bottom, right = (edge[:, person, axis, None, None] for edge in (low, high) for axis in (0, 1))
        inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)  # [n, h, w]
        at_y, at_x = expected[:, person, None, None].unbind(-1)
        distance = (rows[..., None] - at_y) ** 2 + (columns[..., None] - at_x) ** 2
        weight = torch.exp(-distance / (SPREAD * min(height, width))) * inside[..., None]
        weighted.append((heat * weight).flatten(1, 2))  # [n, h * w, 17]
    where = torch.stack([maps.argmax(1) for maps in weighted], 1)  # [n, 6, 17]
    best = torch.stack(weighted).amax(0)  # [n, h * w, 17]
    sure = best.gather(1, where)  # [n, 6, 17]
    counted = sure > SURE_JOINT
    score = score * (sure * counted).sum(-1) / counted.sum(-1).clamp(min=1)
    corners = torch.cat([low / last, high / last], -1)[..., [1, 0, 3, 2]]
    return torch.cat([corners, score[..., None]], -1)


def squares(frames: torch.Tensor, regions: torch.Tensor, size: int) -> torch.Tensor:
    """Square parts ``[n, 3, size, size]`` of frames uint8 ``[n, H, W, 3]``, in 0…255; black beyond the border.

    Args:
        regions: centre and size ``[n, 4]`` in pixels, 0 in the middle of the first pixel.
    """
    height, width = frames.shape[1:3]
    pixels = frames.movedim(-1, 1).float()
    theta = pixels.new_zeros(len(pixels), 2, 3)
    for axis, side in ((0, width), (1, height)):
        theta[:, axis, axis] = regions[:, 2 + axis] / side
        theta[:, axis, 2] = (2 * regions[:, axis] + 1) / side - 1
    # Each is sampled as finely as it needs, whatever else is in the batch: otherwise small things would be missed.
    finer = (regions[:, 2] / size).ceil().clamp(1, FINEST).int()
    result = pixels.new_empty(len(pixels), 3, size, size)
    for times in finer.unique().tolist():
        rows = finer == times
        grid = F.affine_grid(theta[rows], [int(rows.sum()), 3, size * times, size * times], align_corners=False)
        result[rows] = F.avg_pool2d(F.grid_sample(pixels[rows], grid, align_corners=False), times)
    return result


class MoveNet(Encoder):
    """Keypoints of the person in a box; the interface is that of `pipeline.motion.pose.vitpose.PoseEstimator`.

    Args:
        name, revision: folder with weights and config.json; sha256: digest that the weights must have, empty for any.
        mirrored: joint → the joint that it becomes in a mirrored picture; for ``flip_test``.
        n_joints: joints of the skeleton that is wanted.
        options: those of other estimators, which it does not look at.

    Raises:
        StageError: it cannot be loaded, or the skeleton has other joints.
    """

    n_joints = N_JOINTS

    def __init__(
        self,
        name: str,
        revision: str = "main",
        mirrored: Sequence[int] = (),
        sha256: str = "",
        n_joints: int | None = None,
        runtime: Runtime = AUTO,
        **options: int | None,
    ):
        check_joints(name, N_JOINTS, n_joints)
        super().__init__(_load(name, revision, sha256, runtime), runtime)
        self.mirrored = list(mirrored)

    def regions(self, boxes: torch.Tensor, padding: float) -> torch.Tensor:
        """What the network sees around boxes ``[n, 4]`` (x0, y0, x1, y1 in pixels): centre and size ``[n, 4]``."""
        return fit_boxes(boxes.float(), padding, 1)

    def cut(self, frames: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
        """The regions of frames, uint8 ``[n, H, W, 3]`` on any device, for the network: ``[n, 3, size, size]``."""
        return squares(frames.to(self.device), regions.to(self.device), self.model.config.image_size) * SCALE - 1

    @torch.inference_mode()
    def poses(self, crops: torch.Tensor, flip_test: bool = False) -> torch.Tensor:
        """Positions as parts of the crop, from edge to edge, and confidences: ``[n, J, 3]``.

        Args:
            flip_test: the mean with what is found in the mirror image, at twice the cost; needs ``mirrored``.
        """
        with self.autocast():
            found = decode_person(self.model(crops))
            if flip_test:
                mirror = decode_person(self.model(crops.flip(3)))[:, self.mirrored]
                mirror[..., 0] = 1 - mirror[..., 0]
                found = (found + mirror) / 2
        return found


class MultiPose(Encoder):
    """Boxes of the persons in a picture; the interface is that of `pipeline.motion.pose.detector.PersonDetector`.

    Args:
        name, revision: folder with weights and config.json; sha256: digest that the weights must have, empty for any.
    """

    def __init__(self, name: str, revision: str = "main", sha256: str = "", runtime: Runtime = AUTO):
        super().__init__(_load(name, revision, sha256, runtime), runtime)
        side = self.model.config.image_size
        self.preprocessing = Preprocessing((0.5,) * 3, (0.5,) * 3, (side, side), "bilinear", stretch=True)

    def pixels(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 ``[n, H, W, 3]`` → ``[n, 3, size, size]``; frames of all videos then have one size."""
        return self.preprocessing(frames.to(self.device))

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Persons as parts of the picture: ``[n, 6, 5]`` x0, y0, x1, y1, score."""
        with self.autocast():
            return decode_people(self.model(pixels))


def _load(name: str, revision: str, sha256: str, runtime: Runtime) -> MoveNetModel:
    config = config_of(name, revision)
    try:
        model = MoveNetModel(config)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StageError(f"config.json of `{name}` does not describe a MoveNet ({error!r}); fetch it again") from None
    return load_tensors(model, name, revision, sha256, runtime)
