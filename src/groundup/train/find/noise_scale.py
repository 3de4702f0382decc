"""The gradient noise scale: how large a batch is before more rows stop paying.

McCandlish et al. 2018 (arXiv:1812.06162). The gradient of a batch of B rows is the true one, G,
plus noise of covariance Σ/B; the noise scale B_simple = tr Σ / |G|² (equation 2.9) is the batch at
which the two are of one size, and estimates the critical batch size. Neither is seen directly, but
E|G_B|² = |G|² + tr Σ / B: squared norms at two sizes of batch give both (appendix A.1).

Notable: all batches are measured at the same weights, and each gives both sizes, its parts being
the small ones. A ratio of two means is not the mean of ratios: |G|² and tr Σ are averaged first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from groundup.errors import ConfigError
from groundup.intervals import ratio_interval
from groundup.progress import Progress
from groundup.train.batch import Batch, counts_of
from groundup.train.config import Settings
from groundup.train.objectives import Loss
from groundup.train.parallel.model import forward_pass
from groundup.train.precision import autocast
from groundup.train.state import RunState
from groundup.train.step import drop_gradients

FEWEST_PARTS = 8  # of a batch: its own norm should say little of the parts'


@dataclass(frozen=True)
class Norms:
    """Squared norms of the gradients of one batch.

    Attributes:
        parts: mean of |g|² over its parts, each a mean over the part's rows.
        whole: |g|² of the mean over all rows.
        loss: mean over the targets, nats.
    """

    parts: float
    whole: float
    loss: float


@dataclass(frozen=True)
class NoiseScale:
    """What the norms say.

    Attributes:
        rows: B_simple, rows of a batch; infinite where no gradient shows through the noise.
        interval: 95 %, by resampling the batches; None for fewer than ten.
        gradient_square: estimate of |G|².
        trace: estimate of tr Σ, of one row.
    """

    rows: float
    interval: tuple[float, float] | None
    gradient_square: float
    trace: float


def noise_scale(norms: Sequence[Norms], part_rows: int, whole_rows: int) -> NoiseScale:
    """B_simple of some batches (appendix A.1, equations A.2 and A.3).

    Args:
        norms: of each batch, at the same weights.
        part_rows, whole_rows: rows of a part and of a batch.
    """
    parts = np.array([each.parts for each in norms])
    whole = np.array([each.whole for each in norms])
    squares = (whole_rows * whole - part_rows * parts) / (whole_rows - part_rows)
    traces = (parts - whole) / (1 / part_rows - 1 / whole_rows)  # never negative: a variance
    square, trace = float(squares.mean()), float(traces.mean())
    # |G|² may come out at or below zero, tr Σ not: so the bounds are those of 1 / B_simple.
    bounds = ratio_interval(squares, traces) if trace > 0 else None
    interval = None if bounds is None else (_one_over(bounds[1]), _one_over(bounds[0]))
    return NoiseScale(trace / square if square > 0 else math.inf, interval, square, trace)


def _one_over(value: float) -> float:
    return 1 / value if value > 0 else math.inf


def measure_norms(
    state: RunState,
    settings: Settings,
    batch_of: Callable[[int], Batch],
    loss_of: Loss,
    *,
    n_batches: int,
    n_parts: int,
    stop: Callable[[], bool],
    shown: Progress,
) -> list[Norms]:
    """The norms of ``n_batches`` batches at the weights of ``state``, which stay as they are.

    Dropout is on, as in training: what it adds is noise too. Penalties on the weights are left out:
    they are the same for every batch.

    Args:
        batch_of: number of a batch → its rows, on the CPU; a multiple of ``n_parts``.
        stop: whether to end after this batch with those there are.
    """
    norms: list[Norms] = []
    state.model.train()
    for number in range(n_batches):
        norms.append(norms_of(state, settings, batch_of(number), loss_of, n_parts))
        shown.advance(1, f"loss {norms[-1].loss:.3f}")
        if stop():
            break
    return norms


def norms_of(
    state: RunState, settings: Settings, batch: Batch, loss_of: Loss, n_parts: int
) -> Norms:
    """The norms of one batch.

    The loss of a part is divided by the targets of the whole batch, as in a step, so that its
    parts' gradients add up to the batch's; ``n_parts`` times one is a part's own.
    """
    counts = counts_of(batch).to(settings.device)
    parameters = [p for p in state.model.parameters() if p.requires_grad]
    totals: list[Tensor | None] = [None] * len(parameters)
    of_parts, loss = [], 0.0
    for part in batch.to(settings.device).split(len(batch.inputs) // n_parts):
        with autocast(settings.device, settings.precision):
            part_loss = forward_pass(loss_of, state.model, part, counts)
        part_loss.backward()
        loss += float(part_loss.detach())
        of_parts.append(n_parts**2 * square_norm([p.grad for p in parameters]))
        for place, parameter in enumerate(parameters):
            if parameter.grad is not None:
                total = totals[place]
                totals[place] = parameter.grad if total is None else total.add_(parameter.grad)
        drop_gradients(state)
    return Norms(sum(of_parts) / n_parts, square_norm(totals), loss)


def square_norm(gradients: Sequence[Tensor | None]) -> float:
    """|g|² of all gradients as one vector."""
    norms = torch._foreach_norm([each for each in gradients if each is not None])
    return float(torch.stack([norm.double() for norm in norms]).square().sum())


def parts_of(batch_size: int, micro_batch_size: int | None = None) -> int:
    """Into how many parts a batch is cut: `FEWEST_PARTS` or more, and none larger than a pass.

    Raises:
        ConfigError: the batch has fewer than two rows.
    """
    if batch_size < 2:
        raise ConfigError(
            "the noise is seen between the parts of a batch, and this one has "
            + ("a single row" if batch_size == 1 else "no row"),
            where="--rows",
            fix="give 16 or more",
        )
    fewest = max(min(FEWEST_PARTS, batch_size), -(-batch_size // (micro_batch_size or batch_size)))
    return next(n for n in range(fewest, batch_size + 1) if batch_size % n == 0)
