"""Concept layers: bias-free linear maps from video features to concept activations, z = x Wᵀ (DANCE supplement 1.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from pipeline.learning.scaling import standardise, standardise_fit

Scaling = Literal["none", "std", "center_std"]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Penalty = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Part of a loss that is not its rounding: sums of float32 differ by less than this between processors.
LOSS_ROUNDING = 1e-6
# L-BFGS goes to the one minimum of the regularised loss. Where that costs validation less than this part of its loss,
# it is kept: the way there depends on rounding, and with it the place that validation likes best by a hair (on two
# processors the weights differed by 3 %, at losses of 0.26234 and 0.26236).
PLATEAU = 1e-3
# L-BFGS iterations between two looks at the validation videos.
LBFGS_ITERATIONS = 10


@dataclass(frozen=True)
class ConceptLayer:
    """A trained concept layer.

    Attributes:
        weight: float32 ``[M, D]``, for raw features: the scaling of the features is folded in.
        n_steps: optimizer steps after which the weights were best on validation.
        steps: int ``[n_evaluations]``, optimizer steps before each evaluation; the first is 0.
        train_loss: ``[n_evaluations]``, without the penalty, all training videos.
        val_loss: ``[n_evaluations]``, without the penalty.
        quality: ``[M]`` on validation: average precision of a motion concept, cubed cosine similarity of a text
            concept. NaN where validation has no positive.
        best_quality: ``[M]``, the best that each concept reached at any evaluation.
    """

    weight: np.ndarray
    n_steps: int
    steps: np.ndarray
    train_loss: np.ndarray
    val_loss: np.ndarray
    quality: np.ndarray
    best_quality: np.ndarray

    @property
    def loss(self) -> float:
        """Validation loss of the weights, without the penalty."""
        return float(self.val_loss[self.steps == self.n_steps][0])


def cubed_cosine_columns(z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """`cubed_cosine` of tensors ``[n, m]``, differentiable: ``[m]``."""

    def cubed(values: torch.Tensor) -> torch.Tensor:
        centred = values - values.mean(0)  # [n, m]
        scale = centred.detach().abs().amax(0)  # [m]
        # What is left of a constant column after centring is rounding, a few units in the last place.
        flat = scale <= 8 * torch.finfo(values.dtype).eps * values.detach().abs().amax(0)
        # Scaled to 1 before the cube, so that small activations do not underflow; the cosine does not see the scale.
        cubes = (centred / torch.where(flat, torch.ones_like(scale), scale)) ** 3
        cubes = torch.where(flat, torch.zeros_like(cubes), cubes)
        norm = torch.where(flat, torch.ones_like(scale), torch.linalg.vector_norm(cubes, dim=0))
        return cubes / norm

    return (cubed(z) * cubed(target)).sum(0)


def cubed_cosine(z: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Cosine similarity of cubed columns, per concept and over videos (DANCE eq. 5, Label-Free CBM).

    Both are centred over the videos, cubed, normalised and multiplied. The cube makes the videos that show a concept
    most count most. Scale and offset of a column do not matter.

    Args:
        z: activations ``[n, m]``.
        target: pseudo labels ``[n, m]``.

    Returns:
        float64 ``[m]`` in [−1, 1]; 0 where a column is constant.
    """
    return cubed_cosine_columns(
        torch.as_tensor(z, dtype=torch.float64), torch.as_tensor(target, dtype=torch.float64)
    ).numpy()


def is_lower(loss: float, best: float) -> bool:
    """Whether a validation loss is an improvement, and not the same one in other last digits.

    On a plateau, which evaluation is the best would otherwise be decided by the processor's way of adding.
    """
    return best - loss > LOSS_ROUNDING * abs(loss)


