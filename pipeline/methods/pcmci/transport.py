"""Frames matched to labels by optimal transport, in the log domain: S, P* and f(S, P*) of PCMCI's Algorithm 1.

All functions keep the shapes ``[B, N, L]``: videos, labels, frames. Frames that only pad a video carry no mass.
"""

from __future__ import annotations

import math
from typing import Literal

import torch

# A plan is accepted once the mass of every label is right up to this part of it.
TOLERANCE = 1e-4
MAX_ROUNDS = 100

Refine = Literal["product", "plan", "similarity", "sharpened", "mean"]


def unit_rows(rows: torch.Tensor, what: str) -> torch.Tensor:
    """Rows of length 1.

    Raises:
        ValueError: a row is zero or not finite; names ``what``.
    """
    length = rows.norm(dim=-1, keepdim=True)
    if not bool(torch.isfinite(length).all()) or bool((length == 0).any()):
        raise ValueError(f"{what}: a row is zero or not finite, so it has no direction; make the embeddings again")
    return rows / length


def log_similarity(
    texts: torch.Tensor, frames: torch.Tensor, temperature: float, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """log S = cos / τ; S = exp(cos / τ) is positive, so its logarithm needs none taken.

    Args:
        texts: unit rows ``[N, E]``.
        frames: unit rows ``[B, L, E]``.
        temperature: τ, one over the logit scale of the dual encoder.
        mask: bool ``[B, L]``, false where a frame pads.

    Returns:
        ``[B, N, L]``; −inf where a frame pads.

    Raises:
        ValueError: fewer than two labels, or τ is not positive.
    """
    if len(texts) < 2:
        raise ValueError(f"PCMCI compares labels, and there is {len(texts)}; name at least two")
    if not temperature > 0:
        raise ValueError(f"the temperature τ must be positive, got {temperature}")
    found = texts @ frames.transpose(1, 2) / temperature  # [B, N, L]
    return found if mask is None else found.masked_fill(~mask[:, None], -math.inf)


def log_plan(
    similarity: torch.Tensor, regularisation: float, tolerance: float = TOLERANCE, rounds: int = MAX_ROUNDS
) -> torch.Tensor:
    """log P* = argmin over U(1/N, 1/L) of ⟨P, −log S⟩ + λ Σ P (log P − 1), by Sinkhorn's rounds in float32 or wider.

    The entropy's sign is that of a convex problem; with Shannon's own sign a vertex would solve it, whatever λ is.

    Args:
        similarity: log S ``[B, N, L]``, −inf where a frame pads.
        regularisation: λ.
        tolerance: largest relative error of a row's mass, where rounds end.

    Returns:
        ``[B, N, L]``, −inf where a frame pads.

    Raises:
        ValueError: λ is not positive, a value is not a number, or a video has no frame.
    """
    if not regularisation > 0:
        raise ValueError(f"the regularisation λ must be positive, got {regularisation}")
    if bool(torch.isnan(similarity).any()):
        raise ValueError("similarities of labels and frames are not numbers; look for NaN in the embeddings")
    kernel = (similarity if similarity.dtype == torch.float64 else similarity.float()) / regularisation
    there = kernel[:, :1] > -math.inf  # [B, 1, L]
    count = there.sum(-1, keepdim=True)
    if bool((count == 0).any()):
        raise ValueError("a video has no frame; leave it out")
    row_mass = -math.log(kernel.shape[1])
    column_mass = -count.to(kernel.dtype).log()  # [B, 1, 1]
    columns = torch.zeros_like(kernel[:, :1])
    rows = row_mass - (kernel + columns).logsumexp(2, keepdim=True)  # [B, N, 1]
    for _ in range(rounds):
        columns = torch.where(there, column_mass - (kernel + rows).logsumexp(1, keepdim=True), 0)
        wanted = row_mass - (kernel + columns).logsumexp(2, keepdim=True)
        # exp(rows − wanted) is N times the mass of a row.
        if float((rows - wanted).expm1().abs().max()) < tolerance:
            break
        rows = wanted
    return kernel + rows + columns


def refined(similarity: torch.Tensor, regularisation: float, refine: Refine = "product") -> torch.Tensor:
    """S̃ = f(S, P*): weights of frames for every label, rows of ``[B, N, L]`` that sum to 1.

    ``product`` is rownorm(S ⊙ P*) = softmax_l((1 + 1/λ) log S + g_l): the row potential cancels, so transport acts by
    the columns alone and discounts frames that every label claims. ``similarity`` is softmax without transport, and
    ``sharpened`` the same at the product's own temperature τ / (1 + 1/λ): all that it lacks is g.
    """
    if refine == "mean":
        there = (similarity > -math.inf).to(similarity.dtype)
        return there / there.sum(-1, keepdim=True)
    if refine in ("similarity", "sharpened"):
        return (similarity * (1 + 1 / regularisation if refine == "sharpened" else 1)).softmax(-1)
    plan = log_plan(similarity, regularisation)
    return (plan if refine == "plan" else similarity + plan).softmax(-1)
