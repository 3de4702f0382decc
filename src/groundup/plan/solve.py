"""Two solvers for small fits: a simplex search with restarts, and non-negative least squares.

Both are scipy's; here stand what our fits ask of them beyond it: several starts, restarts where a
simplex has gone flat, relative errors, and few columns before many. scipy takes half a second to
import, so it is imported where a fit is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from groundup.errors import GroundupError

Vector = NDArray[np.float64]
Objective = Callable[[Vector], float]

SIMPLEX = 0.2  # edge of the first simplex, in the unknowns' own units (logarithms and exponents)
RESTARTS = 10
EXACT = 1e-15  # a sum of losses below this is an exact fit


def minimise(objective: Objective, starts: Iterable[Sequence[float]]) -> Vector:
    """The best local minimum over ``starts``, by Nelder-Mead (scipy, adaptive factors).

    Each search is begun anew where it ended until that gains nothing: a simplex that has gone flat
    is the usual failure of Nelder-Mead, worst at the kinks of a Huber loss.

    Raises:
        GroundupError: no start gave a finite value.
    """
    from scipy.optimize import minimize

    best, best_value = None, np.inf
    for start in starts:
        point = np.asarray(start, dtype=float)
        value = objective(point)
        if not np.isfinite(value):
            continue
        for _ in range(RESTARTS):
            corners = np.vstack([point, point + SIMPLEX * np.eye(len(point))])
            found = minimize(
                objective,
                point,
                method="Nelder-Mead",
                options={
                    "initial_simplex": corners,
                    "adaptive": True,
                    "maxiter": 400 * len(point),
                    "fatol": 1e-9 * abs(value) + EXACT,
                    "xatol": 1e-5,
                },
            )
            gain, point, value = value - found.fun, found.x, float(found.fun)
            if not gain > 1e-6 * abs(value) + EXACT:
                break
        if value < best_value:
            best, best_value = point, value
    if best is None:
        raise GroundupError("a fit found no finite value")
    return best


def nonnegative_least_squares(
    rows: Sequence[Sequence[float]], target: Sequence[float]
) -> list[float]:
    """Coefficients ≥ 0 for which ``rows @ coefficients`` is nearest to ``target``, relatively.

    Relative, because our targets span decades (milliseconds to seconds) and each counts the same.
    The first columns explain what they can; a later one joins only where it explains something, so
    columns that the rows cannot tell apart get zero.

    Args:
        rows: one row per measurement [n, k].
        target: positive measurements [n].
    """
    from scipy.optimize import nnls

    matrix = np.asarray(rows, dtype=float) / np.asarray(target, dtype=float)[:, None]
    n, k = matrix.shape
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0] = 1
    best, best_error = np.zeros(k), float(n)  # of all coefficients zero
    for size in range(1, k + 1):
        solution, root = nnls(matrix[:, :size] / scale[:size], np.ones(n))
        # Equal error keeps the fewer columns.
        if root**2 < best_error - 1e-12:
            best, best_error = np.zeros(k), float(root) ** 2
            best[:size] = solution / scale[:size]
    return [float(value) for value in best]
