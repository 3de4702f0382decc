from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from groundup.architecture.presets import find_model
from groundup.errors import BudgetError, ConfigError, InputError
from groundup.plan.hardware import find_chip
from groundup.plan.time import training_time
from groundup.plan.whole import Estimate, estimate
from groundup.plan.whole_report import as_record
from groundup.plan.wish import Wish

H100 = find_chip("H100-SXM")
WISH = Wish(chip=H100, n_chips=64, today=date(2025, 6, 1))
LLAMA = replace(WISH, model=find_model("llama-7b"), model_name="llama-7b")


@pytest.fixture(scope="module")
def bought() -> Estimate:
    return estimate(replace(WISH, money_usd=200e3))


def test_money_is_spent_and_not_more(bought: Estimate) -> None:
    assert bought.cost is not None
    assert bought.cost.total_usd == pytest.approx(200e3, rel=1e-6)
    assert bought.time.wall_chip_hours == pytest.approx(200e3 / 12.29, rel=1e-6)


def test_the_size_is_the_laws_for_the_flops_bought(bought: Estimate) -> None:
    by_law = {point.law: point for point in bought.frontier}
    # Table 3 of Hoffmann et al. 2022 has 20 tokens a parameter at this budget; a shape is rounded.
    assert bought.params == pytest.approx(by_law["chinchilla-1"].params, rel=0.15)
    assert bought.flops == pytest.approx(6 * bought.params * bought.tokens)


def test_flops_days_and_efficiency_agree(bought: Estimate) -> None:
    took = bought.time
    per_second = took.mfu * H100.peak("bf16") * 64
    assert took.model_flops == pytest.approx(took.days * 86400 * per_second, rel=1e-6)
    assert took.wall_days == pytest.approx(took.days / 0.75)
    assert bought.predicted["duration_seconds"] == pytest.approx(took.wall_days * 86400)


def test_every_prediction_lies_in_its_band(bought: Estimate) -> None:
    for name, (low, high) in bought.band.items():
        value = bought.predicted[name]
        assert value is not None
        assert low <= value <= high, name


def test_the_record_is_json_with_the_names_of_a_run(bought: Estimate) -> None:
    record = json.loads(json.dumps(as_record(bought), allow_nan=False))
    assert {"duration_seconds", "tokens_per_second", "peak_memory_bytes", "loss", "bits_per_byte",
            "cost_usd", "energy_kwh"} <= set(record["predicted"])  # fmt: skip
    assert record["params"] == bought.params
    assert record["layouts"][0] == record["layout"]
    assert record["cost"]["usd"] == bought.predicted["cost_usd"]
    assert record["cost"]["usd_low"] <= record["cost"]["usd"] <= record["cost"]["usd_high"]
    assert {"notes", "warnings"} <= set(record)


def test_days_and_money_the_tighter_one_counts() -> None:
    both = estimate(replace(WISH, money_usd=1e9, days=2.0))
    assert both.time.wall_days == pytest.approx(2.0, rel=1e-6)


def test_llama_7b_as_it_was_trained() -> None:
    # Touvron et al. 2023, table 15: 82,432 A100-hours for 1.0T tokens; ours come with goodput.
    wish = replace(LLAMA, chip=find_chip("A100-SXM-80"), n_chips=1024, tokens=1e12,
                   global_batch_tokens=4_194_304, context_length=2048, goodput=1.0)  # fmt: skip
    assert estimate(wish).time.wall_chip_hours == pytest.approx(82_432, rel=0.25)


def test_a_budget_too_small_says_what_it_would_buy() -> None:
    with pytest.raises(BudgetError) as error:
        estimate(replace(LLAMA, tokens=1e12, money_usd=20e3))
    assert "6.74B parameters on 1T tokens cost" in str(error.value)
    assert "it would buy" in str(error.value)
    with pytest.raises(BudgetError, match="take"):
        estimate(replace(LLAMA, tokens=1e12, days=1.0))