def average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean precision at the rank of each positive, per concept; equal scores share the rank of their last.

    Args:
        scores: ``[n, M]``.
        labels: ``[n, M]`` of 0 and 1.

    Returns:
        float64 ``[M]``; NaN for a concept without a positive.
    """
    result = np.full(scores.shape[1], np.nan)
    for concept in np.flatnonzero(labels.any(0)):
        order = np.argsort(-scores[:, concept], kind="stable")
        ranked, hits = scores[order, concept], labels[order, concept] > 0
        last = np.searchsorted(-ranked, -ranked, side="right") - 1
        result[concept] = (hits.cumsum()[last][hits] / (last + 1)[hits]).mean()
    return result


def train_motion_layer(
    x_train: np.ndarray,
    labels_train: np.ndarray,
    x_val: np.ndarray,
    labels_val: np.ndarray,
    *,
    optimizer: Literal["adam", "lbfgs"] = "adam",
    learning_rate: float = 1e-3,
    batch_size: int = 512,
    max_steps: int = 10_000,
    eval_every: int = 50,
    patience: int = 10,
    weight_decay: float = 0.0,
    feature_scaling: Scaling = "none",
    projection: np.ndarray | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> ConceptLayer:
    """Train the motion layer: binary cross-entropy, mean over concepts (DANCE eq. 4, supplement 2.2).

    The weights start at zero. The problem is convex, so the start decides nothing that the labels decide; what the
    labels leave open (directions in which the training features do not vary) must stay zero, since random weights there
    would carry whatever else the feature knows into the activations of other videos.

    Args:
        x_train: features ``[n, D]``.
        labels_train: multi-hot ``[n, M]``.
        x_val: features ``[n_val, D]``; they decide when to stop.
        labels_val: multi-hot ``[n_val, M]``.
        optimizer: adam on mini-batches as in the paper, or lbfgs on all videos at once, which with weight_decay gets as
            low in a fraction of the time. Without weight_decay use adam: stopping early regularises its small steps,
            not those of L-BFGS (measured on Penn Action: validation cross-entropy 0.064 against 0.052).
            learning_rate, batch_size and eval_every do not concern lbfgs; its steps are iterations.
        max_steps: upper limit.
        eval_every: Adam steps between two evaluations; lbfgs is evaluated every ten iterations.
        patience: evaluations without improvement before stopping. The best weights are restored; of lbfgs with
            weight_decay the last ones, unless others are better on validation by more than `PLATEAU`.
        weight_decay: λ of λ/2 s² ‖w‖² per concept, with s² the mean variance of a feature, so that the scale of the
            features decides nothing. It keeps a concept to what its videos share. It does not keep objects and scenes
            out of motion: see `pipeline.methods.dance.bottleneck.leakage`.
        feature_scaling: none (paper); std divides by the standard deviation of the training features. center_std
            subtracts their mean too: without a bias a rare concept can then not be rare by default, and its logits
            lose their meaning as probabilities. It is here for features that are centred anyway. The shift that
            centring leaves in z is not kept in the layer: activations are standardised before anything reads them.
        projection: ``[D, D]`` that the features go through first; folded into the weight.
        seed: of the mini-batches.

    Raises:
        ValueError: shapes do not fit, there are no videos, or the loss is not finite.
    """
    if projection is not None:
        x_train, x_val = x_train @ projection.T, x_val @ projection.T

    def loss(z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(z, target, reduction="none").mean(0)

    def penalty(weight: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return weight_decay / 2 * data.variance * (weight**2).sum(1)

    data = _Data.prepare(x_train, labels_train, x_val, labels_val, feature_scaling, device)
    # In float32 the loss stops to fall a part in a thousand away from the weights of its minimum.
    data = data.double() if optimizer == "lbfgs" else data
    weight = torch.zeros(labels_train.shape[1], x_train.shape[1], device=device, dtype=data.x.dtype)
    if optimizer == "adam":
        stepper = _adam(data, weight, loss, penalty, learning_rate, batch_size, eval_every, seed)
    else:
        stepper = _lbfgs(data, weight, loss, penalty)
    plateau = PLATEAU if optimizer == "lbfgs" and weight_decay else -LOSS_ROUNDING
    layer = _train(
        data,
        weight,
        stepper,
        loss,
        lambda z: average_precision(z, np.asarray(labels_val)),
        max_steps,
        patience,
        plateau,
    )
    return _folded(layer, projection)


def _folded(layer: ConceptLayer, projection: np.ndarray | None) -> ConceptLayer:
    """The same layer for features that have not gone through ``projection``."""
    if projection is None:
        return layer
    return replace(layer, weight=(layer.weight @ projection).astype(np.float32))


def train_text_layer(
    x_train: np.ndarray,
    target_train: np.ndarray,
    x_val: np.ndarray,
    target_val: np.ndarray,
    *,
    learning_rate: float = 1e-3,
    batch_size: int = 512,
    max_steps: int = 10_000,
    eval_every: int = 50,
    patience: int = 10,
    weight_decay: float = 0.0,
    ridge: float = 0.1,
    feature_scaling: Scaling = "none",
    projection: np.ndarray | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> ConceptLayer:
    """Train an object or scene layer: Adam on minus the cubed cosine per mini-batch (DANCE eq. 5, supplement 2.2).

    The similarity has no gradient at zero weights, so they start at the ridge regression of the targets: it lies in the
    span of the training features like zero does, and is close to the goal.

    Args:
        x_train: features ``[n, D]``.
        target_train: video-text similarities ``[n, M]``.
        x_val: features ``[n_val, D]``; they decide when to stop.
        target_val: video-text similarities ``[n_val, M]``.
        weight_decay: λ of λ/2 ‖w‖² s² / var(z) per concept, with s² the mean variance of a feature. The similarity does
            not change with the length of w, and neither does this: it asks for activations that come from directions
            in which the features vary much. A plain L2 term would only shorten w.
        ridge: regularisation of the start, as a part of the mean variance of a feature.
        learning_rate, batch_size, max_steps, eval_every, patience, feature_scaling, projection, seed: see
            `train_motion_layer`.

    Raises:
        ValueError: shapes do not fit, there are fewer than two videos, or the loss is not finite.
    """

    def loss(z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return -cubed_cosine_columns(z, target)

    def penalty(weight: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return weight_decay / 2 * data.variance * (weight**2).sum(1) / z.var(0).clamp_min(1e-12)

    if min(len(x_train), len(x_val)) < 2:
        raise ValueError(
            f"a similarity over videos needs at least 2 of them; there are {len(x_train)} training and "
            f"{len(x_val)} validation videos with a target"
        )
    if projection is not None:
        x_train, x_val = x_train @ projection.T, x_val @ projection.T
    data = _Data.prepare(x_train, target_train, x_val, target_val, feature_scaling, device)
    weight = _ridge(data, ridge)
    stepper = _adam(data, weight, loss, penalty, learning_rate, batch_size, eval_every, seed)
    layer = _train(data, weight, stepper, loss, lambda z: cubed_cosine(z, target_val), max_steps, patience)
    return _folded(layer, projection)


@dataclass(frozen=True)
class _Data:
    """Scaled tensors: x ``[n, D]``, target ``[n, M]``; scale ``[D]``; variance: mean over features, after scaling."""

    x: torch.Tensor
    target: torch.Tensor
    x_val: torch.Tensor
    target_val: torch.Tensor
    scale: torch.Tensor
    variance: float

    @classmethod
    def prepare(
        cls,
        x_train: np.ndarray,
        target_train: np.ndarray,
        x_val: np.ndarray,
        target_val: np.ndarray,
        feature_scaling: Scaling,
        device: str,
    ) -> _Data:
        for name, x, target in (("training", x_train, target_train), ("validation", x_val, target_val)):
            if not len(x):
                raise ValueError(f"no {name} video has a target; the layer has nothing to learn from or to stop by")
            if len(x) != len(target):
                raise ValueError(f"{len(x)} {name} features but {len(target)} rows of targets; one row per video each")
        if x_train.shape[1] != x_val.shape[1] or target_train.shape[1] != target_val.shape[1]:
            raise ValueError(
                f"training is {x_train.shape[1]} features → {target_train.shape[1]} concepts, validation is "
                f"{x_val.shape[1]} → {target_val.shape[1]}; they must be the same columns"
            )
        mean, std = standardise_fit(x_train)
        centre = mean if feature_scaling == "center_std" else np.zeros_like(mean)
        scale = np.ones_like(std) if feature_scaling == "none" else std

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=device)

        x = tensor((x_train - centre) / scale)
        return cls(
            x,
            tensor(target_train),
            tensor((x_val - centre) / scale),
            tensor(target_val),
            tensor(scale),
            float(x.var(0).mean()) if len(x) > 1 else 0.0,
        )

    def double(self) -> _Data:
        """The same in float64."""
        tensors = {name: value.double() for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return replace(self, **tensors)


def _ridge(data: _Data, ridge: float) -> torch.Tensor:
    """Ridge regression of the standardised targets, ``[M, D]``; in float64, the features are nearly collinear."""
    x = (data.x - data.x.mean(0)).double()
    target = data.target.cpu().numpy()
    target = torch.as_tensor(standardise(target, *standardise_fit(target)), device=x.device)
    gram = x.T @ x / len(x)  # [D, D]
    gram += max(ridge * data.variance, 1e-12) * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(gram, x.T @ target / len(x)).T.float().contiguous()


def _adam(
    data: _Data,
    weight: torch.Tensor,
    loss: Loss,
    penalty: Penalty,
    learning_rate: float,
    batch_size: int,
    eval_every: int,
    seed: int,
) -> Callable[[int], int]:
    """A function that takes at most so many steps on ``weight`` and returns how many it took."""
    optimizer = torch.optim.Adam([weight.requires_grad_()], lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    # Batches of nearly equal size, at least 2: a similarity over a last batch of a few videos would mean nothing.
    n_batches = max(1, min(math.ceil(len(data.x) / batch_size), len(data.x) // 2))
    batches: list[torch.Tensor] = []

    def advance(limit: int) -> int:
        nonlocal batches
        for _ in range(min(eval_every, limit)):
            if not batches:
                order = torch.randperm(len(data.x), generator=generator).to(data.x.device)
                batches = list(order.tensor_split(n_batches))
            rows = batches.pop(0)
            z = data.x[rows] @ weight.T  # [batch, M]
            optimizer.zero_grad()
            (loss(z, data.target[rows]) + penalty(weight, z)).mean().backward()
            optimizer.step()
        return min(eval_every, limit)

    return advance


def _lbfgs(data: _Data, weight: torch.Tensor, loss: Loss, penalty: Penalty) -> Callable[[int], int]:
    """As `_adam`, on all videos at once; no further step once converged."""
    optimizer = torch.optim.LBFGS(
        [weight.requires_grad_()],
        history_size=20,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-5,
        tolerance_change=1e-9,
    )
    state = optimizer.state[weight]
    converged = False

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        z = data.x @ weight.T  # [n, M]
        # The sum, not the mean: the concepts are independent, and stopping should not depend on how many there are.
        total = (loss(z, data.target) + penalty(weight, z)).sum()
        total.backward()
        return total

    def advance(limit: int) -> int:
        nonlocal converged
        if converged:
            return 0
        before = state.get("n_iter", 0)
        optimizer.param_groups[0]["max_iter"] = min(LBFGS_ITERATIONS, limit)
        optimizer.param_groups[0]["max_eval"] = 2 * LBFGS_ITERATIONS
        optimizer.step(objective)
        taken = state["n_iter"] - before
        converged = taken < optimizer.param_groups[0]["max_iter"]
        return taken

    return advance


def _train(
    data: _Data,
    weight: torch.Tensor,
    advance: Callable[[int], int],
    loss: Loss,
    quality: Callable[[np.ndarray], np.ndarray],
    max_steps: int,
    patience: int,
    plateau: float = -LOSS_ROUNDING,
) -> ConceptLayer:
    """Advance until the validation loss has not improved for ``patience`` evaluations, and restore the best weights.

    Args:
        plateau: an evaluation is preferred to those before it if its loss is above their lowest by at most this part;
            a negative one asks for so much improvement.
    """
    steps, train_loss, val_loss, qualities = [], [], [], []
    best = weight.detach().clone()
    chosen = step = 0
    lowest = math.inf
    while True:
        with torch.no_grad():
            z_val = data.x_val @ weight.T  # [n_val, M]
            train_loss.append(loss(data.x @ weight.T, data.target).mean().item())
            val_loss.append(loss(z_val, data.target_val).mean().item())
        if not math.isfinite(val_loss[-1]) or not math.isfinite(train_loss[-1]):
            raise ValueError(f"the loss is not finite after {step} steps; lower learning_rate or look at the features")
        steps.append(step)
        qualities.append(quality(z_val.cpu().numpy()))
        if val_loss[-1] - lowest <= plateau * abs(val_loss[-1]):
            chosen, lowest = len(steps) - 1, min(lowest, val_loss[-1])
            best = weight.detach().clone()
        if step >= max_steps or len(steps) - 1 - chosen >= patience:
            break
        taken = advance(max_steps - step)
        if not taken:
            break
        step += taken
    return ConceptLayer(
        weight=(best / data.scale).float().cpu().numpy(),
        n_steps=steps[chosen],
        steps=np.array(steps),
        train_loss=np.array(train_loss),
        val_loss=np.array(val_loss),
        quality=qualities[chosen],
        best_quality=np.max(qualities, axis=0),
    )
