"""Two small solvers: Nelder–Mead for curved problems, non-negative least squares for linear ones.

Plans fit a handful of points with a handful of unknowns; a page of numpy does it, so the planner
needs no scipy. Nelder–Mead uses the dimension-dependent factors of Gao & Han (2012).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from groundup.errors import GroundupError

Vector = NDArray[np.float64]
Objective = Callable[[Vector], float]

ZERO = 1e-15  # a sum of losses below this is an exact fit


def minimise(objective: Objective, starts: Iterable[Sequence[float]]) -> Vector:
    """The best local minimum over ``starts``.

    Each search is begun anew where it ended until that gains nothing: a simplex that has gone flat
    is the usual failure of Nelder–Mead, worst at the kinks of a Huber loss.

    Raises:
        GroundupError: no start gave a finite value.
    """
    best, best_value = None, np.inf
    for start in starts:
        point, value = nelder_mead(objective, np.asarray(start, dtype=float))
        for _ in range(10):
            again, new_value = nelder_mead(objective, point)
            gain, point, value = value - new_value, again, new_value
            if not gain > 1e-6 * abs(value) + ZERO:
                break
        if value < best_value:
            best, best_value = point, value
    if best is None:
        raise GroundupError("a fit found no finite value")
    return best


def nelder_mead(
    objective: Objective, start: Vector, size: float = 0.2, tolerance: float = 1e-9
) -> tuple[Vector, float]:
    """One simplex search from ``start``: the lowest point met and its value.

    Args:
        objective: what to make small.
        start: first point [n].
        size: edge of the first simplex, in the unknowns' own units (logarithms and exponents).
        tolerance: relative spread of the values at which it ends (and its root, of the points).
    """
    n = len(start)
    grow, shrink_to, contract = 1 + 2 / n, 1 - 1 / n if n > 1 else 0.5, 0.75 - 1 / (2 * n)
    points = np.vstack([start, start + size * np.eye(n)])
    values = np.array([objective(point) for point in points])
    for _ in range(400 * n):
        order = np.argsort(values)
        points, values = points[order], values[order]
        level = values[-1] <= values[0] + tolerance * abs(values[0]) + ZERO
        if level and np.ptp(points, axis=0).max() < tolerance**0.5:
            break
        centre = points[:-1].mean(axis=0)
        away = centre - points[-1]
        reflected = centre + away
        value = objective(reflected)
        if value < values[0]:
            farther = centre + grow * away
            farther_value = objective(farther)
            if farther_value < value:
                reflected, value = farther, farther_value
        elif value >= values[-2]:
            reflected = centre + (contract if value < values[-1] else -contract) * away
            value = objective(reflected)
            if value >= values[-1]:
                points[1:] = points[0] + shrink_to * (points[1:] - points[0])
                values[1:] = [objective(point) for point in points[1:]]
                continue
        points[-1], values[-1] = reflected, value
    lowest = int(np.argmin(values))
    return points[lowest], float(values[lowest])


def nonnegative_least_squares(
    rows: Sequence[Sequence[float]], target: Sequence[float]
) -> list[float]:
    """Coefficients ≥ 0 for which ``rows @ coefficients`` is nearest to ``target``, relatively.

    Relative, because our targets span decades (milliseconds to seconds) and each counts the same.
    Tries every subset of the columns, few and first ones first: columns the rows cannot tell apart
    get zero.

    Args:
        rows: one row per measurement [n, k], k ≤ 4.
        target: positive measurements [n].
    """
    matrix = np.asarray(rows, dtype=float) / np.asarray(target, dtype=float)[:, None]
    n, k = matrix.shape
    best, best_error = np.zeros(k), np.inf
    for size in range(1, min(n, k) + 1):
        for columns in combinations(range(k), size):
            part = matrix[:, columns]
            scale = np.abs(part).max(axis=0)
            if not (scale > 0).all() or np.linalg.matrix_rank(part / scale) < size:
                continue
            solution = np.linalg.lstsq(part / scale, np.ones(n), rcond=None)[0] / scale
            error = float(np.sum((part @ solution - 1) ** 2))
            # A larger subset must explain something: equal error keeps the fewer columns.
            if (solution >= 0).all() and error < best_error - 1e-12:
                best, best_error = np.zeros(k), error
                best[list(columns)] = solution
    return [float(value) for value in best]
