import math
from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from groundup.errors import ConfigError
from groundup.train.config import CHOSEN, PretrainConfig, settle
from groundup.train.ramps import batch_size_at
from groundup.train.schedules import SCHEDULES, learning_rate_ratio
from tests.train.small import SETTINGS


def ratios(**fields):
    settings = replace(SETTINGS, **{"lr_step_every": 7, "lr_half_life": 7, **fields})
    return [learning_rate_ratio(settings, step) for step in range(settings.steps)]


def settled(steps=1000, context_length=16, **fields):
    choice = {**dict.fromkeys(CHOSEN, 1), "steps": steps, "device": "cpu"}
    return settle(PretrainConfig(**fields), choice, context_length=context_length, seed=0)


@given(
    steps=st.integers(1, 300),
    warmup=st.integers(0, 50),
    decay=st.floats(0.01, 1),
    decay_steps=st.none() | st.integers(1, 300),
    floor=st.floats(0, 1),
    schedule=st.sampled_from(sorted(SCHEDULES)),
)
def test_the_ratio_rises_then_never_rises_again_and_stays_within_its_bounds(
    steps, warmup, decay, decay_steps, floor, schedule
):
    values = ratios(
        steps=steps,
        warmup_steps=warmup,
        decay_fraction=decay,
        decay_steps=decay_steps,
        min_lr_ratio=floor,
        schedule=schedule,
    )
    peak = min(warmup, steps)
    assert all(0 <= value <= 1 + 1e-12 for value in values)
    assert values[:peak] == sorted(values[:peak])
    assert values[peak:] == sorted(values[peak:], reverse=True)
    assert all(value >= floor - 1e-12 for value in values[peak:])
    if steps > warmup and schedule != "wsd":
        assert values[warmup] == pytest.approx(1)


def by_torch(steps, scheduler, **fields):
    """The learning rates of one of torch's schedulers, from a peak of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    made = scheduler(optimizer, **fields)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return rates


def test_cosine_equals_torch_scheduler():
    expected = by_torch(50, torch.optim.lr_scheduler.CosineAnnealingLR, T_max=50, eta_min=0.1)
    found = ratios(steps=50, warmup_steps=0, min_lr_ratio=0.1, schedule="cosine")
    assert found == pytest.approx(expected, abs=1e-12)


def test_step_equals_torch_scheduler():
    expected = by_torch(50, torch.optim.lr_scheduler.StepLR, step_size=8, gamma=0.3)
    fields = {"lr_step_every": 8, "lr_step_factor": 0.3}
    found = ratios(steps=50, warmup_steps=0, schedule="step", **fields)
    assert found == pytest.approx(expected, abs=1e-12)
    warm = ratios(steps=60, warmup_steps=10, schedule="step", **fields)
    assert warm[10:] == found


def test_exponential_equals_torch_scheduler_and_halves_over_its_half_life():
    expected = by_torch(50, torch.optim.lr_scheduler.ExponentialLR, gamma=2 ** (-1 / 9))
    found = ratios(steps=50, warmup_steps=0, schedule="exponential", lr_half_life=9)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found[9] == pytest.approx(0.5)


def test_constant_equals_torch_scheduler():
    expected = by_torch(30, torch.optim.lr_scheduler.ConstantLR, factor=1.0, total_iters=5)
    assert ratios(steps=30, warmup_steps=0, schedule="constant") == expected


def by_transformers(name, steps, **fields):
    """The learning rates of one of transformers' schedulers, from a peak of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    made = getattr(transformers, name)(optimizer, **fields)
    return [made.lr_lambdas[0](step) for step in range(steps)]


@pytest.mark.parametrize("warmup", [0, 12])
def test_linear_equals_transformers(warmup):
    expected = by_transformers(
        "get_linear_schedule_with_warmup", 80, num_warmup_steps=warmup, num_training_steps=80
    )
    found = ratios(steps=80, warmup_steps=warmup, schedule="linear")
    assert found[warmup:] == pytest.approx(expected[warmup:], abs=1e-12)


@pytest.mark.parametrize("warmup", [0, 12])
def test_inverse_sqrt_equals_transformers(warmup):
    expected = by_transformers("get_inverse_sqrt_schedule", 80, num_warmup_steps=warmup)
    found = ratios(steps=80, warmup_steps=warmup, schedule="inverse_sqrt")
    assert found[warmup:] == pytest.approx(expected[warmup:], abs=1e-12)


def test_cosine_that_ends_early_equals_transformers_and_stays_on_its_floor():
    expected = by_transformers(
        "get_cosine_with_min_lr_schedule_with_warmup",
        60,
        num_warmup_steps=10,
        num_training_steps=60,
        min_lr_rate=0.1,
    )
    found = ratios(steps=80, warmup_steps=10, decay_steps=50, min_lr_ratio=0.1, schedule="cosine")
    assert found[10:60] == pytest.approx(expected[10:], abs=1e-12)
    assert found[60:] == pytest.approx([0.1] * 20)


@pytest.mark.parametrize("length", [{"decay_fraction": 0.4}, {"decay_steps": 40}])
def test_wsd_equals_transformers_but_for_one_step_at_the_peak(length):
    """Theirs has the peak in the first step of the decay too."""
    expected = by_transformers(
        "get_wsd_schedule",
        100,
        num_warmup_steps=10,
        num_stable_steps=49,
        num_decay_steps=41,
        decay_type="linear",
        min_lr_ratio=0.2,
    )
    found = ratios(steps=100, warmup_steps=10, min_lr_ratio=0.2, **length)
    assert found[10:] == pytest.approx(expected[10:], abs=1e-12)


