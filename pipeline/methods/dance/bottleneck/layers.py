"""Concept layers: bias-free linear maps from video features to concept activations, z = x Wᵀ (DANCE supplement 1.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from pipeline.learning.early_stopping import LOSS_ROUNDING, Schedule, Stopped, descent, train_until_worse
from pipeline.learning.metrics import average_precision
from pipeline.learning.scaling import standardise, standardise_fit

Scaling = Literal["none", "std", "center_std"]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Penalty = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

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
        val_loss: ``[n_evaluations]``, without the penalty.
        quality: ``[M]`` on validation: average precision of a motion concept, cubed cosine similarity of a text
            concept, and of one with a map the mean over the places. NaN where validation has no positive.
    """

    weight: np.ndarray
    n_steps: int
    steps: np.ndarray
    val_loss: np.ndarray
    quality: np.ndarray

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


def train_motion_layer(
    x_train: np.ndarray,
    labels_train: np.ndarray,
    x_val: np.ndarray,
    labels_val: np.ndarray,
    *,
    optimizer: Literal["adam", "lbfgs"] = "adam",
    weight_decay: float = 0.0,
    feature_scaling: Scaling = "none",
    projection: np.ndarray | None = None,
    **schedule: Any,
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
            Of lbfgs with weight_decay the last weights are kept, unless others are better on validation by more than
            `PLATEAU`.
        weight_decay: λ of λ/2 s² ‖w‖² per concept, with s² the mean variance of a feature, so that the scale of the
            features decides nothing. It keeps a concept to what its videos share. It does not keep objects and scenes
            out of motion: see `pipeline.methods.dance.bottleneck.leakage`.
        feature_scaling: none (paper); std divides by the standard deviation of the training features. center_std
            subtracts their mean too: without a bias a rare concept can then not be rare by default, and its logits
            lose their meaning as probabilities. It is here for features that are centred anyway. The shift that
            centring leaves in z is not kept in the layer: activations are standardised before anything reads them.
        projection: ``[D, D]`` that the features go through first; folded into the weight.
        schedule: see `pipeline.learning.early_stopping.Schedule`. Steps of lbfgs are iterations, and it is evaluated
            every ten of them.

    Raises:
        ValueError: shapes do not fit, there are no videos, or the loss is not finite.
    """

    def loss(z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(z, target, reduction="none").mean(0)

    def penalty(weight: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return weight_decay / 2 * data.variance * (weight**2).sum(1)

    plan = Schedule(**schedule)
    data = _Data.prepare(x_train, labels_train, x_val, labels_val, feature_scaling, projection)
    adam = optimizer == "adam"
    # In float32 the loss stops to fall a part in a thousand away from the weights of its minimum.
    data = data if adam else data.double()
    weight = torch.zeros(labels_train.shape[1], x_train.shape[1], dtype=data.x.dtype)
    stepper = _adam(data, weight, loss, penalty, plan) if adam else _lbfgs(data, weight, loss, penalty)
    plateau = PLATEAU if weight_decay and not adam else -LOSS_ROUNDING
    stopped = train_until_worse(
        weight, stepper, lambda: loss(data.x_val @ weight.T, data.target_val).mean().item(), plan, plateau
    )
    return data.layer(stopped, lambda z: average_precision(z, np.asarray(labels_val)))


def train_text_layer(
    x_train: np.ndarray,
    target_train: np.ndarray,
    x_val: np.ndarray,
    target_val: np.ndarray,
    *,
    weight_decay: float = 0.0,
    ridge: float = 0.1,
    feature_scaling: Scaling = "none",
    projection: np.ndarray | None = None,
    **schedule: Any,
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
        feature_scaling, projection, schedule: see `train_motion_layer`.

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
    data = _Data.prepare(x_train, target_train, x_val, target_val, feature_scaling, projection)
    weight = _ridge(data, ridge)
    plan = Schedule(**schedule)
    stepper = _adam(data, weight, loss, penalty, plan)
    stopped = train_until_worse(
        weight, stepper, lambda: loss(data.x_val @ weight.T, data.target_val).mean().item(), plan
    )
    return data.layer(stopped, lambda z: cubed_cosine(z, target_val))


@dataclass(frozen=True)
class _Data:
    """Projected and scaled tensors: x ``[n, D]``, target ``[n, M]``; scale ``[D]``; variance: mean over features."""

    x: torch.Tensor
    target: torch.Tensor
    x_val: torch.Tensor
    target_val: torch.Tensor
    scale: torch.Tensor
    variance: float
    projection: np.ndarray | None

    @classmethod
    def prepare(
        cls,
        x_train: np.ndarray,
        target_train: np.ndarray,
        x_val: np.ndarray,
        target_val: np.ndarray,
        feature_scaling: Scaling,
        projection: np.ndarray | None,
    ) -> _Data:
        if projection is not None:
            x_train, x_val = x_train @ projection.T, x_val @ projection.T
        for name, x, target in (("training", x_train, target_train), ("validation", x_val, target_val)):
            if not len(x):
                raise ValueError(f"no {name} video has a target; the layer has nothing to learn from or to stop by")
            if len(x) != len(target):
                raise ValueError(f"{len(x)} {name} features but {len(target)} rows of targets; one row per video each")
            if not np.isfinite(x).all():
                raise ValueError(f"a {name} feature is not finite")
        if x_train.shape[1] != x_val.shape[1] or target_train.shape[1] != target_val.shape[1]:
            raise ValueError(
                f"training is {x_train.shape[1]} features → {target_train.shape[1]} concepts, validation is "
                f"{x_val.shape[1]} → {target_val.shape[1]}; they must be the same columns"
            )
        mean, std = standardise_fit(x_train)
        centre = mean if feature_scaling == "center_std" else np.zeros_like(mean)
        scale = np.ones_like(std) if feature_scaling == "none" else std

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)

        x = tensor((x_train - centre) / scale)
        return cls(
            x,
            tensor(target_train),
            tensor((x_val - centre) / scale),
            tensor(target_val),
            tensor(scale),
            float(x.var(0).mean()) if len(x) > 1 else 0.0,
            projection,
        )

    def double(self) -> _Data:
        """The same in float64."""
        tensors = {name: value.double() for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return replace(self, **tensors)

    def layer(self, stopped: Stopped, quality: Callable[[np.ndarray], np.ndarray]) -> ConceptLayer:
        """The best weights with scale and projection folded in, and their quality on validation."""
        weight = (stopped.weight / self.scale).float().numpy()
        if self.projection is not None:
            weight = (weight @ self.projection).astype(np.float32)
        z_val = (self.x_val @ stopped.weight.T).numpy()  # [n_val, M]
        return ConceptLayer(weight, stopped.n_steps, stopped.steps, stopped.losses, quality(z_val))


def _ridge(data: _Data, ridge: float) -> torch.Tensor:
    """Ridge regression of the standardised targets, ``[M, D]``; in float64, the features are nearly collinear."""
    x = (data.x - data.x.mean(0)).double()
    target = data.target.numpy()
    target = torch.as_tensor(standardise(target, *standardise_fit(target)))
    gram = x.T @ x / len(x)  # [D, D]
    gram += max(ridge * data.variance, 1e-12) * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram, x.T @ target / len(x)).T.float().contiguous()


def epochs(n: int, batch_size: int, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
    """Rows ``0..n-1`` in another order again and again, in batches of nearly equal size.

    A batch has at least 2 rows: a similarity over a last batch of a few videos would mean nothing.
    """
    n_batches = max(1, min(math.ceil(n / batch_size), n // 2))
    while True:
        yield torch.randperm(n, generator=generator).tensor_split(n_batches)


def _adam(data: _Data, weight: torch.Tensor, loss: Loss, penalty: Penalty, schedule: Schedule) -> Callable[[int], int]:
    """A function that takes at most so many steps on ``weight`` and returns how many it took."""
    generator = torch.Generator().manual_seed(schedule.seed)
    batches = (rows for epoch in epochs(len(data.x), schedule.batch_size, generator) for rows in epoch)

    def objective() -> torch.Tensor:
        rows = next(batches)
        z = data.x[rows] @ weight.T  # [batch, M]
        return (loss(z, data.target[rows]) + penalty(weight, z)).mean()

    return descent([weight.requires_grad_()], objective, schedule)


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
