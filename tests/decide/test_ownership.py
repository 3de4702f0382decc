from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.decide.ownership import (
    decoding_factor,
    ownership,
    served_usd_per_token,
    serving,
    volume_over,
)
from groundup.errors import InputError
from groundup.plan.hardware import find_chip

BLOG: dict[str, Any] = {"train_usd": 5e6, "usd_per_token": 2e-5, "margin": 0.6}


def test_the_blogs_example_as_it_should_be() -> None:
    """Acceptance rows S5-11 and S5-12."""
    found = ownership(**BLOG, responses_per_day=1e8)
    assert found.usd_per_token == 8e-6
    assert found.break_even_tokens == 6.25e11
    assert found.break_even_responses == pytest.approx(2.083e9, rel=1e-3)
    assert found.break_even_days == pytest.approx(20.8, rel=2e-3)
    assert any("20 billion" in note and "2.083" in note for note in found.notes)


def test_a_billion_queries_a_day_take_two_days() -> None:
    assert ownership(**BLOG, responses_per_day=1e9).break_even_days == pytest.approx(2.08, rel=2e-3)


def test_the_cost_itself_needs_no_margin() -> None:
    assert ownership(5e6, 8e-6).break_even_tokens == 6.25e11
    assert ownership(5e6, 8e-6).break_even_days is None


def test_the_blog_is_only_mentioned_where_it_is_asked() -> None:
    assert ownership(5e6, 9e-6).notes == ()


def test_tokens_a_day_and_responses_a_day_are_one_volume() -> None:
    by_tokens = ownership(**BLOG, tokens_per_day=3e10)
    by_responses = ownership(**BLOG, responses_per_day=1e8, tokens_per_response=300)
    assert by_tokens.break_even_days == by_responses.break_even_days
    with pytest.raises(InputError, match="tokens a day"):
        ownership(**BLOG, tokens_per_day=1, responses_per_day=1e8)


@given(
    train=st.floats(1e3, 1e9),
    own=st.floats(1e-9, 1e-4),
    factor=st.floats(1.01, 100),
    people=st.floats(0, 1e6),
)
def test_at_the_break_even_both_cost_the_same(
    train: float, own: float, factor: float, people: float
) -> None:
    found = ownership(
        train,
        own,
        api_usd_per_token=own * factor,
        people_usd_per_month=people,
        horizon_months=12,
    )
    volume = found.api_break_even_tokens
    assert volume is not None
    owning = train + 12 * people + volume * found.usd_per_token
    assert math.isclose(owning, volume * own * factor, rel_tol=1e-6)


@pytest.mark.parametrize("api", [8e-6, 7e-6])
def test_owning_never_pays_where_a_bought_token_costs_no_more(api: float) -> None:
    found = ownership(5e6, 8e-6, api_usd_per_token=api)
    assert found.api_break_even_tokens is None
    assert any("never" in note for note in found.notes)


def test_idle_capacity_is_paid_too() -> None:
    assert ownership(5e6, 8e-6, utilisation=0.5).usd_per_token == pytest.approx(16e-6)


def test_a_horizon_adds_training_inference_and_people() -> None:
    found = ownership(
        5e6,
        8e-6,
        tokens_per_day=1e9,
        people_usd_per_month=50_000,
        horizon_months=24,
        api_usd_per_token=2e-5,
    ).horizon
    assert found is not None
    tokens = 1e9 * 365.25 * 2
    assert found.tokens == pytest.approx(tokens)
    assert found.total_usd == pytest.approx(5e6 + tokens * 8e-6 + 24 * 50_000)
    assert found.api_usd == pytest.approx(tokens * 2e-5)
    assert found.usd_per_token == pytest.approx(found.total_usd / tokens)


def test_growth_is_a_geometric_sum() -> None:
    assert volume_over(1.0, 3, 0.1) == pytest.approx(1 + 1.1 + 1.21)
    assert volume_over(7.0, 12) == 84


@given(
    train=st.floats(1e3, 1e9),
    daily=st.floats(1e6, 1e12),
    people=st.floats(0, 1e6),
    horizon=st.none() | st.integers(1, 60),
)
def test_with_a_volume_the_tokens_are_those_of_the_days(
    train: float, daily: float, people: float, horizon: int | None
) -> None:
    """One definition: what was bought by then costs what training, serving and people do."""
    found = ownership(
        train, 8e-6, api_usd_per_token=2e-5, tokens_per_day=daily, people_usd_per_month=people,
        horizon_months=horizon,
    )  # fmt: skip
    days, tokens = found.api_break_even_days, found.api_break_even_tokens
    assert (days is None) == (tokens is None)
    if days is None or tokens is None:
        return
    assert tokens == pytest.approx(days * daily)
    owning = train + tokens * 8e-6 + people * days / (365.25 / 12)
    assert owning == pytest.approx(tokens * 2e-5, rel=1e-6)


