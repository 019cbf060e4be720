"""ViTPose (Xu et al. 2022) through ``transformers``: boxes to keypoints, in batch, on the device.

Crops and the way back follow the unbiased data processing of Huang et al. (UDP, 2020): pixel i of a crop of width w
covers the box from edge to edge in w − 1 steps. Sub-pixel positions follow Zhang et al. (DARK, 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from pipeline.encoding.checkpoints import check_kind, processor_settings
from pipeline.encoding.encoder import Encoder
from pipeline.encoding.loading import load_model
from pipeline.encoding.pixels import IMAGENET_MEAN, IMAGENET_STD, normalise_pixels
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.store.atomic import StageError

Array = TypeVar("Array", torch.Tensor, np.ndarray)
DARK_KERNEL = 11  # blur of the heatmap before its maximum is refined; ViTPose uses 11 at 64×48


def fit_boxes(boxes: torch.Tensor, padding: float, aspect: float) -> torch.Tensor:
    """Enlarge boxes by ``padding`` and to the aspect ratio (width / height) of the network.

    Args:
        boxes: ``[n, 4]`` as x0, y0, x1, y1 in pixels.

    Returns:
        ``[n, 4]`` as centre x, centre y, width, height.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    width = torch.maximum(size[:, 0], size[:, 1] * aspect) * padding
    return torch.cat([centre, width[:, None], width[:, None] / aspect], 1)


