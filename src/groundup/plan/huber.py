"""One fit of L(N, D) = E + A / N^alpha + B / D^beta to points: Hoffmann et al. (2022), approach 3.

As in their appendix D.3: Huber loss (delta 0.001) on the error of log L, with the three terms as
logarithms under a log-sum-exp, minimised by L-BFGS from a grid of starts. What is notable:

- **The sum over the points, not their mean.** With the mean the optimizer ends early, which is
  where the published .34 and .28 come from (Besiroglu et al. 2024, arXiv:2404.10102). Here the sum
  is divided by delta² as well, so that the stopping rules see numbers near one.
- **A smaller grid.** For given exponents E, A and B are linear: non-negative least squares finds
  them, so only the two exponents need a grid, and the starts fit data of any scale.
- **Centred logarithms.** Of log N and log D their means are taken off, which takes away most of
  the correlation between A and alpha and between B and beta: a fit takes 10 to 20 milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from groundup.plan.loss_surface import LossSurface
from groundup.plan.run_table import Run
from groundup.plan.solve import Vector

HUBER_DELTA = 1e-3  # Hoffmann et al. 2022, appendix D.3
EXPONENTS = np.arange(0.1, 1.01, 0.1)  # of the starts, for alpha and for beta
EXPONENT_BOUNDS = (1e-3, 4.0)
LOG_BOUND = 40.0  # of the terms at the middle of the data, away from log loss: e^-40 is nothing
THINNED = 1000  # points that choose the starts
FAST = {"ftol": 1e-11, "gtol": 1e-6, "maxiter": 300, "maxfun": 600, "maxcor": 20}
# A draw of the bootstrap begins at the best fit and takes some 30 iterations where the runs hold
# the coefficients; one that has no end by then wanders along a valley.
DRAW = {"ftol": 1e-11, "gtol": 1e-6, "maxiter": 200, "maxfun": 400, "maxcor": 20}
EXACT = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000, "maxfun": 8000, "maxcor": 20}
CUT_OFF = 1  # scipy's status at the limit of iterations or evaluations

# A point of the search: log E, log A', alpha, log B', beta, where A' and B' are the terms' values
# at the mean of log N and log D.
Point = Vector


@dataclass(frozen=True)
class Points:
    """Runs as arrays [n], and the means their logarithms are centred on."""

    log_n: Vector
    log_d: Vector
    log_loss: Vector
    mean_n: float
    mean_d: float

    def surface(self, point: Point) -> LossSurface:
        """The coefficients at a point of the search."""
        e, a, alpha, b, beta = map(float, point)
        return LossSurface(
            float(np.exp(e)),
            float(np.exp(a + alpha * self.mean_n)),
            alpha,
            float(np.exp(b + beta * self.mean_d)),
            beta,
        )

    def errors(self, point: Point) -> Vector:
        """log(law / measured) of each run [n]."""
        e, a, alpha, b, beta = point
        size, data = np.exp(a - alpha * self.log_n), np.exp(b - beta * self.log_d)
        found: Vector = np.log(np.exp(e) + size + data) - self.log_loss
        return found


def points_of(runs: Sequence[Run]) -> Points:
    """The arrays of ``runs``."""
    log_n = np.log([run.params for run in runs])
    log_d = np.log([run.tokens for run in runs])
    mean_n, mean_d = float(log_n.mean()), float(log_d.mean())
    log_loss = np.log([run.loss for run in runs])
    return Points(log_n - mean_n, log_d - mean_d, log_loss, mean_n, mean_d)


def fit_points(points: Points) -> Point:
    """The best fit over the grid of starts."""
    ends = [descend(points, start, options=FAST) for start in starts(points)]
    best = min(ends, key=lambda end: end.loss)
    return descend(points, best.point, options=EXACT).point


class End(NamedTuple):
    """Where a descent ends."""

    point: Point
    loss: float  # the sum of Huber losses over delta²
    settled: bool  # not cut off


def descend(
    points: Points,
    start: Point,
    weights: Vector | None = None,
    options: dict[str, float] = EXACT,
) -> End:
    """L-BFGS from ``start``.

    Args:
        points: the runs.
        start: first point of the search.
        weights: how often each run counts [n]; None: once.
        options: of scipy's L-BFGS-B.
    """
    from scipy.optimize import minimize

    middle = float(np.median(points.log_loss))
    term = (middle - LOG_BOUND, middle + LOG_BOUND)
    found = minimize(
        huber_objective(points, weights),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[term, term, EXPONENT_BOUNDS, term, EXPONENT_BOUNDS],
        options=options,
    )
    return End(found.x, float(found.fun), found.status != CUT_OFF)


def huber_objective(
    points: Points, weights: Vector | None = None
) -> Callable[[Point], tuple[float, Vector]]:
    """The sum of Huber losses over delta², and its gradient [5]."""
    n, d, measured = points.log_n, points.log_d, points.log_loss

    def objective(point: Point) -> tuple[float, Vector]:
        e, a, alpha, b, beta = point
        size, data = a - alpha * n, b - beta * d
        top = np.maximum(np.maximum(size, data), e)
        floor, size, data = np.exp(e - top), np.exp(size - top), np.exp(data - top)
        total = floor + size + data
        error = (top + np.log(total) - measured) / HUBER_DELTA
        slope = np.clip(error, -1, 1)  # of Huber: the error within delta, its sign beyond
        loss = slope * (error - 0.5 * slope)
        if weights is not None:
            loss, slope = loss * weights, slope * weights
        slope = slope / total / HUBER_DELTA
        by_size, by_data = slope * size, slope * data
        gradient = [slope @ floor, by_size.sum(), -(by_size @ n), by_data.sum(), -(by_data @ d)]
        return float(loss.sum()), np.array(gradient)

    return objective


def starts(points: Points) -> list[Point]:
    """For each alpha of the grid the beta, E, A and B of least squared relative error."""
    from scipy.optimize import nnls

    thin = slice(None, None, max(1, len(points.log_n) // THINNED))
    log_n, log_d, loss = points.log_n[thin], points.log_d[thin], np.exp(points.log_loss[thin])
    least = float(np.exp(-LOG_BOUND / 2) * loss.min())
    found = []
    for alpha in EXPONENTS:
        best, best_error = None, np.inf
        for beta in EXPONENTS:
            terms = [np.ones(len(loss)), np.exp(-alpha * log_n), np.exp(-beta * log_d)]
            scales = [float(term.max()) for term in terms]
            matrix = np.stack(
                [term / top / loss for term, top in zip(terms, scales, strict=True)], axis=1
            )
            solution, error = nnls(matrix, np.ones(len(loss)))
            if error < best_error:
                e, a, b = np.log(np.maximum(solution / scales, least))
                best, best_error = np.array([e, a, alpha, b, beta]), error
        if best is not None:
            found.append(best)
    return found
