from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.errors import ConfigError, InputError
from groundup.plan.laws import surface
from groundup.plan.lifetime import Rates, inference_optimal, inference_optimal_by_law


def test_s1_22_thirty_billion_and_ten_trillion_tokens_of_use() -> None:
    """Sardana & Frankle 2024: 13.6B, 2.84 times the data, 28 % fewer FLOPs."""
    found = inference_optimal(30e9, inference_tokens=1e13)
    assert found.params == pytest.approx(13.6e9, rel=0.01)
    assert found.tokens_ratio == pytest.approx(2.84, rel=0.01)
    assert found.saving == pytest.approx(0.28, rel=0.01)
    assert found.loss == pytest.approx(surface("sardana").loss(found.params, found.tokens))


def test_their_first_figure() -> None:
    """13B quality and 2T tokens of use: a 7B model saves 1.7e22 FLOPs, 17 %."""
    found = inference_optimal(13e9, inference_tokens=2e12)
    before = 6 * found.like_params * found.like_tokens + 2 * found.like_params * 2e12
    assert found.params == pytest.approx(7e9, rel=0.02)
    assert found.saving == pytest.approx(0.17, abs=0.005)
    assert before - found.total_flops == pytest.approx(1.7e22, rel=0.02)


@pytest.mark.parametrize(
    ("law", "params", "ratio", "saving"),
    [("besiroglu", 11.6e9, 4.25, 0.427), ("chinchilla-3-printed", 15.9e9, 2.21, 0.18)],
)
def test_other_laws_say_otherwise(law: str, params: float, ratio: float, saving: float) -> None:
    found = inference_optimal_by_law(30e9, inference_tokens=1e13)[law]
    assert found.params == pytest.approx(params, rel=0.01)
    assert found.tokens_ratio == pytest.approx(ratio, rel=0.01)
    assert found.saving == pytest.approx(saving, rel=0.02)


def test_without_use_it_is_the_compute_optimum() -> None:
    found = inference_optimal(30e9, inference_tokens=0)
    assert found.params == pytest.approx(30e9)
    assert found.saving == pytest.approx(0, abs=1e-12)


@given(
    n=st.floats(1e7, 1e12),
    ratio=st.floats(2, 500),
    use=st.floats(1e6, 1e16),
    factor=st.floats(1.001, 3),
    law=st.sampled_from(["sardana", "besiroglu", "muennighoff"]),
)
def test_no_other_size_of_the_same_loss_costs_less(
    n: float, ratio: float, use: float, factor: float, law: str
) -> None:
    found = inference_optimal(n, n * ratio, inference_tokens=use, law=law)
    of = surface(law)
    assert of.loss(found.params, found.tokens) == pytest.approx(found.loss, rel=1e-9)
    assert found.saving >= -1e-9
    for other in (found.params * factor, found.params / factor):
        tokens = of.tokens_for_loss(other, found.loss)
        total = math.inf if tokens is None else 6 * other * tokens + 2 * other * use
        assert total >= found.total_flops * (1 - 1e-9)


EVEN = Rates(3.6, 3.6, 1e15, 1e15, training_mfu=0.5, prefill_mfu=0.5, decode_mfu=0.5)


def test_money_at_even_rates_is_the_flops_form() -> None:
    flops = inference_optimal(30e9, inference_tokens=1e13)
    money = inference_optimal(30e9, inference_tokens=1e13, rates=EVEN)
    assert money.params == pytest.approx(flops.params)
    assert money.saving == pytest.approx(flops.saving)
    assert money.usd == pytest.approx(flops.total_flops * 3.6 / 3600 / 0.5e15)


def test_dear_answers_make_the_model_smaller() -> None:
    """The money form written out: C·6ND/(MFU·F) + C·2N(D_in/MFU_in + D_out/MFU_out)/F."""
    slow = replace(EVEN, decode_mfu=0.01, input_share=0.25, inference_usd_per_hour=7.2)
    found = inference_optimal(30e9, inference_tokens=1e12, rates=slow)
    even = inference_optimal(30e9, inference_tokens=1e12, rates=EVEN)
    assert found.params < even.params
    training = 3.6 / 3600 * 6 * found.params * found.tokens / (0.5 * 1e15)
    use = 7.2 / 3600 * 2 * found.params * (0.25e12 / 0.5 + 0.75e12 / 0.01) / 1e15
    assert found.usd == pytest.approx(training + use)
    assert found.like_usd is not None
    assert found.usd is not None
    assert found.saving == pytest.approx(1 - found.usd / found.like_usd)


def test_wrong_numbers_and_laws_are_named() -> None:
    with pytest.raises(InputError, match="like_params"):
        inference_optimal(0, inference_tokens=1e12)
    with pytest.raises(InputError, match="inference_tokens"):
        inference_optimal(1e9, inference_tokens=-1)
    with pytest.raises(ConfigError, match="no loss surface"):
        inference_optimal(1e9, inference_tokens=1e12, law="kaplan")
    with pytest.raises(InputError, match="decode_mfu is 2"):
        replace(EVEN, decode_mfu=2)
    with pytest.raises(InputError, match="input_share"):
        replace(EVEN, input_share=-0.1)
    with pytest.raises(InputError, match="training_usd_per_hour"):
        replace(EVEN, training_usd_per_hour=0)
