from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.architecture.counts import parameters, training_flops_per_token
from groundup.plan.local.pace import (
    Cadence,
    StepTimes,
    Work,
    cadence,
    near_measured,
    step_times,
)
from tests.plan.local.machines import JOB, MEASURED, machine, step_seconds

OPEN = {"evaluate_every": None, "checkpoint_every": None, "sample_every": None}


def work(n_layers: int, d_model: int) -> Work:
    config = JOB.build(n_layers, d_model)
    flops = training_flops_per_token(config, 256)
    return Work(n_layers, d_model, parameters(config).total, flops)


def times(*works: Work, **changes: object) -> list[StepTimes]:
    return step_times(
        machine(**changes),
        list(works),
        tokens_per_step=4096,
        evaluation_tokens=64 * 256,
    )


def test_duration_adds_up_by_hand() -> None:
    parts = StepTimes(step=0.5, evaluation=2.0, checkpoint=0.1, sample=1.0, measured=True)
    every = Cadence(evaluate_every=30, checkpoint_every=100, sample_every=40)
    # 100 steps; evaluations at 30, 60, 90, 100; one checkpoint; samples at 40, 80, 100
    assert parts.duration(100, every) == pytest.approx(50 + 4 * 2 + 0.1 + 3 * 1)


def test_a_size_not_measured_lies_on_the_line_through_the_measured() -> None:
    (found,) = times(work(5, 320))
    assert not found.measured
    assert found.step == pytest.approx(step_seconds(5, 320), rel=1e-6)
    assert found.evaluation == pytest.approx(found.step / 4 * 4)  # forward is a quarter, 4 batches
    assert found.checkpoint == pytest.approx(0.01 + work(5, 320).parameters * 1e-8, rel=1e-6)


def test_a_measured_size_keeps_its_measurement() -> None:
    steps = list(machine().steps)
    steps[2] = replace(steps[2], seconds_per_step=9.0)
    (found,) = times(work(*MEASURED[2]), steps=tuple(steps))
    assert found.measured
    assert found.step == 9.0


def test_one_measurement_scales_by_arithmetic() -> None:
    (found,) = times(work(6, 384), steps=machine().steps[2:3])
    ratio = work(6, 384).flops_per_token / work(4, 256).flops_per_token
    assert found.step == pytest.approx(step_seconds(4, 256) * ratio)


def test_no_step_is_faster_than_the_matrix_products_in_it() -> None:
    (found,) = times(work(8, 512), matmul_flops_per_second=1e9)
    assert found.step == pytest.approx(work(8, 512).flops_per_token * 4096 / 1e9)


def test_far_beyond_the_measured_sizes_nothing_is_interpolated() -> None:
    assert near_measured(machine(), work(5, 320), 4096)
    assert not near_measured(machine(), work(16, 1024), 4096)


def test_given_intervals_are_kept_and_open_ones_follow_the_clock() -> None:
    given_one = {**OPEN, "checkpoint_every": 7}
    assert cadence(500, 0.5, given_one) == Cadence(
        evaluate_every=50, checkpoint_every=7, sample_every=120
    )


@given(
    seconds=st.floats(1, 1e4),
    step=st.floats(1e-3, 2),
    evaluation=st.floats(0, 5),
    more=st.floats(1, 3),
    every=st.one_of(st.none(), st.integers(1, 200)),
)
def test_steps_within_a_budget_fit_it_and_grow_with_it(
    seconds: float, step: float, evaluation: float, more: float, every: int | None
) -> None:
    parts = StepTimes(step, evaluation, 0.05, 0.2, True)
    asked = {**OPEN, "evaluate_every": every}
    steps = parts.steps_within(seconds, asked)
    if steps:
        assert parts.duration(steps, cadence(steps, step, asked)) <= seconds
    assert parts.steps_within(seconds * more, asked) >= steps
