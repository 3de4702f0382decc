from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.errors import GroundupError
from groundup.plan.solve import minimise, nonnegative_least_squares


def test_the_simplex_finds_the_minimum_of_rosenbrocks_valley() -> None:
    def valley(x: np.ndarray) -> float:
        return float((1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)

    assert minimise(valley, [[-1.2, 1.0]]) == pytest.approx([1, 1], abs=1e-4)


def test_the_median_minimises_absolute_deviations() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 100.0])
    found = minimise(lambda x: float(np.abs(values - x[0]).sum()), [[50.0]])
    assert found[0] == pytest.approx(4, abs=1e-3)


def test_a_function_without_a_finite_value_is_an_error() -> None:
    with pytest.raises(GroundupError, match="finite"):
        minimise(lambda x: float("inf"), [[0.0]])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=2))
def test_exact_data_give_back_their_coefficients(truth: list[float]) -> None:
    rows = [(1.0, 1e9), (1.0, 5e9), (2.0, 3e9), (7.0, 8e9)]
    target = [truth[0] * a + truth[1] * 1e-9 * b for a, b in rows]
    found = nonnegative_least_squares(rows, target)
    assert found == pytest.approx([truth[0], truth[1] * 1e-9], rel=1e-6)


def test_a_coefficient_that_would_be_negative_is_zero() -> None:
    # y = 2 x - 1 at x = 1, 2, 3: the best line through the origin is what is left
    slope, constant = nonnegative_least_squares([(1, 1), (2, 1), (3, 1)], [1.0, 3.0, 5.0])
    assert constant == 0
    # least squares of slope·x/y - 1: sum(x/y) / sum((x/y)²)
    ratios = np.array([1, 2 / 3, 3 / 5])
    assert slope == pytest.approx(ratios.sum() / (ratios**2).sum())


def test_columns_that_cannot_be_told_apart_leave_all_to_the_first() -> None:
    assert nonnegative_least_squares([(4e9, 1, 3)], [2.0]) == pytest.approx([5e-10, 0, 0])
    same_layers = nonnegative_least_squares([(1e9, 1, 4), (3e9, 1, 4)], [1.0, 2.0])
    assert same_layers == pytest.approx([5e-10, 0.5, 0])
