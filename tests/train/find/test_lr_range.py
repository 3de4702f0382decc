"""The range test on curves and problems whose answer is known, and on the small model."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from groundup.progress import Progress
from groundup.train.batch import Batch
from groundup.train.find.lr_range import (
    Sweep,
    Watch,
    exponential,
    local_lines,
    read_range,
    sweep,
)
from groundup.train.objectives import next_token_loss
from groundup.train.start import new_state
from groundup.train.state import RunState
from tests.train.small import MODEL, SETTINGS, batch

CURVATURE = 4.0


def never():
    return False


def test_rates_grow_by_one_factor() -> None:
    rates = exponential(1e-3, 100, 51)
    assert (rates[0], rates[-1]) == pytest.approx((1e-3, 100))
    assert [b / a for a, b in pairwise(rates)] == pytest.approx([10**0.1] * 50)


def test_lines_are_those_of_weighted_least_squares() -> None:
    values = np.random.default_rng(0).normal(size=40).cumsum()
    level, slope = local_lines(values, 3.0)
    places = np.arange(40.0)
    for n in (0, 1, 17, 39):
        roots = np.exp(-0.25 * ((places - n) / 3.0) ** 2)  # polyfit squares its weights
        steep, at_zero = np.polyfit(places - n, values, 1, w=roots)
        assert (level[n], slope[n]) == pytest.approx((at_zero, steep))
    level, slope = local_lines(2.5 * places - 7, 4.0)
    assert level == pytest.approx(2.5 * places - 7)
    assert slope == pytest.approx(np.full(40, 2.5))


def curve(steepest=0.1, diverged=10.0, noise=0.01, steps=200):
    """A loss that falls from 6 to 3, fastest at one rate, and blows up at another."""
    ratios = exponential(1e-3, 100, steps)
    drawn = np.random.default_rng(1).normal(size=steps)
    losses = [
        6 - 3 / (1 + (steepest / rate) ** 2) + noise * drawn[n] for n, rate in enumerate(ratios)
    ]
    kept = [(rate, loss) for rate, loss in zip(ratios, losses, strict=True) if rate < diverged]
    kept += [(diverged, 50.0)]
    rates, losses = zip(*kept, strict=True)
    return Sweep(rates, losses, 6.0, True)


def test_the_steepest_place_of_a_curve_is_found() -> None:
    found = read_range(curve(), 200)
    assert found.steepest == pytest.approx(0.1, rel=0.15)  # three steps of the sweep
    assert found.diverged == 10
    assert found.lowest is not None
    assert found.steepest < found.lowest < found.diverged
    assert found.suggested == min(found.lowest, 1.0)
    calm = read_range(replace(curve(), diverged=False), 200)
    assert (calm.diverged, calm.suggested) == (None, calm.steepest)


def test_no_more_than_a_tenth_of_what_diverged_is_suggested() -> None:
    found = read_range(curve(diverged=0.4), 200)
    assert found.suggested == pytest.approx(0.04)


def test_a_loss_that_only_scatters_suggests_nothing() -> None:
    drawn = np.random.default_rng(2).normal(size=100)
    flat = Sweep(tuple(exponential(1e-6, 1e-3, 100)), tuple(6 + 0.1 * drawn), 6.0, False)
    found = read_range(flat, 100)
    assert (found.steepest, found.suggested, found.diverged) == (None, None, None)
    short = read_range(replace(flat, ratios=flat.ratios[:5], losses=flat.losses[:5]), 100)
    assert (short.steepest, len(short.smoothed)) == (None, 5)


def test_a_divergence_is_seen_and_a_noisy_descent_is_none() -> None:
    drawn = np.random.default_rng(3).normal(size=400).tolist()
    watch = Watch()
    descent = [6 - 0.01 * min(n, 300) + 0.2 * drawn[n] for n in range(400)]
    assert not any(watch.diverges(loss) for loss in descent)
    seen = [watch.diverges(loss) for loss in (4.0, 6.0, 12.0, 30.0)]
    assert seen[0] is False
    assert seen[-1] is True
    assert Watch().diverges(math.nan)


class Bowl(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((8,), 3.0))


def height(model, micro_batch, counts):
    """½ λ |w - noise|²: descent is stable below 2 / λ."""
    apart = model.weights - micro_batch.inputs.mean(0)
    return 0.5 * CURVATURE * apart.square().sum() * len(micro_batch.inputs) / counts.rows


def noise_rows(number):
    drawn = 0.1 * torch.randn(4, 8, generator=torch.Generator().manual_seed(number))
    return Batch(drawn, drawn)


def test_descent_in_a_bowl_diverges_behind_two_over_its_curvature() -> None:
    model = Bowl()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    optimizer.param_groups[0]["peak_lr"] = 1.0
    settings = replace(SETTINGS, clip="none", schedule="constant")
    steps = 200
    ratios = exponential(1e-4, 1e2, steps)
    found = sweep(
        RunState(model, [optimizer]), settings, noise_rows, height, ratios,
        stop=never, shown=Progress("", steps, "steps"),
    )  # fmt: skip
    read = read_range(found, steps)
    edge = 2 / CURVATURE
    assert found.diverged
    assert read.diverged is not None
    assert read.steepest is not None
    assert edge < read.diverged < 4 * edge
    assert read.steepest < edge
    assert read.lowest is not None
    assert read.suggested == pytest.approx(min(read.lowest, read.diverged / 10))


def small_sweep(stop=never, steps=60, high=1000.0):
    state = new_state(MODEL, SETTINGS)
    return sweep(
        state,
        SETTINGS,
        lambda number: Batch(*batch(seed=number % 4)),
        next_token_loss,
        exponential(1e-3, high, steps),
        stop=stop,
        shown=Progress("", steps, "steps"),
    )


def test_a_sweep_of_a_model_begins_at_its_first_state_and_is_repeatable() -> None:
    found = small_sweep()
    assert found.first == pytest.approx(math.log(64), rel=0.05)
    assert found.losses[0] == pytest.approx(math.log(64), rel=0.05)
    assert found == small_sweep()
    assert found.diverged
    assert len(found.losses) == len(found.ratios) < 60
    assert not small_sweep(steps=20, high=0.01).diverged


def test_all_rates_grow_together_whatever_the_schedule() -> None:
    state = new_state(MODEL, SETTINGS)
    peaks = [group["peak_lr"] for each in state.optimizers for group in each.param_groups]
    sweep(
        state, SETTINGS, lambda number: Batch(*batch()), next_token_loss, [0.25, 0.5],
        stop=never, shown=Progress("", 2, "steps"),
    )  # fmt: skip
    rates = [group["lr"] for each in state.optimizers for group in each.param_groups]
    assert rates == pytest.approx([0.5 * peak for peak in peaks])
    assert state.step == 2


def test_a_stop_keeps_the_losses_so_far() -> None:
    asked = iter([False] * 5 + [True])
    found = small_sweep(stop=lambda: next(asked))
    assert len(found.ratios) == len(found.losses) == 5
    assert not found.diverged
