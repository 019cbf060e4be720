"""Networks over the frames of feature maps: plain, and with fine classes in the same or another branch.

The disentanglement follows the paper's description (its code is not released): a branch for the coarse class, one for
the fine class, kept apart, and the fine one read by the coarse one through a gate. Each step is a variant of its own:

    base        the coarse class alone
    shared      one branch, both classes
    branches    a branch each
    separation  and the mean square of their cross-correlation is made small
    fusion      and the coarse class reads z_c + σ(W [z_c, z_f]) ⊙ V z_f, without a gradient into z_f
    through     with that gradient
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

VARIANTS = ("base", "shared", "branches", "separation", "fusion", "through")
_WIDTH, _REDUCED, _NOISE = 64, 16, 0.3


@dataclass(frozen=True)
class Reduction:
    """Principal components of the places of maps; mean ``[D]``, axes ``[D, C]`` scaled to unit variance."""

    mean: np.ndarray
    axes: np.ndarray

    def __call__(self, maps: np.ndarray, moving: bool) -> torch.Tensor:
        """Maps ``[n, S, h, w, D]`` → ``[n, S, h·w, C]``; moving: less each place's median over time."""
        n, s = maps.shape[:2]
        rows = maps.reshape(n, s, -1, maps.shape[-1])
        result = np.empty((*rows.shape[:3], self.axes.shape[1]), np.float32)
        for start in range(0, n, 256):
            part = rows[start : start + 256].astype(np.float32)
            part = part - (np.median(part, 1, keepdims=True) if moving else self.mean)
            result[start : start + 256] = part @ self.axes
        return torch.from_numpy(result)


def reduction_of(maps: np.ndarray, channels: int, moving: bool) -> Reduction:
    """Fitted on maps ``[n, S, h, w, D]`` that may be learned from."""
    rows = maps.reshape(len(maps), maps.shape[1], -1, maps.shape[-1]).astype(np.float32)
    if moving:
        rows = rows - np.median(rows, 1, keepdims=True)
    rows = rows.reshape(-1, rows.shape[-1])
    mean = rows.mean(0)
    values, axes = np.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    kept = axes[:, ::-1][:, :channels]
    kept = kept * np.where(np.abs(kept).max(0) == kept.max(0), 1, -1)  # an eigenvector's sign is the library's whim
    scale = np.sqrt(np.maximum(values[::-1][:channels], 1e-12))
    return Reduction(mean, (kept / np.maximum(scale, 1e-6)).astype(np.float32))


class Network(nn.Module):
    """Coarse logits ``[b, K]``, fine logits ``[b, F]`` or None, and the penalty; of maps ``[b, S, P, C]``."""

    def __init__(self, variant: str, shape: tuple[int, int, int], n_coarse: int, n_fine: int):
        super().__init__()
        self.variant = variant
        slices, places, channels = shape
        self.reduce = nn.Linear(channels, _REDUCED)

        def branch() -> nn.ModuleList:
            frame = nn.Sequential(
                nn.Linear(_REDUCED * places, _WIDTH), nn.LayerNorm(_WIDTH), nn.ReLU(), nn.Dropout(0.2)
            )
            time = nn.Sequential(
                nn.Conv1d(_WIDTH, _WIDTH, 3, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(0.3),
                nn.Linear(_WIDTH * slices, _WIDTH),
            )
            return nn.ModuleList([frame, time])

        self.coarse, self.to_coarse = branch(), nn.Linear(_WIDTH, n_coarse)
        if variant != "base":
            self.to_fine = nn.Linear(_WIDTH, n_fine)
        if variant not in ("base", "shared"):
            self.fine = branch()
        if variant in ("fusion", "through"):
            self.gate, self.value = nn.Linear(2 * _WIDTH, _WIDTH), nn.Linear(_WIDTH, _WIDTH)

    @staticmethod
    def _through(branch: nn.ModuleList, frames: torch.Tensor) -> torch.Tensor:
        return branch[1](branch[0](frames).transpose(1, 2))

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        frames = self.reduce(maps).flatten(2)  # [b, S, P · 16]
        z_c = self._through(self.coarse, frames)
        none = z_c.new_zeros(())
        if self.variant == "base":
            return self.to_coarse(z_c), None, none
        if self.variant == "shared":
            return self.to_coarse(z_c), self.to_fine(z_c), none
        z_f = self._through(self.fine, frames)
        penalty = none if self.variant == "branches" else correlation(z_c, z_f)
        fused = z_c
        if self.variant in ("fusion", "through"):
            read = z_f.detach() if self.variant == "fusion" else z_f
            fused = z_c + torch.sigmoid(self.gate(torch.cat([z_c, read], 1))) * self.value(read)
        return self.to_coarse(fused), self.to_fine(z_f), penalty


def correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean square of the cross-correlation of two standardised batches ``[b, d]``; 0 where they are unrelated."""
    a, b = ((z - z.mean(0)) / (z.std(0, unbiased=False) + 1e-5) for z in (first, second))
    return ((a.T @ b / len(a)) ** 2).mean()


@dataclass(frozen=True)
class Recipe:
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    fine_weight: float
    separation_weight: float


def train(
    variant: str, maps: torch.Tensor, coarse: torch.Tensor, fine: torch.Tensor, n_coarse: int, recipe: Recipe, seed: int
) -> Network:
    """Fit a network for a set number of epochs: nothing is chosen, so that no video is looked at for a choice.

    Args:
        maps: ``[n, S, P, C]``; coarse, fine: labels ``[n]``.
    """
    torch.manual_seed(seed)
    net = Network(variant, tuple(maps.shape[1:]), n_coarse, max(1, int(fine.max()) + 1))
    steps = recipe.epochs * -(-len(maps) // recipe.batch_size)
    optimizer = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    net.train()
    for _ in range(recipe.epochs):
        for rows in torch.randperm(len(maps)).split(recipe.batch_size):
            noisy = maps[rows] + _NOISE * torch.randn(len(rows), 1, 1, maps.shape[-1])
            logits, fine_logits, penalty = net(noisy)
            loss = functional.cross_entropy(logits, coarse[rows], label_smoothing=0.05)
            if fine_logits is not None:
                own = functional.cross_entropy(fine_logits, fine[rows], label_smoothing=0.05)
                loss = loss + recipe.fine_weight * own + recipe.separation_weight * penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


@torch.inference_mode()
def predict(net: Network, maps: torch.Tensor) -> np.ndarray:
    """Coarse class of each clip ``[n]``."""
    parts = [net(part)[0].argmax(1) for part in maps.split(256)]
    return torch.cat(parts).numpy() if parts else np.zeros(0, np.int64)


def attention(net: Network, maps: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Classes that are said ``[n]``, and what places speak for them ``[n, S, P]``: the gradient of the class's logit
    times the input, summed over channels where it is positive, in parts of the clip's whole.
    """
    maps = maps.clone().requires_grad_()
    logits = net(maps)[0]
    said = logits.argmax(1)
    logits.gather(1, said[:, None]).sum().backward()
    assert maps.grad is not None
    speaks = (maps.grad * maps.detach()).sum(-1).clamp_min(0)
    speaks = speaks / speaks.sum((1, 2), keepdim=True).clamp_min(1e-9)
    return said.numpy(), speaks.numpy()
