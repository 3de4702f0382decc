from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.errors import InputError
from groundup.plan.hyperparameters import (
    batch_cost,
    critical_batch,
    gradient_noise_scale,
    hyperparameters,
    mup,
)


def test_s1_23_step_law() -> None:
    (step,) = (each for each in hyperparameters(1e9, 1e11) if each.default)
    assert step.law == "step-law"
    assert step.learning_rate == pytest.approx(1.632e-3, rel=0.01)
    assert step.batch_tokens == pytest.approx(1.108e6, rel=0.01)
    assert step.steps == pytest.approx(1e11 / 1.108e6, rel=0.01)


def test_the_other_laws_as_printed() -> None:
    by_law = {each.law: each for each in hyperparameters(1e9, 1e11, flops=1e20)}
    assert by_law["deepseek"].learning_rate == pytest.approx(0.3118 * 1e20**-0.125)
    assert by_law["deepseek"].batch_tokens == pytest.approx(0.2920 * 1e20**0.3271)
    assert by_law["porian"].learning_rate == pytest.approx(3.7 * 1e9**-0.36)
    assert by_law["porian"].batch_tokens == pytest.approx(0.7576 * 1e9**0.703)
    one_pf_day = {each.law: each for each in hyperparameters(1e9, 1e11, flops=8.64e19)}
    assert one_pf_day["kaplan-critical-batch"].batch_tokens == pytest.approx(2e6)
    assert one_pf_day["kaplan-critical-batch"].learning_rate is None


def test_deepseek_is_near_what_deepseek_used() -> None:
    """Their 7B on 2T tokens: a rate of 4.2e-4, batches of 2,304 sequences of 4,096."""
    (at_7b,) = (e for e in hyperparameters(6.9e9, 2e12) if e.law == "deepseek")
    assert at_7b.learning_rate == pytest.approx(4.2e-4, rel=0.1)
    assert at_7b.batch_tokens == pytest.approx(9.4e6, rel=0.15)


def test_the_critical_batch_grows_as_the_loss_falls() -> None:
    assert critical_batch(1.0) == pytest.approx(2e8)
    # Halving the loss: 2^(1/0.21) = 27.1; Kaplan: it doubles for every 13 % of loss.
    assert critical_batch(1.0) / critical_batch(2.0) == pytest.approx(27.1, rel=2e-3)
    assert critical_batch(0.87 * 3) / critical_batch(3.0) == pytest.approx(2, rel=0.05)


@given(st.floats(1e2, 1e8), st.floats(1e2, 1e8))
def test_steps_and_tokens_pay_for_each_other(batch: float, critical: float) -> None:
    cost = batch_cost(batch, critical)
    assert (cost.steps_ratio - 1) * (cost.tokens_ratio - 1) == pytest.approx(1, rel=1e-4)
    # S·B = E: steps times batch are the tokens, and E_min/S_min is the critical batch
    assert cost.tokens_ratio / cost.steps_ratio == pytest.approx(batch / critical, rel=1e-9)


@given(st.floats(0.01, 10), st.floats(0.1, 1e6))
def test_the_noise_scale_comes_back_from_norms_at_two_batches(g2: float, trace: float) -> None:
    small, big = g2 + trace / 32, g2 + trace / 4096
    found = gradient_noise_scale(32, small, 4096, big)
    assert found == pytest.approx(trace / g2, rel=1e-5)


def test_mup_rules() -> None:
    same = mup(256, 256)
    assert (same.hidden_learning_rate, same.hidden_init_std, same.output_logits) == (1, 1, 1)
    assert same.attention_scale == pytest.approx(64**-0.5)  # 1/sqrt(d) at the base
    wide = mup(1024, 256, head_dim=128)
    assert (wide.hidden_learning_rate, wide.hidden_init_std) == (0.25, 0.5)
    assert wide.attention_scale == pytest.approx(8 / 128)


def test_wrong_numbers_are_named() -> None:
    with pytest.raises(InputError, match="params"):
        hyperparameters(-1, 1e9)
    with pytest.raises(InputError, match="flops"):
        hyperparameters(1e9, 1e9, flops=0)
    with pytest.raises(InputError, match="loss"):
        critical_batch(0)
    with pytest.raises(InputError, match="width"):
        mup(0, 256)
    with pytest.raises(InputError, match="must be larger"):
        gradient_noise_scale(64, 1.0, 32, 1.0)
    with pytest.raises(InputError, match="leave no gradient"):
        gradient_noise_scale(32, 1.0, 64, 0.1)
