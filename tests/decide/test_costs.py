from __future__ import annotations

from typing import Any

import pytest

from groundup.decide.catalogs import assumed, rows
from groundup.decide.config import DecideConfig
from groundup.decide.costs import (
    affordable,
    break_even_per_month,
    needed_tokens,
    option_costs,
    scratch_cost,
)
from groundup.decide.options import decide
from groundup.errors import InputError


def test_a_run_is_six_n_d_over_the_chips_rate() -> None:
    """Chinchilla: 6 × 70e9 × 1.4e12 FLOPs on H100s of 989.4 TFLOP/s at 40 %, goodput 75 %."""
    plan = scratch_cost(70e9, 1.4e12, chip="H100-SXM")
    hours = 5.88e23 / (989.4e12 * 0.40 * 3600) / 0.75
    assert plan.flops == pytest.approx(5.88e23)
    assert plan.chip_hours.central == pytest.approx(hours, rel=1e-3)
    assert plan.chip_hours.low < plan.chip_hours.central < plan.chip_hours.high
    assert plan.usd.low < plan.usd.central < plan.usd.high


def test_palm_at_the_price_of_its_chips() -> None:
    """Heim: 8.4M chip-hours at 3.22 are $27M; our MFU and goodput differ: within a factor of 2."""
    plan = scratch_cost(540e9, 780e9, chip="TPU-v4")
    assert 8.4e6 / 2 < plan.chip_hours.central < 8.4e6 * 2
    assert plan.usd.high == pytest.approx(plan.chip_hours.high * 3.22)


def test_without_tokens_the_law_says_how_many() -> None:
    """Hoffmann et al., table 3: 10B parameters want 205.1B tokens."""
    assert scratch_cost(10e9).tokens == pytest.approx(205.1e9, rel=0.01)


def test_the_laws_span_what_70b_needs() -> None:
    law, low, high = needed_tokens(70e9)
    assert 1.25e12 < low < 1.35e12
    assert 1.4e12 < high < 1.55e12
    assert low <= law <= high


def test_what_a_budget_buys_costs_the_budget() -> None:
    params, tokens = affordable(1e6, "H100-SXM")
    assert scratch_cost(params, tokens).usd.central == pytest.approx(1e6, rel=0.01)


def test_owned_chips_cost_their_electricity() -> None:
    rented = scratch_cost(7e9, 140e9)
    owned = scratch_cost(7e9, 140e9, owned_hours=1e9)
    assert owned.usd.central < 0.1 * rented.usd.central
    kwh = owned.chip_hours.central * 0.7 * 1.1
    assert owned.usd.central == pytest.approx(kwh * 0.12)


def test_a_discount_lowers_the_central_cost_but_not_the_list_price() -> None:
    full, off = scratch_cost(7e9), scratch_cost(7e9, discount=0.3)
    assert off.usd.central == pytest.approx(0.7 * full.usd.central)
    assert off.usd.high == full.usd.high


def test_hosting_is_paid_even_when_nobody_asks() -> None:
    quiet = option_costs(DecideConfig(tokens_per_month=1))["adapt"]
    lines = dict(quiet.lines)
    assert lines["hosting"].low == pytest.approx(365.25 * 24 * 2.99)  # one H100 for a year


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"params": "70B"},
        {"params": "70B", "api_model": "gpt-6-luna"},
        {"needs_rlhf": "yes", "growth_per_month": 0.1, "discount_pct": 20},
        {"output_share": 0.9, "horizon_months": 36, "labelled_examples": "50k"},
    ],
    ids=str,
)
def test_at_the_break_even_buying_and_adapting_cost_the_same(answers: dict[str, Any]) -> None:
    given = DecideConfig.model_validate(answers)
    volume = break_even_per_month(given)
    if volume is None:
        volume = 1e15  # never: not at any volume
        costs = option_costs(given.model_copy(update={"tokens_per_month": round(volume)}))
        assert costs["adapt"].total.central > costs["buy"].total.central
        return
    costs = option_costs(given.model_copy(update={"tokens_per_month": round(volume)}))
    assert costs["adapt"].total.central == pytest.approx(costs["buy"].total.central, rel=1e-6)


def test_a_chip_without_a_price_is_refused() -> None:
    with pytest.raises(InputError, match="price"):
        scratch_cost(7e9, chip="B200-SXM")


def test_every_assumption_has_a_source() -> None:
    for row in rows("assumptions"):
        assert row.text("source"), row.where
        assert row.number("value") is not None, row.where
    assert assumed("goodput", "low") < assumed("goodput") < assumed("goodput", "high")


def test_a_token_too_slow_for_a_wish_is_said() -> None:
    found = decide(DecideConfig.model_validate({"params": "70B", "latency_seconds": 0.001}))
    assert any("ms a token" in note for note in found.notes)


def test_continued_pre_training_pays_for_its_text() -> None:
    answers = DecideConfig.model_validate({"proprietary_tokens": "100B", "params": "7B"})
    tuning = dict(option_costs(answers)["adapt"].lines)["tuning"]
    assert tuning.central == pytest.approx(scratch_cost(7e9, 100e9).usd.central)
