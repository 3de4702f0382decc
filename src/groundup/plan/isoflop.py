"""The optimal size by IsoFLOP curves: approach 2 of Hoffmann et al. (2022, section 3.2).

Runs of one FLOPs budget lie on a parabola in log N; its lowest point is the optimal size of that
budget, and a power law goes through the lowest points: N = k C^a, D = k' C^b. No formula for the
loss is assumed. What is notable:

- Budgets are found in the table: the window of `TOLERANCE` on either side that holds the most runs,
  then the next. Within a window a run's own FLOPs still differ, so the regression has a term for
  log C beside the parabola, where there are runs enough for it.
- A parabola is the shape near the minimum only: of each budget the runs within `REACH` of the best
  one's size are used (wider curves bias the minimum where alpha and beta differ).
- A budget whose minimum is not between its smallest and largest run says nothing and is left out,
  with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groundup.errors import InputError
from groundup.plan.loss_surface import PowerLaw
from groundup.plan.run_table import Run, require_runs

TOLERANCE = 0.1  # of a budget, either way
REACH = 4.0  # factor in N on either side of the best run of a budget
LEAST_SIZES = 4  # of a budget: one more than a parabola needs
LEAST_BUDGETS = 2
NAMED = 3  # budgets, where an error gives reasons
NARROW = 1e-3  # spread of log C below which all runs of a budget have the same FLOPs


@dataclass(frozen=True)
class Budget:
    """The IsoFLOP curve of one budget, and its lowest point."""

    flops: float
    n_runs: int
    params: float | None  # at the minimum; None: left out
    tokens: float | None
    loss: float | None
    why: str  # empty where it is used


@dataclass(frozen=True)
class Optima:
    """Optimal parameters and tokens against FLOPs."""

    params: PowerLaw
    tokens: PowerLaw
    standard_error: float | None  # of both exponents, where the points are more than two
    flops_range: tuple[float, float]
    budgets: tuple[Budget, ...] = ()

    @property
    def a(self) -> float:
        """Exponent of the parameters."""
        return self.params.exponent

    @property
    def b(self) -> float:
        """Exponent of the tokens."""
        return self.tokens.exponent


def fit_isoflop(runs: Sequence[Run], tolerance: float = TOLERANCE) -> Optima:
    """The power laws through the minima of the IsoFLOP curves in ``runs``.

    Args:
        runs: among them several sizes at each of several budgets.
        tolerance: how far a run's FLOPs may be from its budget, relatively.

    Raises:
        InputError: a number that is not positive, or fewer than two budgets with a minimum.
    """
    require_runs(runs)
    budgets = tuple(_budget(group) for group in group_by_flops(runs, tolerance))
    used = [budget for budget in budgets if budget.params and budget.tokens]
    if len(used) < LEAST_BUDGETS:
        reasons = "; ".join(
            f"{budget.flops:.3g}: {budget.why}" for budget in budgets[:NAMED] if budget.why
        )
        raise InputError(
            f"an IsoFLOP fit needs {LEAST_BUDGETS} budgets with a minimum, there are {len(used)}"
            + (f" ({reasons})" if reasons else ""),
            where="the table of runs",
            fix=f"add runs of equal FLOPs: {LEAST_SIZES} sizes or more on both sides of the best",
        )
    flops = [budget.flops for budget in used]
    params, error = power_law(flops, [budget.params or 0.0 for budget in used])
    tokens, _ = power_law(flops, [budget.tokens or 0.0 for budget in used])
    return Optima(params, tokens, error, (min(flops), max(flops)), budgets)


def group_by_flops(runs: Sequence[Run], tolerance: float = TOLERANCE) -> list[list[Run]]:
    """The runs of each budget, smallest first; runs of no budget are left out.

    Raises:
        InputError: a tolerance that is not between 0 and 1.
    """
    if not 0 <= tolerance < 1:
        raise InputError(f"tolerance is {tolerance:g}, but must be from 0 to below 1")
    rest = sorted(runs, key=lambda run: run.flops)
    width = 2 * math.log1p(tolerance) + 1e-9
    groups = []
    while rest:
        logs = np.log([run.flops for run in rest])
        ends = np.searchsorted(logs, logs + width, side="right")
        counts = ends - np.arange(len(rest))
        begin = int(np.argmax(counts))
        group = rest[begin : int(ends[begin])]
        if len(group) < LEAST_SIZES:
            break
        groups.append(group)
        rest = rest[:begin] + rest[int(ends[begin]) :]
    return sorted(groups, key=lambda group: group[0].flops)


def power_law(flops: Sequence[float], values: Sequence[float]) -> tuple[PowerLaw, float | None]:
    """Least squares of log value on log C, and the exponent's standard error.

    Args:
        flops: two different budgets or more.
        values: what depends on them.
    """
    x, y = np.log(flops), np.log(values)
    middle = x - x.mean()
    squares = float(middle @ middle)
    exponent = float(middle @ y) / squares
    constant = float(y.mean() - exponent * x.mean())
    rest = y - constant - exponent * x
    freedom = len(x) - 2
    error = math.sqrt(float(rest @ rest) / freedom / squares) if freedom > 0 else None
    return PowerLaw(math.exp(constant), exponent), error


def _budget(runs: Sequence[Run]) -> Budget:
    """The minimum of one budget's parabola, or why there is none."""
    log_c = np.log([run.flops for run in runs])
    flops, n = math.exp(float(log_c.mean())), len(runs)
    best = min(runs, key=lambda run: run.loss)
    near = [run for run in runs if 1 / REACH <= run.params / best.params <= REACH]
    sizes = {run.params for run in near}

    def left_out(why: str) -> Budget:
        return Budget(flops, n, None, None, None, why)

    if len(sizes) < LEAST_SIZES:
        return left_out(f"{len(sizes)} sizes within a factor of {REACH:g} of the best")
    if best.params in (min(run.params for run in runs), max(run.params for run in runs)):
        side = "smallest" if best.params == min(run.params for run in runs) else "largest"
        return left_out(f"the {side} size is the best: the minimum is not bracketed")
    x = np.log([run.params for run in near])
    c = np.log([run.flops for run in near]) - math.log(flops)
    centre = float(x.mean())
    x = x - centre
    columns = [np.ones(len(x)), x, x**2]
    if float(np.ptp(c)) > NARROW and len(near) > LEAST_SIZES:
        columns.append(c)
    found = np.linalg.lstsq(
        np.stack(columns, axis=1), np.array([run.loss for run in near]), rcond=None
    )[0]
    constant, slope, curvature = map(float, found[:3])
    if curvature <= 0:
        return left_out("the curve has no minimum: it bends down")
    lowest = -slope / (2 * curvature)
    if not x.min() < lowest < x.max():
        return left_out("the parabola's minimum lies outside the sizes: it is not bracketed")
    params = math.exp(centre + lowest)
    # D = C / (FLOPs per parameter and token) / N, with the ratio these runs have
    ratio = float(np.mean([math.log(run.flops / run.params / run.tokens) for run in near]))
    loss = constant + slope * lowest + curvature * lowest**2
    return Budget(flops, n, params, flops / math.exp(ratio) / params, loss, "")
