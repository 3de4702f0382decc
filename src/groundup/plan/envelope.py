"""The optimal size by the lower envelope of training curves: approach 1 of Hoffmann et al. (2022).

For each size the loss against FLOPs is a curve (points along one training, or runs of several
lengths). At each of `GRID` budgets, equally apart in log C, the curve of least loss gives the best
size and its tokens; a power law goes through them: N = k C^a, D = k' C^b (section 3.1). Between
points a curve is straight in log C and log loss. A budget counts only where at least three curves
reach it and the best is neither the smallest nor the largest of them: else the true best may be a
size that was not run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from groundup.errors import InputError
from groundup.plan.isoflop import Optima, power_law
from groundup.plan.run_table import Run, require_runs
from groundup.plan.solve import Vector

GRID = 1500  # budgets, as in Hoffmann et al. 2022, section 3.1
SAME_SIZE = (
    0.02  # parameters within this of the next are one size: tables round, plots are read off
)
LEAST_CURVES = 3
LEAST_WINNERS = 3  # sizes on the envelope: two are one stair


def fit_envelope(runs: Sequence[Run]) -> Optima:
    """The power laws of the sizes on the lower envelope.

    Args:
        runs: several sizes, each with points at several FLOPs.

    Raises:
        InputError: a number that is not positive, or too few curves that cross.
    """
    require_runs(runs)
    curves = curves_of(runs)
    if len(curves) < LEAST_CURVES:
        raise InputError(
            f"an envelope needs {LEAST_CURVES} sizes with two points or more, there are "
            f"{len(curves)}",
            where="the table of runs",
            fix="add points of the training curves, or runs of other lengths",
        )
    log_c = np.array([math.log(run.flops) for curve in curves for run in curve])
    grid = np.linspace(float(log_c.min()), float(log_c.max()), GRID)
    # log loss [curves, GRID], infinite where a curve does not reach
    losses = np.stack([_along(curve, grid, "loss") for curve in curves])
    tokens = np.stack([_along(curve, grid, "tokens") for curve in curves])
    places = np.arange(len(curves))[:, None]
    there = np.isfinite(losses)
    smallest = np.where(there, places, len(curves)).min(axis=0)
    largest = np.where(there, places, -1).max(axis=0)
    winner = losses.argmin(axis=0)
    counts = (there.sum(axis=0) >= LEAST_CURVES) & (smallest < winner) & (winner < largest)
    winners = {int(place) for place in winner[counts]}
    if len(winners) < LEAST_WINNERS:
        raise InputError(
            f"an envelope needs {LEAST_WINNERS} sizes that are the best somewhere, there are "
            f"{len(winners)}",
            where="the table of runs",
            fix="add sizes or lengths: the curves must cross",
        )
    flops = [float(value) for value in np.exp(grid[counts])]
    sizes = np.array([_size(curve) for curve in curves])
    best_tokens = np.exp(tokens[winner, np.arange(GRID)][counts])
    params, _ = power_law(flops, [float(size) for size in sizes[winner[counts]]])
    tokens_law, _ = power_law(flops, [float(value) for value in best_tokens])
    # The budgets of the grid are no independent measurements: there is no standard error.
    return Optima(params, tokens_law, None, (min(flops), max(flops)))


def curves_of(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs by size, smallest first, each in order of FLOPs; sizes of one point are left out."""
    ordered = sorted(runs, key=lambda run: run.params)
    edges = [
        place
        for place, (run, after) in enumerate(itertools.pairwise(ordered), 1)
        if after.params / run.params > 1 + SAME_SIZE
    ]
    groups = [ordered[a:b] for a, b in itertools.pairwise([0, *edges, len(ordered)])]
    curves = []
    for group in groups:
        lowest: dict[float, Run] = {}  # of several runs at one budget (seeds) the best
        for run in group:
            if run.flops not in lowest or run.loss < lowest[run.flops].loss:
                lowest[run.flops] = run
        if len(lowest) > 1:
            curves.append(sorted(lowest.values(), key=lambda run: run.flops))
    return curves


def _along(curve: Sequence[Run], grid: Vector, what: str) -> Vector:
    """Log loss or log tokens of a curve at each log C of ``grid``; infinite outside the curve."""
    log_c = np.log([run.flops for run in curve])
    values = np.log([getattr(run, what) for run in curve])
    found: Vector = np.interp(grid, log_c, values, left=np.inf, right=np.inf)
    return found


def _size(curve: Sequence[Run]) -> float:
    """The parameters of a curve: the middle of what its points say."""
    return math.exp(float(np.mean([math.log(run.params) for run in curve])))