def test_a_budget_below_the_smallest_model_says_what_that_needs() -> None:
    with pytest.raises(BudgetError, match="the budget is too small") as error:
        estimate(replace(WISH, money_usd=0.01))
    assert "needs" in str(error.value.fix)
    assert "$" in str(error.value.fix)


def test_what_the_time_takes_the_whole_plan_takes() -> None:
    plan = estimate(replace(LLAMA, n_chips=100, tokens=1e12, global_batch_tokens=2e6))
    took = training_time(LLAMA.model or 0.0, 1e12, H100, 100, global_batch_tokens=2e6)
    assert plan.time.days == pytest.approx(took.days)
    assert plan.time.n_chips_used == took.n_chips_used
    assert plan.time.global_batch_tokens == took.global_batch_tokens


def test_an_mfu_that_is_given_leaves_the_layouts_as_predicted() -> None:
    plan = estimate(replace(LLAMA, tokens=1e12, mfu=0.2))
    assert plan.time.mfu == pytest.approx(0.2)
    assert plan.layouts.ranked[0].mfu > 0.3
    assert any("by the MFU given" in note for note in plan.notes)


def test_little_text_is_read_often_and_losses_know_it() -> None:
    plenty = estimate(replace(LLAMA, tokens=1e12))
    little = estimate(replace(LLAMA, tokens=1e12, unique_tokens=20e9))
    assert little.epochs == pytest.approx(50)
    assert little.losses["besiroglu"] > plenty.losses["besiroglu"] + 0.02
    assert any("50.0 times" in note for note in little.notes)


def test_what_is_given_is_kept() -> None:
    assert estimate(replace(WISH, tokens=140e9, money_usd=100e3)).tokens == 140e9
    assert estimate(replace(WISH, flops=1e22)).flops == pytest.approx(1e22, rel=1e-9)
    assert estimate(replace(LLAMA, flops=1e22)).params == 6_738_415_616


def test_laws_of_decoders_are_not_asked_about_other_models() -> None:
    plan = estimate(replace(WISH, model=find_model("bert-large"), tokens=1e11))
    assert plan.predicted["loss"] is None
    assert any("laws are of decoders" in note for note in plan.notes)
    mixture = estimate(replace(WISH, model=find_model("mixtral-8x7b"), tokens=1e12))
    assert any("mixture of experts" in note for note in mixture.notes)


def test_a_chip_without_a_price_is_planned_without_money() -> None:
    plan = estimate(replace(LLAMA, chip=find_chip("B200-SXM"), tokens=1e12))
    assert plan.cost is None or plan.cost.scheme != "on-demand"
    with pytest.raises(InputError, match="no on-demand price"):
        estimate(replace(LLAMA, chip=find_chip("B200-SXM"), money_usd=1e6))
    priced = replace(LLAMA, chip=find_chip("B200-SXM"), money_usd=1e6, usd_per_hour=4.0)
    assert estimate(priced).cost is not None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, "nothing says how much"),
        ({"flops": 1e22, "days": 3.0}, "both given"),
        ({"params": 7e9, "model": find_model("llama-7b")}, "both given"),
        ({"params": 7e9, "tokens": 1e12, "flops": 1e22}, "all given"),
        ({"flops": 1e22, "law": "chinchila"}, "chinchilla"),
    ],
)
def test_what_does_not_fit_together_is_said(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        estimate(replace(WISH, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [{"money_usd": -1.0}, {"days": 0.0}, {"flops": float("nan")}, {"tokens": 1e40},
     {"n_chips": 0, "days": 1.0}, {"flops": 1e22, "scheme": "stolen"},
     {"flops": 1e22, "region": "atlantis"}, {"flops": 1e22, "goodput": 1.5}],
)  # fmt: skip
def test_numbers_out_of_range_are_named(changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        estimate(replace(WISH, **changes))  # type: ignore[arg-type]
