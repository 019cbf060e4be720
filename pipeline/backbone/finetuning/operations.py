"""Operations on pictures as PIL defines them, on tensors: the same operation for a batch of clips, a strength for each.

Clips are uint8 ``[n, T, 3, H, W]``, strengths ``[n]``; every frame of a clip is treated alike. Results are PIL's to one
grey level (see the tests); PIL itself would take the pictures off the device one by one. kornia 0.9, 31 MB with what it
needs, gives others: its contrast is a level off in up to 48 % of the tests' values, its movements mix the fill into the
picture's border (up to 71 levels), and its autocontrast turns a flat channel black.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

# Of PIL's conversion from RGB to grey, in 65536ths.
_GREY = (19595, 38470, 7471)


def _per_clip(strength: torch.Tensor) -> torch.Tensor:
    return strength.view(-1, 1, 1, 1, 1)


def _to_bytes(values: torch.Tensor) -> torch.Tensor:
    return values.clamp(0, 255).to(torch.uint8)  # cuts off, as PIL does


def grey(clips: torch.Tensor) -> torch.Tensor:
    """Luma ``[n, T, 1, H, W]`` in whole grey levels, float32."""
    weight = torch.tensor(_GREY, device=clips.device, dtype=torch.int32).view(3, 1, 1)
    return ((clips.int() * weight).sum(2, keepdim=True) + 0x8000 >> 16).float()


def _blend(degenerate: torch.Tensor, clips: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return _to_bytes(degenerate + _per_clip(factor) * (clips.float() - degenerate))


def brightness(clips: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Towards black below 1, away from it above (ImageEnhance.Brightness)."""
    return _blend(torch.zeros((), device=clips.device), clips, factor)


