"""What counts as an alarm, against scipy's median absolute deviation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from groundup.train.guard.config import GuardConfig
from groundup.train.guard.detector import score

CONFIG = GuardConfig()


def window(n: int, seed: int = 0) -> tuple[list[float], list[float]]:
    """Losses about 3, and gradient norms spread over factors."""
    random = np.random.default_rng(seed)
    return (3 + 0.2 * random.standard_normal(n)).tolist(), np.exp(
        0.3 * random.standard_normal(n)
    ).tolist()


@pytest.mark.parametrize("n", [64, 101, 128])
def test_scores_are_distances_from_the_median_in_scipys_robust_deviations(n: int) -> None:
    losses, norms = window(n)
    seen = score(CONFIG, losses, norms, 4.0, 5.0)
    deviation = median_abs_deviation(losses, scale="normal")
    assert deviation > 0.02 * np.median(losses)  # the floor is below it
    assert seen.loss_z == pytest.approx((4.0 - np.median(losses)) / deviation, rel=1e-4)
    logs = np.log(norms)
    deviation = median_abs_deviation(logs, scale="normal")
    assert seen.grad_norm_z == pytest.approx(
        (math.log(5.0) - np.median(logs)) / deviation, rel=1e-4
    )


def test_a_window_without_spread_has_the_floors_of_the_specification() -> None:
    seen = score(CONFIG, [2.0] * 64, [1.0] * 64, 2.2, math.e)
    assert seen.loss_z == pytest.approx(0.2 / (0.02 * 2.0))
    assert seen.grad_norm_z == pytest.approx(1 / 0.1)
    assert [reason.split(" is ")[0] for reason in seen.reasons] == ["the gradient norm 2.718"]


@pytest.mark.parametrize(
    ("loss", "grad_norm", "n_alarms"),
    [
        (2.0 * 1.119, 1.0, 0),  # z 5.95
        (2.0 * 1.121, 1.0, 1),  # z 6.05
        (2.0, math.exp(0.79), 0),  # z 7.9
        (2.0, math.exp(0.81), 1),
        (0.1, 1e-9, 0),  # what is too low is no alarm
        (2.0, 0.0, 0),
        (9.0, 100.0, 2),
    ],
)
def test_six_for_the_loss_and_eight_for_the_gradient_norm_is_an_alarm(
    loss: float, grad_norm: float, n_alarms: int
) -> None:
    seen = score(CONFIG, [2.0] * 64, [1.0] * 64, loss, grad_norm)
    assert len(seen.reasons) == n_alarms


def test_suspicion_begins_at_three_quarters_of_a_limit() -> None:
    def suspicions(loss_z: float, norm_z: float) -> int:
        norm = math.exp(0.1 * norm_z)
        seen = score(CONFIG, [2.0] * 64, [1.0] * 64, 2.0 + 0.04 * loss_z, norm)
        assert not seen.reasons
        return len(seen.suspicions)

    assert suspicions(4.4, 5.9) == 0
    assert suspicions(4.6, 5.9) == 1
    assert suspicions(4.4, 6.1) == 1
    assert suspicions(5.9, 7.9) == 2


def test_before_the_window_is_filled_only_what_is_not_finite_is_an_alarm() -> None:
    assert not score(CONFIG, [2.0] * 63, [1.0] * 63, 1e9, 1e9).reasons
    for value in (math.nan, math.inf, -math.inf):
        assert score(CONFIG, [], [], value, 1.0).reasons
        assert score(CONFIG, [], [], 1.0, value).reasons
        assert not score(CONFIG, [], [], value, 1.0).is_finite


def test_twenty_outliers_in_the_window_hide_no_further_one() -> None:
    losses, norms = window(108)
    clean = score(CONFIG, losses, norms, 9.0, 1.0)
    seen = score(CONFIG, [*losses, *[9.0] * 20], [*norms, *[1.0] * 20], 9.0, 1.0)
    assert clean.reasons
    assert seen.reasons
    mean, deviation = np.mean([*losses, *[9.0] * 20]), np.std([*losses, *[9.0] * 20], ddof=1)
    assert mean + 6 * deviation > 9.0  # six standard deviations no longer see it


def test_a_gradient_norm_alone_is_a_suspicion_up_to_twice_its_limit() -> None:
    def alone(loss: float, norm_z: float) -> bool:
        seen = score(CONFIG, [2.0] * 64, [1.0] * 64, loss, math.exp(0.1 * norm_z))
        return seen.is_only_suspicious(CONFIG)

    assert alone(2.0, 7)
    assert alone(2.0, 9)
    assert alone(2.0, 15.9)
    assert not alone(2.0, 16.1)
    assert not alone(3.0, 9)
    assert not score(CONFIG, [], [], 1.0, math.inf).is_only_suspicious(CONFIG)
