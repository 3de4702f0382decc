import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groundup.train.schedules import learning_rate_ratio
from tests.train.small import SETTINGS


def ratios(**fields):
    settings = replace(SETTINGS, **fields)
    return [learning_rate_ratio(settings, step) for step in range(settings.steps)]


@given(
    steps=st.integers(1, 300),
    warmup=st.integers(0, 50),
    decay=st.floats(0.01, 1),
    floor=st.floats(0, 1),
    schedule=st.sampled_from(["wsd", "cosine"]),
)
def test_the_ratio_rises_then_never_rises_again_and_stays_within_its_bounds(
    steps, warmup, decay, floor, schedule
):
    values = ratios(
        steps=steps,
        warmup_steps=warmup,
        decay_fraction=decay,
        min_lr_ratio=floor,
        schedule=schedule,
    )
    peak = min(warmup, steps)
    assert all(0 < value <= 1 + 1e-12 for value in values)
    assert values[:peak] == sorted(values[:peak])
    assert values[peak:] == sorted(values[peak:], reverse=True)
    assert all(value >= floor - 1e-12 for value in values[peak:])


def test_cosine_equals_torch_scheduler():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)
    expected = []
    for _ in range(50):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    found = ratios(steps=50, warmup_steps=0, min_lr_ratio=0.1, schedule="cosine")
    assert found == pytest.approx(expected, abs=1e-12)


def test_wsd_is_flat_then_a_straight_line():
    values = ratios(steps=100, warmup_steps=10, decay_fraction=0.4, min_lr_ratio=0.0)
    assert values[10:60] == [1.0] * 50
    falls = {round(a - b, 12) for a, b in pairwise(values[60:])}
    assert len(falls) == 1
    assert math.isclose(values[-1], 1 / 41)