def colour(clips: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Towards grey below 1, away from it above (ImageEnhance.Color)."""
    return _blend(grey(clips), clips, factor)


def contrast(clips: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Towards the mean grey of each frame below 1, away from it above (ImageEnhance.Contrast)."""
    return _blend((grey(clips).mean((-2, -1), keepdim=True) + 0.5).floor(), clips, factor)


def sharpness(clips: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Towards a smoothed frame below 1, away from it above (ImageEnhance.Sharpness); the border stays."""
    kernel = torch.ones(3, 3, device=clips.device)
    kernel[1, 1] = 5
    height, width = clips.shape[-2:]
    planes = clips.reshape(-1, 1, height, width).float()
    smooth = planes.clone()
    smooth[..., 1:-1, 1:-1] = (F.conv2d(planes, kernel[None, None] / kernel.sum()) + 0.5).floor()
    return _blend(smooth.view(clips.shape), clips, factor)


def invert(clips: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Negative."""
    return 255 - clips


def posterise(clips: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Keep the highest ``bits`` bits of every value, 1 to 8 (ImageOps.posterize)."""
    step = 2 ** (8 - _per_clip(bits).int())
    return (clips.int() // step * step).to(torch.uint8)


def solarise(clips: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Invert values from the threshold on (ImageOps.solarize)."""
    return torch.where(clips >= _per_clip(threshold), 255 - clips, clips)


def solarise_add(clips: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """Add to values below 128 (RandAugment of Cubuk et al., as in AutoAugment's code)."""
    return torch.where(clips < 128, _to_bytes(clips + _per_clip(added)), clips)


def _look_up(clips: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Every value by its channel's table ``[n * T * 3, 256]``."""
    values = clips.reshape(len(table), -1)
    return table.gather(1, values.long()).to(torch.uint8).view(clips.shape)


def autocontrast(clips: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Stretch every channel of every frame to 0…255 (ImageOps.autocontrast)."""
    planes = clips.flatten(-2).flatten(0, 2)  # [n * T * 3, H * W]
    # In double precision as in PIL: its tables are cut off, so that a rounding error would cost a grey level.
    low, high = planes.min(1, keepdim=True)[0].double(), planes.max(1, keepdim=True)[0].double()
    scale = torch.full_like(low, 255) / (high - low)  # a number over a tensor would be rounded twice
    levels = torch.arange(256, device=clips.device, dtype=torch.float64)
    table = (levels * scale - low * scale).trunc().clamp(0, 255)
    return _look_up(clips, torch.where(high > low, table, levels))


def equalise(clips: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Flatten the histogram of every channel of every frame (ImageOps.equalize)."""
    planes = clips.flatten(-2).flatten(0, 2).long()  # [n * T * 3, H * W]
    count = torch.zeros(len(planes), 256, dtype=torch.long, device=clips.device)
    count.scatter_add_(1, planes, torch.ones_like(planes))
    last = count.gather(1, planes.max(1, keepdim=True)[0])
    step = (planes.shape[1] - last) // 255
    below = count.cumsum(1) - count
    table = (step // 2 + below) // step.clamp(min=1)
    return _look_up(clips, torch.where(step > 0, table.clamp(max=255), torch.arange(256, device=clips.device)))


def affine(clips: torch.Tensor, matrix: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    """Image.transform(AFFINE, BILINEAR): each pixel comes from where the matrix sends its centre.

    Args:
        matrix: ``[n, 2, 3]`` from output to input pixels.
        fill: ``[3]``, the colour of what comes from outside.
    """
    n_frames, _, height, width = clips.shape[1:]
    x = torch.arange(width, device=clips.device) + 0.5
    y = torch.arange(height, device=clips.device) + 0.5
    centres = torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.ones(height, width, device=clips.device)], -1)
    source = torch.einsum("nij,hwj->nhwi", matrix.float(), centres)  # [n, H, W, (x, y)]
    size = torch.tensor([width, height], device=clips.device)
    inside = ((source >= 0) & (source < size)).all(-1)[:, None, None]  # [n, 1, 1, H, W]
    frames = clips.flatten(1, 2).float()  # [n, T * 3, H, W]
    moved = F.grid_sample(frames, source * 2 / size - 1, padding_mode="border", align_corners=False)
    # The tolerance is for the sampler, whose weights are not exact: a flat picture must stay flat.
    moved = _to_bytes(moved + 1e-3).unflatten(1, (n_frames, 3))
    return torch.where(inside, moved, fill.to(torch.uint8).view(3, 1, 1))


def _identity(strength: torch.Tensor) -> torch.Tensor:
    return torch.eye(2, 3, device=strength.device).repeat(len(strength), 1, 1)


def shear_x(clips: torch.Tensor, factor: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    """Shift every row by ``factor`` times its height."""
    matrix = _identity(factor)
    matrix[:, 0, 1] = factor
    return affine(clips, matrix, fill)


def shear_y(clips: torch.Tensor, factor: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    matrix = _identity(factor)
    matrix[:, 1, 0] = factor
    return affine(clips, matrix, fill)


def translate_x(clips: torch.Tensor, part: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    """Shift by a part of the width."""
    matrix = _identity(part)
    matrix[:, 0, 2] = part * clips.shape[-1]
    return affine(clips, matrix, fill)


def translate_y(clips: torch.Tensor, part: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    matrix = _identity(part)
    matrix[:, 1, 2] = part * clips.shape[-2]
    return affine(clips, matrix, fill)


def rotate(clips: torch.Tensor, degrees: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    """Counter-clockwise about the middle (Image.rotate)."""
    angle = degrees * (math.pi / 180)
    cosine, sine = angle.cos(), angle.sin()
    middle = torch.tensor([clips.shape[-1] / 2, clips.shape[-2] / 2], device=clips.device)
    turn = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], 1)  # [n, 2, 2]
    return affine(clips, torch.cat([turn, (middle - turn @ middle)[..., None]], -1), fill)


def crop_and_resize(clip: torch.Tensor, box: tuple[int, int, int, int], size: int, flip: bool) -> torch.Tensor:
    """One clip ``[T, 3, H, W]`` cut to (top, left, height, width) and resized, bilinear with antialiasing.

    Returns:
        uint8 ``[T, 3, size, size]``.
    """
    top, left, height, width = box
    part = clip[..., top : top + height, left : left + width].float()
    if (height, width) != (size, size):
        part = F.interpolate(part, (size, size), mode="bilinear", antialias=True, align_corners=False)
    part = part.round().clamp(0, 255).to(torch.uint8)
    return part.flip(-1) if flip else part