def crop(frames: torch.Tensor, regions: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Sample ``[n, 3, height, width]`` from ``frames`` ``[n, 3, H, W]`` at ``regions`` (centre, size) ``[n, 4]``.

    Outside of the frame is 0: black, as where the published networks were trained, so crop first and normalise then.
    """
    full_height, full_width = frames.shape[-2:]
    theta = frames.new_zeros(len(frames), 2, 3)
    theta[:, 0, 0] = regions[:, 2] / (full_width - 1)
    theta[:, 1, 1] = regions[:, 3] / (full_height - 1)
    theta[:, 0, 2] = 2 * regions[:, 0] / (full_width - 1) - 1
    theta[:, 1, 2] = 2 * regions[:, 1] / (full_height - 1) - 1
    grid = F.affine_grid(theta, [len(frames), 3, height, width], align_corners=True)
    return F.grid_sample(frames, grid, align_corners=True)


def _blurred_around(heatmaps: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The blurred heatmap at a cell and its eight neighbours, ``[n, J, 3, 3]``; nothing else of it is ever looked at.

    Args:
        heatmaps: ``[n, J, h, w]``, zero beyond the border; x, y: the cells ``[n, J]``.
    """
    sigma = 0.3 * ((DARK_KERNEL - 1) * 0.5 - 1) + 0.8
    steps = torch.arange(DARK_KERNEL, device=heatmaps.device, dtype=heatmaps.dtype) - DARK_KERNEL // 2
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    # The kernel at each of three cells in a row, on all that these can see.
    kernels = torch.stack([F.pad(kernel, (shift, 2 - shift)) for shift in range(3)])  # [3, DARK_KERNEL + 2]
    reach = DARK_KERNEL // 2 + 1
    padded = F.pad(heatmaps, (reach, reach, reach, reach))
    seen = torch.arange(DARK_KERNEL + 2, device=heatmaps.device)
    rows, columns = y[..., None] + seen, x[..., None] + seen  # [n, J, DARK_KERNEL + 2]
    where = rows[..., :, None] * padded.shape[3] + columns[..., None, :]
    around = padded.flatten(2).gather(2, where.flatten(2)).view_as(where)
    return kernels @ around @ kernels.T


def decode_heatmaps(heatmaps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions and confidences of the maxima.

    Args:
        heatmaps: ``[n, J, h, w]``.

    Returns:
        positions ``[n, J, 2]`` (x, y) in heatmap pixels, refined by one Newton step on the logarithm of the blurred
        heatmap (DARK), and confidences ``[n, J]``, the height of the raw maximum clipped to [0, 1].
    """
    height, width = heatmaps.shape[2:]
    confidence, where = heatmaps.flatten(2).max(2)
    x, y = where % width, where // width
    around = _blurred_around(heatmaps, x, y).clamp(min=1e-3, max=50).log()  # [n, J, 3, 3]
    # A neighbour beyond the border is as high as the cell beside it.
    for axis, place, last in ((-2, y, height - 1), (-1, x, width - 1)):
        before, at_it, after = around.unbind(axis)
        first, end = (place == 0)[..., None], (place == last)[..., None]
        before, after = torch.where(first, at_it, before), torch.where(end, at_it, after)
        around = torch.stack([before, at_it, after], axis)

    def at(dx: int, dy: int) -> torch.Tensor:
        return around[..., 1 + dy, 1 + dx]

    dx, dy = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    dxx = at(1, 0) - 2 * at(0, 0) + at(-1, 0)
    dyy = at(0, 1) - 2 * at(0, 0) + at(0, -1)
    dxy = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    determinant = dxx * dyy - dxy**2
    # A maximum has a negative definite Hessian; elsewhere (flat map, border) the peak itself is the best guess.
    usable = (determinant > 1e-6) & (dxx < 0)
    determinant = torch.where(usable, determinant, torch.ones_like(determinant))
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], -1) / determinant[..., None]
    step = torch.where(usable[..., None], step, torch.zeros_like(step)).clamp(-1, 1)
    return torch.stack([x, y], -1).to(step.dtype) + step, confidence.clamp(0, 1)


def check_joints(name: str, given: int, wanted: int | None) -> None:
    """Compare the joints that a checkpoint gives with those of the skeleton, None for any.

    Raises:
        StageError: they differ.
    """
    if wanted not in (None, given):
        raise StageError(
            f"`{name}` gives {given} joints, the skeleton has {wanted}; take another checkpoint, or the skeleton that "
            f"it was trained for (motion.poses.skeleton)"
        )


# Which data set each expert of ViTPose++ learned (Xu et al. 2023); published files hold the head of the first only.
EXPERTS = ("COCO", "AI Challenger", "MPII", "AP-10K", "APT-36K", "COCO-WholeBody")


class PoseEstimator(Encoder):
    """Keypoints of the person in a box; see `pipeline.motion.pose.estimate` for which box.

    Args:
        name, revision: hub id or folder; sha256: digest that the weights must have, empty for any.
        expert: data set index of ViTPose++; plain ViTPose has none and does not look at it.
        mirrored: joint → the joint that it becomes in a mirrored picture; for ``flip_test``.
        n_joints: joints of the skeleton that is wanted.

    Raises:
        StageError: it cannot be loaded, is another network, has other joints, or lacks this expert.
    """

    def __init__(
        self,
        name: str,
        revision: str = "main",
        expert: int | None = None,
        mirrored: Sequence[int] = (),
        sha256: str = "",
        n_joints: int | None = None,
        runtime: Runtime = AUTO,
    ):
        from transformers import VitPoseForPoseEstimation

        check_kind(name, revision, "pose estimators", ("vitpose",))
        # Files with six heads differ from the published ones only by the five that COCO's joints do not need.
        others = ("associate_keypoint_heads.",)
        super().__init__(load_model(VitPoseForPoseEstimation, name, revision, sha256, runtime, others), runtime)
        if self.model.config.use_simple_decoder:
            # It begins with bilinear upsampling, which is slow on CPUs where channels come first.
            self.model.head.register_forward_pre_hook(
                lambda head, inputs: inputs[0].contiguous(memory_format=torch.channels_last)
            )
        settings = processor_settings(name, revision)
        self.mean, self.std = settings.get("image_mean", IMAGENET_MEAN), settings.get("image_std", IMAGENET_STD)
        self.height, self.width = self.model.config.backbone_config.image_size
        self.expert = self._expert(name, expert)
        self.mirrored = list(mirrored)
        self.n_joints = self.model.config.num_labels
        check_joints(name, self.n_joints, n_joints)

    def _expert(self, name: str, expert: int | None) -> int | None:
        n_experts = self.model.config.backbone_config.num_experts
        if n_experts == 1:
            return None
        if expert is None or not 0 <= expert < n_experts:
            known = ", ".join(f"{index} {data}" for index, data in enumerate(EXPERTS[:n_experts]))
            raise StageError(f"`{name}` is a ViTPose++ with {n_experts} experts; set motion.poses.expert: {known}")
        return expert

    def regions(self, boxes: torch.Tensor, padding: float) -> torch.Tensor:
        """What the network sees around boxes ``[n, 4]`` (x0, y0, x1, y1 in pixels): centre and size ``[n, 4]``.

        Args:
            padding: factor by which boxes are enlarged.
        """
        return fit_boxes(boxes.float(), padding, self.width / self.height)

    def cut(self, frames: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
        """The regions of frames, uint8 ``[n, H, W, 3]`` on any device, standardised: ``[n, 3, height, width]``."""
        pixels = frames.to(self.device).movedim(-1, 1).float()  # [n, 3, H, W]
        crops = crop(pixels, regions.to(self.device), self.height, self.width).movedim(1, -1)
        return normalise_pixels(crops, self.mean, self.std)

    @torch.inference_mode()
    def heatmaps(self, crops: torch.Tensor, flip_test: bool = False) -> torch.Tensor:
        """Heatmaps ``[n, J, h, w]`` of crops.

        Args:
            flip_test: average those of the picture and of its mirror image, as ViTPose's own evaluation does, at twice
                the cost; needs ``mirrored``.
        """
        options = {}
        if self.expert is not None:
            options["dataset_index"] = torch.full((len(crops),), self.expert, device=self.device)
        with self.autocast():
            heatmaps = self.model(crops, **options).heatmaps.float()
            if flip_test:
                # The mirrored person's left joints are the right ones of the picture.
                mirror = self.model(crops.flip(3), **options).heatmaps.float().flip(3)[:, self.mirrored]
                heatmaps = (heatmaps + mirror) / 2
        return heatmaps

    @torch.inference_mode()
    def poses(self, crops: torch.Tensor, flip_test: bool = False) -> torch.Tensor:
        """Positions as parts of the crop, from edge to edge, and confidences: ``[n, J, 3]``."""
        heatmaps = self.heatmaps(crops, flip_test)
        positions, confidence = decode_heatmaps(heatmaps)  # [n, J, 2], [n, J]
        cells = positions.new_tensor([heatmaps.shape[3] - 1, heatmaps.shape[2] - 1])
        return torch.cat([positions / cells, confidence[..., None]], -1)


def in_frame(poses: Array, regions: Array) -> tuple[Array, Array]:
    """Poses of crops ``[n, J, 3]`` in pixels of their frames ``[n, J, 2]``, and confidences ``[n, J]``.

    Args:
        poses: of `PoseEstimator.poses`; regions: of `PoseEstimator.regions`; both tensors, or both arrays.
    """
    corner = regions[:, None, :2] - regions[:, None, 2:] / 2
    return corner + poses[..., :2] * regions[:, None, 2:], poses[..., 2]