def test_wsd_is_flat_then_a_straight_line():
    values = ratios(steps=100, warmup_steps=10, decay_fraction=0.4, min_lr_ratio=0.0)
    assert values[10:60] == [1.0] * 50
    falls = {round(a - b, 12) for a, b in pairwise(values[60:])}
    assert len(falls) == 1
    assert math.isclose(values[-1], 1 / 41)


def test_the_opt_preset_is_that_of_the_paper():
    """arXiv:2205.01068, section 2.2: 0.5M tokens a batch, 375M of warm-up, 300B, a tenth."""
    tokens_per_step = 256 * 2048
    steps = 300 * 10**9 // tokens_per_step
    settings = settled(steps, 2048, schedule="opt", batch_size=256)

    def ratio_at(tokens):
        return learning_rate_ratio(settings, round(tokens / tokens_per_step))

    assert ratio_at(375e6) == pytest.approx(1, abs=2e-3)
    assert ratio_at(187.5e6) == pytest.approx(0.5, abs=2e-3)
    assert ratio_at((300e9 + 375e6) / 2) == pytest.approx(0.55, abs=1e-3)
    assert ratio_at(299.9999e9) == pytest.approx(0.1, abs=1e-3)
    largest = settled(steps, 2048, schedule="opt", batch_size=256, warmup_steps=2000)
    assert largest.warmup_steps == 2000
    halved = settled(steps, 2048, schedule="opt", batch_size=256, decay_tokens="150B")
    assert learning_rate_ratio(halved, steps - 1) == pytest.approx(0.1)


def test_lengths_in_tokens_are_those_in_steps():
    # 64 rows of 128 tokens: 8,192 a step
    in_tokens = {"warmup_tokens": 819_200, "decay_tokens": 1_638_400}
    found = settled(context_length=128, batch_size=64, **in_tokens)
    assert (found.warmup_steps, found.decay_steps) == (100, 200)
    more = settled(context_length=128, batch_size=64, warmup_tokens=819_201)
    assert more.warmup_steps == 101
    step = settled(
        context_length=128, batch_size=64, schedule="step", lr_step_every_tokens="81_920"
    )
    assert step.lr_step_every == 10
    half = settled(
        context_length=128, batch_size=64, schedule="exponential", lr_half_life_tokens=40_960
    )
    assert half.lr_half_life == 5


@pytest.mark.parametrize("warmup", [1, 5000, 30_000])
def test_a_warm_up_in_tokens_counts_the_smaller_batches_of_a_ramp(warmup):
    ramp = {"start": 8, "steps": 40}
    settings = settled(context_length=16, batch_size=32, warmup_tokens=warmup, batch_size_ramp=ramp)
    seen = accumulate(16 * batch_size_at(settings, step) for step in range(1000))
    assert settings.warmup_steps == 1 + next(n for n, tokens in enumerate(seen) if tokens >= warmup)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"warmup_steps": 3, "warmup_tokens": 100}, "warmup_steps and warmup_tokens"),
        ({"decay_steps": 3, "decay_tokens": 100}, "decay_steps and decay_tokens"),
        ({"decay_fraction": 0.2, "decay_steps": 3}, "decay_fraction and decay_steps"),
        ({"schedule": "cosine", "decay_fraction": 0.2}, "decay_fraction goes with schedule: wsd"),
        ({"lr_step_every": 3}, "lr_step_every goes with schedule: step"),
        ({"lr_half_life_tokens": 3}, "lr_half_life_tokens goes with schedule: exponential"),
        ({"schedule": "step"}, "schedule step needs lr_step_every"),
        ({"schedule": "exponential"}, "schedule exponential needs lr_half_life"),
    ],
)
def test_what_is_said_twice_or_to_no_one_is_refused(fields, problem):
    with pytest.raises(ValidationError, match=problem):
        PretrainConfig(**fields)


@pytest.mark.parametrize("fields", [{"warmup_tokens": "1M"}, {"schedule": "opt"}])
def test_a_warm_up_in_tokens_that_outlasts_the_run_is_refused(fields):
    with pytest.raises(ConfigError, match="and the run has 1,000"):
        settled(steps=1000, batch_size=4, **fields)


def test_the_defaults_are_what_they_were():
    found = settled()
    assert (found.schedule, found.warmup_steps, found.decay_fraction) == ("wsd", 10, 0.5)
    assert (found.min_lr_ratio, found.clip, found.grad_clip) == (0.0, "global", 1.0)
    assert settled(warmup_steps=0).warmup_steps == 0


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_warm_up_in_steps_is_refused_like_one_in_tokens_but_the_default_never_is(steps):
    with pytest.raises(ConfigError, match=f"takes 1,000 steps, and the run has {steps}") as caught:
        settled(steps=steps, warmup_steps=1000)
    assert caught.value.where == "pretrain.warmup_steps"
    with pytest.raises(ConfigError, match="and the run has"):
        settled(steps=steps, warmup_steps=steps)
    assert settled(steps=steps, warmup_steps=steps - 1).warmup_steps == steps - 1
    assert settled(steps=steps).warmup_steps == 10
