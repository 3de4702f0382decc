"""The noise scale on problems whose gradient and covariance are known, and on a real model."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from groundup.errors import ConfigError
from groundup.progress import Progress
from groundup.train.batch import Batch, counts_of
from groundup.train.find.noise_scale import (
    NoiseScale,
    Norms,
    measure_norms,
    noise_scale,
    norms_of,
    parts_of,
)
from groundup.train.objectives import next_token_loss
from groundup.train.start import new_state
from groundup.train.state import RunState
from groundup.train.step import drop_gradients, gradients
from tests.train.small import MODEL, SETTINGS, batch

MEAN = torch.tensor([1.0, -2.0, 0.5, 3.0])
FACTOR = torch.tensor([[2.0, 0, 0, 0], [0.5, 1.0, 0, 0], [-1.0, 0.25, 3.0, 0], [0, 1.5, -0.5, 0.7]])
GRADIENT_SQUARE = float(MEAN.square().sum())  # of ½|w - x|² at w = 0
TRACE = float((FACTOR @ FACTOR.T).trace())


class Point(nn.Module):
    """Weights that are to be near the rows of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(4))


def distance(model, micro_batch, counts):
    """Half the square of the distance, a mean over the rows of the step."""
    return 0.5 * (model.weights - micro_batch.inputs).square().sum() / counts.rows


def normal_rows(number, rows):
    """[rows, 4] from a normal distribution of mean `MEAN` and covariance F Fᵀ."""
    drawn = torch.randn(rows, 4, generator=torch.Generator().manual_seed(number))
    points = MEAN + drawn @ FACTOR.T
    return Batch(points, points)


def measured(n_batches=150, rows=32, n_parts=8, stop=lambda: False):
    norms = measure_norms(
        RunState(Point(), []),
        SETTINGS,
        lambda number: normal_rows(number, rows),
        distance,
        n_batches=n_batches,
        n_parts=n_parts,
        stop=stop,
        shown=Progress("noise", n_batches, "batches"),
    )
    return norms, noise_scale(norms, rows // n_parts, rows)


def test_a_quadratic_has_the_noise_scale_of_its_covariance() -> None:
    norms, found = measured()
    assert len(norms) == 150
    assert found.gradient_square == pytest.approx(GRADIENT_SQUARE, rel=0.05)
    assert found.trace == pytest.approx(TRACE, rel=0.05)
    assert found.rows == pytest.approx(TRACE / GRADIENT_SQUARE, rel=0.08)
    assert found.interval is not None
    low, high = found.interval
    assert low < TRACE / GRADIENT_SQUARE < high < 1.4 * low


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """100 experiments of 25 batches: of a true 95 %, fewer than 85 would be one in 10,000."""
    drawn = np.random.default_rng(0).normal(size=(100, 25, 8, 2, 4))  # batches, parts, rows
    parts = (MEAN.numpy() + drawn @ FACTOR.numpy().T).mean(3)
    of_parts, of_whole = (parts**2).sum(-1).mean(-1), (parts.mean(2) ** 2).sum(-1)
    inside = 0
    for experiment in range(100):
        pairs = zip(of_parts[experiment], of_whole[experiment], strict=True)
        interval = noise_scale([Norms(part, whole, 0.0) for part, whole in pairs], 2, 16).interval
        assert interval is not None
        inside += interval[0] < TRACE / GRADIENT_SQUARE < interval[1]
    assert inside >= 85


@pytest.mark.parametrize("sizes", [(1, 8), (2, 16), (4, 1024)])
def test_norms_without_chance_give_the_values_they_were_made_of(sizes: tuple[int, int]) -> None:
    part, whole = sizes
    norms = [Norms(7.0 + 30.0 / part, 7.0 + 30.0 / whole, 1.0)] * 12
    found = noise_scale(norms, part, whole)
    assert (found.gradient_square, found.trace) == pytest.approx((7.0, 30.0))
    assert found.rows == pytest.approx(30 / 7)
    assert found.interval == pytest.approx((30 / 7, 30 / 7))


def test_a_gradient_that_does_not_show_has_no_bound_above() -> None:
    norms = [Norms(10.0, 1.0 + 0.2 * (-1) ** n, 1.0) for n in range(20)]
    found = noise_scale(norms, 1, 8)  # |G|² = (8 · 1 - 10) / 7 < 0
    assert found.gradient_square < 0
    assert found.rows == math.inf
    assert found.interval == (math.inf, math.inf)
    assert noise_scale(norms[:5], 1, 8).interval is None
    assert noise_scale([Norms(1.0, 1.0, 1.0)], 1, 8) == NoiseScale(0.0, None, 1.0, 0.0)


def test_parts_of_a_real_batch_add_up_to_its_gradient_and_leave_the_weights_alone() -> None:
    state = new_state(MODEL, SETTINGS)
    before = {name: p.clone() for name, p in state.model.named_parameters()}
    rows = Batch(*batch(rows=8))
    counts, settings = counts_of(rows), replace(SETTINGS, batch_size=8, micro_batch_size=8)
    of_step = gradients(state, settings, rows, counts, next_token_loss)
    drop_gradients(state)
    found = norms_of(state, settings, rows, next_token_loss, 4)
    loss, norm = of_step.numbers()
    assert found.loss == pytest.approx(loss, rel=1e-6)
    assert found.whole == pytest.approx(norm**2, rel=1e-5)
    # each part by itself, as a step of its own
    alone = []
    for part in rows.split(2):
        alone.append(
            gradients(state, settings, part, counts_of(part), next_token_loss).numbers()[1]
        )
        drop_gradients(state)
    assert found.parts == pytest.approx(sum(norm**2 for norm in alone) / 4, rel=1e-5)
    assert all(torch.equal(p, before[name]) for name, p in state.model.named_parameters())
    assert all(p.grad is None for p in state.model.parameters())


def test_a_stop_keeps_what_was_measured() -> None:
    asked = iter([False, False, True])
    norms, found = measured(stop=lambda: next(asked))
    assert len(norms) == 3
    assert found.interval is None


def test_a_batch_is_cut_into_eight_parts_or_more() -> None:
    assert [parts_of(n) for n in (2, 8, 12, 16, 20, 100)] == [2, 8, 12, 8, 10, 10]
    assert parts_of(64, micro_batch_size=2) == 32
    with pytest.raises(ConfigError, match="a single row"):
        parts_of(1)
