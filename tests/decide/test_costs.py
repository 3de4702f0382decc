from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.decide.catalogs import assumed, rows
from groundup.decide.config import DecideConfig
from groundup.decide.costs import break_even_per_month, option_costs
from groundup.decide.hosting import hosting
from groundup.decide.options import decide
from groundup.decide.ownership import serving
from groundup.decide.scratch import Band, affordable, needed_tokens, scratch_cost
from groundup.errors import InputError
from groundup.plan.hardware import find_chip

# What the ladder calls continued pre-training, where there is text.
CONTINUED = {
    "prompting_ceiling_measured": "yes",
    "peft_ceiling_measured": "yes",
    "labelled_examples": 0,
}


def lines(answers: dict[str, Any], *, option: str = "adapt", **more: Any) -> dict[str, Band]:
    given = DecideConfig.model_validate({**answers, **more})
    return dict(option_costs(given)[option].lines)


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
    assert lines["hosting"].low == pytest.approx(
        365.25 * 24 * (find_chip("H100-SXM").low_usd_per_hour or 0)  # one H100 for a year
    )


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"params": "70B"},
        {"params": "70B", "api_model": "gpt-6-luna"},
        {"needs_rlhf": "yes", "growth_per_month": 0.1, "discount_pct": 20},
        {"output_share": 0.9, "horizon_months": 36, "labelled_examples": "50k"},
        {"growth_per_month": 0.4, "horizon_months": 24},
        {"growth_per_month": -0.2, "params": "13B"},
        {"hardware_owned": 3, "params": "13B", "growth_per_month": 0.1},
    ],
    ids=str,
)
def test_at_the_break_even_buying_and_adapting_cost_the_same(answers: dict[str, Any]) -> None:
    asked = DecideConfig.model_validate(answers)
    volume = break_even_per_month(asked)
    if volume is None:
        volume = 1e15  # never: not at any volume
        costs = option_costs(asked.model_copy(update={"tokens_per_month": round(volume)}))
        assert costs["adapt"].total.central > costs["buy"].total.central
        return
    costs = option_costs(asked.model_copy(update={"tokens_per_month": round(volume)}))
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
    tuning = lines(CONTINUED, params="7B", proprietary_tokens="20B")["tuning"]
    assert tuning.central == pytest.approx(scratch_cost(7e9, 20e9).usd.central)


def test_continued_pre_training_costs_a_quarter_of_scratch_at_most() -> None:
    """C12: adapting needs less time and money. A lab with 13B parameters and 2T tokens of text."""
    answers = {**CONTINUED, "params": "13B", "proprietary_tokens": "2T"}
    found = decide(DecideConfig.model_validate(answers))
    costs = {one.option: dict(one.cost_lines) for one in found.ranking}
    scratch = costs["train"]["training from scratch"].central
    assert costs["adapt"]["tuning"].central == pytest.approx(scratch / 4)
    assert any("67B tokens of your 2T" in note for note in found.notes)  # a quarter of 268B


def test_public_text_is_not_text_of_the_field() -> None:
    assert lines(CONTINUED, unique_tokens="1T")["tuning"].central == 0


def test_owned_chips_are_one_pool_that_training_spends_first() -> None:
    """One chip for a year is 8,766 hours: what training leaves of them holds the model."""
    owned = {"hardware_owned": 1, "params": "7B"}
    plan = scratch_cost(7e9)
    left = 365.25 * 24 - plan.chip_hours.central
    assert 0 < left < 365.25 * 24  # some hours of the one chip that holds 7B are rented
    power = 0.7 * 1.1 * 0.12
    train = lines(owned, option="train")
    assert train["training from scratch"].central == pytest.approx(plan.chip_hours.central * power)
    rent = scratch_cost(7e9).usd.central / plan.chip_hours.central
    assert train["hosting"].central == pytest.approx(
        left * power + (365.25 * 24 - left) * rent, rel=1e-6
    )


def test_owned_chips_pay_for_tuning_too() -> None:
    """64 H100s of one's own: both kinds of training cost electricity."""
    owned = {"hardware_owned": 64, "params": "13B", "proprietary_tokens": "2T"}
    tuning = lines({**CONTINUED, **owned})["tuning"].central
    assert tuning == pytest.approx(
        lines(owned, option="train")["training from scratch"].central / 4
    )
    assert tuning < 1000


@given(st.floats(1, 1e7), st.floats(0, 1e6), st.sampled_from([0.0, 0.3]))
def test_what_a_budget_buys_counts_owned_hours(usd: float, owned: float, discount: float) -> None:
    params, tokens = affordable(usd, "H100-SXM", discount, owned)
    if params < 1e5:
        return
    plan = scratch_cost(params, tokens, discount=discount, owned_hours=owned)
    spent_all = plan.usd.central == pytest.approx(usd, rel=0.02)
    assert spent_all


@pytest.mark.parametrize("discount", [0, 30, 70, 95])
def test_bands_are_in_order_whatever_the_discount(discount: int) -> None:
    answers = DecideConfig(discount_pct=discount, tokens_per_month=10**9)
    for cost in option_costs(answers).values():
        for _, band in cost.lines:
            assert band.low <= band.central <= band.high


def test_a_volume_that_grows_is_hosted_month_by_month() -> None:
    """From nothing much to four chips: the first months still pay for one whole chip."""
    chip, share = find_chip("H100-SXM"), 1 / 3
    one = serving(7e9, chip, batch=32)
    seconds = ((1 - share) * one.input_seconds + share * one.output_seconds) / 0.5
    month = 365.25 * 2 * 3600  # chip-seconds
    first = month / seconds / 8  # an eighth of what a chip serves
    found = hosting(7e9, chip, output_share=share, months=6, growth_per_month=1.0)
    expected = sum(max(1, 2**n / 8) for n in range(6)) * month / 3600
    assert found.hours(first) == pytest.approx(expected)
    assert expected > 6 * month / 3600 * 1.1  # which the mean volume would not give


def test_a_small_model_breaks_even_sooner() -> None:
    answers = DecideConfig(params=70 * 10**9)
    large, small = break_even_per_month(answers), break_even_per_month(answers, small_model=True)
    assert small is not None
    assert large is None or small < large


def test_a_batch_lever_of_the_users_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"tokens_per_month": 10**9}
    before = lines(answers, option="buy")["API"]
    (tmp_path / "levers.csv").write_text("id,factor\nbatch,0.25\n")
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    after = lines(answers, option="buy")["API"]
    assert before.low / before.high == pytest.approx(0.5)
    assert after.low / after.high == pytest.approx(0.25)


def test_another_folder_of_tables_is_another_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = affordable(1e6, "H100-SXM")
    (tmp_path / "assumptions.csv").write_text("id,value\nmfu,0.2\n")
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    assert affordable(1e6, "H100-SXM")[0] < before[0]


def test_tuning_a_bought_model_is_priced_where_it_has_a_price() -> None:
    """5,000 examples of 500 tokens, three epochs: 7.5M tokens at $3 a million."""
    answers = {"prompting_ceiling_measured": "yes", "labelled_examples": 5000}
    tuned = lines({**answers, "api_model": "curie-fine-tuned"}, option="buy")
    assert tuned["tuning"].high == pytest.approx(7.5 * 3)
    assert "tuning" not in lines(answers, option="buy")  # no price is known: it is prompted
