"""When training ends, on losses that are written down, and whose weights it keeps."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.learning.early_stopping import Schedule, is_lower, train_until_worse


def run(losses: list[float], max_steps: int = 1000, patience: int = 2, steps: int = 10, **options):
    """Training whose only weight counts the steps and whose validation says what is given."""
    weight, told = torch.zeros(1), iter(losses)

    def advance(limit: int) -> int:
        weight.add_(min(steps, limit))
        return min(steps, limit)

    schedule = Schedule(max_steps=max_steps, patience=patience)
    return train_until_worse(weight, advance, lambda: next(told), schedule, **options)


def test_it_stops_where_nothing_was_better_and_keeps_the_best():
    stopped = run([5.0, 4.0, 3.0, 3.5, 3.0, 1.0])
    assert stopped.weight.item() == stopped.n_steps == 20
    assert stopped.steps.tolist() == [0, 10, 20, 30, 40] and stopped.losses.tolist() == [5, 4, 3, 3.5, 3]


def test_the_step_limit_cuts_the_last_stretch():
    stopped = run([3.0, 2.0, 1.0], max_steps=13)
    assert stopped.steps.tolist() == [0, 10, 13] and stopped.weight.item() == 13
    assert run([3.0], max_steps=0).steps.tolist() == [0]


def test_what_has_converged_ends():
    assert run([3.0], steps=0).steps.tolist() == [0]


def test_a_plateau_prefers_the_later_weights_but_never_creeps_upwards():
    # Each is above the one before by less than a tenth; only those near the lowest are taken.
    assert run([1.0, 1.05, 1.09, 1.15, 1.2], plateau=0.1).n_steps == 20


def test_a_loss_that_is_no_number_is_told():
    with pytest.raises(ValueError, match="not finite after 10 steps"):
        run([1.0, math.nan])


def test_the_last_digits_of_a_loss_are_no_improvement():
    assert is_lower(0.5, math.inf) and is_lower(0.5 * (1 - 1e-5), 0.5) and is_lower(-0.50001, -0.5)
    assert not is_lower(0.5 * (1 - 1e-7), 0.5) and not is_lower(-0.5 * (1 + 1e-7), -0.5) and not is_lower(0.5, 0.5)