def test_decoding_one_sequence_reads_all_weights_for_each_token() -> None:
    """Llama 2 70B at 16 bits on H100s of 3.35 TB/s: 140 GB take 41.8 ms of one chip's bandwidth."""
    chip = find_chip("H100-SXM")
    one = serving(70e9, chip)
    assert one.weights_bytes == 140e9
    assert one.output_seconds == pytest.approx(140e9 / 3.35e12)
    assert one.bound == "memory"
    assert one.n_chips == 3  # 182 GB with the margin, 80 GB each
    assert serving(70e9, chip, bits=4).output_seconds == pytest.approx(one.output_seconds / 4)
    assert serving(70e9, chip, batch=8).output_seconds == pytest.approx(one.output_seconds / 8)


def test_a_large_batch_ends_at_the_arithmetic() -> None:
    chip = find_chip("H100-SXM")
    one = serving(7e9, chip, batch=4096)
    assert one.bound == "compute"
    assert one.output_seconds == pytest.approx(14e9 / chip.attainable("bf16"))
    assert one.output_seconds == one.input_seconds


def test_the_factor_needs_no_size() -> None:
    chip = find_chip("A100-SXM-80")
    assert decoding_factor(chip) == 1
    assert decoding_factor(chip, bits=8) == pytest.approx(0.5)
    assert decoding_factor(chip, batch=10) == pytest.approx(0.1)
    floor = decoding_factor(chip, bits=4, batch=10**6)
    assert floor == pytest.approx((2 / chip.attainable("bf16")) / (2 / 2.039e12))


def test_a_served_token_costs_its_chip_seconds() -> None:
    chip = find_chip("A100-SXM-80")
    usd = served_usd_per_token(7e9, chip, 3600.0, batch=1)
    assert usd == pytest.approx(14e9 / 2.039e12)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"train_usd": 0}, "train_cost"),
        ({"train_usd": float("nan")}, "train_cost"),
        ({"usd_per_token": -1}, "cost_per_token"),
        ({"margin": 1.0}, "margin"),
        ({"margin": 60}, "margin"),
        ({"utilisation": 0}, "utilisation"),
        ({"utilisation": 1.5}, "utilisation"),
        ({"tokens_per_day": 0}, "tokens_per_day"),
        ({"responses_per_day": -3}, "responses_per_day"),
        ({"tokens_per_response": 0}, "tokens_per_response"),
        ({"api_usd_per_token": 0}, "api_price_per_token"),
        ({"people_usd_per_month": -5}, "people_per_month"),
        ({"growth_per_month": -1}, "growth_per_month"),
        ({"train_usd": 1e300}, "train_cost"),
        ({"usd_per_token": 1e-300}, "cost_per_token"),
        ({"api_usd_per_token": 1e300}, "api_price_per_token"),
        ({"utilisation": 1e-300}, "utilisation"),
        ({"tokens_per_response": 1e30}, "tokens_per_response"),
        ({"responses_per_day": 1e19}, "responses_per_day"),
        ({"people_usd_per_month": 1e300}, "people_per_month"),
    ],
)
def test_a_number_out_of_range_is_named(wrong: dict[str, float], name: str) -> None:
    with pytest.raises(InputError, match=name):
        ownership(**{**BLOG, **wrong})


@pytest.mark.parametrize(
    ("wrong", "name"), [({"bits": 5}, "5 bits"), ({"batch": 0}, "batch"), ({"params": 1}, "params")]
)
def test_a_serving_that_cannot_be_is_refused(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=name):
        serving(**{"params": 7e9, "chip": find_chip("H100-SXM"), **wrong})


def test_people_are_paid_every_day_until_owning_pays() -> None:
    """$12 saved a day for each 1e6 tokens, $10 a day of people: $1000 of training in 500 days."""
    people = 10 * 365.25 / 12
    found = ownership(
        1000, 8e-6, api_usd_per_token=2e-5, tokens_per_day=1e6, people_usd_per_month=people
    )
    assert found.api_break_even_days == pytest.approx(500)
    slower = ownership(
        1000, 8e-6, api_usd_per_token=2e-5, tokens_per_day=5e5, people_usd_per_month=people
    )
    assert slower.api_break_even_days is None
    assert any("people cost more" in note for note in slower.notes)
