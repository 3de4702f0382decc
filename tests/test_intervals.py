from __future__ import annotations

import numpy as np
import pytest

from groundup.intervals import ratio_interval, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, table I, method 3 (Statist. Med. 17, 857-872)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_as_newcombe_printed_it(
    successes: int, n: int, low: float, high: float
) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_nothing_seen_is_nothing_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_bootstrap_of_a_mean_has_the_width_of_theory() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, 400)
    found = ratio_interval(values, np.ones(400))
    assert found is not None
    half = 1.96 * values.std() / 20
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert ratio_interval(values[:9], np.ones(9)) is None
