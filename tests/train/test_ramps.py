from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from groundup.errors import ConfigError
from groundup.train.batch import Batch, counts_of, within_documents
from groundup.train.config import PretrainConfig, unsettled
from groundup.train.objectives import next_token_loss
from groundup.train.ramps import (
    batch_size_at,
    cut_rows,
    samples_before,
    sequence_length_at,
    steps_for,
)
from tests.train.small import SETTINGS, batch
from tests.train.test_loss import model_of

ramps = st.builds(
    lambda start, times, steps: (start * times, {"start": start, "steps": steps}),
    st.integers(1, 16),
    st.integers(2, 12),
    st.integers(1, 100),
)


@given(ramps, st.integers(0, 150))
def test_samples_are_the_sum_of_the_batches(ramp, step):
    settings = replace(SETTINGS, batch_size=ramp[0], batch_size_ramp=ramp[1])
    assert samples_before(settings, step) == sum(batch_size_at(settings, i) for i in range(step))


@given(ramps)
def test_the_batch_climbs_equal_stairs_of_equal_length(ramp):
    full, start, steps = ramp[0], ramp[1]["start"], ramp[1]["steps"]
    settings = replace(SETTINGS, batch_size=full, batch_size_ramp=ramp[1])
    sizes = [batch_size_at(settings, step) for step in range(steps + 5)]
    assert sizes == sorted(sizes)
    assert sizes[0] == start
    assert sizes[steps:] == [full] * 5
    lengths = [sizes[:steps].count(size) for size in range(start, full, start)]
    assert sum(lengths) == steps  # no other sizes
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("smaller", [1, 3, 8])
def test_a_full_size_lowered_on_the_way_is_never_passed(smaller):
    settings = replace(SETTINGS, batch_size=smaller, batch_size_ramp={"start": 4, "steps": 10})
    assert all(1 <= batch_size_at(settings, step) <= smaller for step in range(15))


@given(ramps, st.integers(0, 5000))
def test_steps_for_rows_are_the_fewest(ramp, n_rows):
    settings = replace(SETTINGS, batch_size=ramp[0], batch_size_ramp=ramp[1])
    steps = steps_for(n_rows, *ramp)
    assert samples_before(settings, steps) >= n_rows
    assert steps == 0 or samples_before(settings, steps - 1) < n_rows


def test_without_ramps_nothing_changes():
    assert batch_size_at(SETTINGS, 0) == SETTINGS.batch_size
    assert sequence_length_at(SETTINGS, 0) == SETTINGS.context_length
    assert samples_before(SETTINGS, 7) == 7 * SETTINGS.batch_size
    whole = Batch(*batch())
    assert cut_rows(whole, 16) is whole


def test_sequence_lengths_follow_the_straight_line_down_to_divisors():
    """Li et al., section 4: start + (full - start) · min(step / steps, 1)."""
    ramp = {"start": 8, "steps": 200}
    settings = replace(SETTINGS, context_length=96, sequence_length_ramp=ramp)
    for step in range(250):
        line = 8 + (96 - 8) * min(step / 200, 1)
        length = sequence_length_at(settings, step)
        assert 96 % length == 0
        assert length <= line
        assert not any(96 % n == 0 for n in range(length + 1, int(line) + 1))
    assert {sequence_length_at(settings, step) for step in range(250)} == {
        8, 12, 16, 24, 32, 48, 96,
    }  # fmt: skip


def test_the_loss_of_cut_rows_is_that_of_each_piece_alone():
    model, (inputs, targets) = model_of("gpt2"), batch()
    cut = cut_rows(Batch(inputs, targets), 4)
    assert cut.inputs.shape == (16, 4)
    found = next_token_loss(model, cut, counts_of(cut))
    pieces = [
        F.cross_entropy(model(row[None, i : i + 4])[0], wanted[i : i + 4], reduction="sum")
        for row, wanted in zip(inputs, targets, strict=True)
        for i in range(0, 16, 4)
    ]
    assert found.item() == pytest.approx(sum(pieces).item() / 64, rel=1e-6)


def test_documents_stay_apart_in_cut_rows_and_start_at_place_zero():
    inputs = torch.tensor([[0, 5, 6, 7, 0, 8, 9, 9], [1, 2, 0, 3, 4, 4, 4, 4]])
    whole = within_documents(Batch(inputs, inputs), separator_id=0)
    cut, alone = cut_rows(whole, 4), within_documents(Batch(inputs.view(4, 4), inputs), 0)
    assert cut.places.tolist() == alone.places.tolist()
    same = [[[a == b for b in row] for a in row] for row in cut.documents.tolist()]
    assert same == [[[a == b for b in row] for a in row] for row in alone.documents.tolist()]


def settled(**fields):
    return unsettled(PretrainConfig(**fields), context_length=96, seed=0)


def test_ramps_in_tokens_take_about_as_many_tokens():
    ramp = {"start": 4, "tokens": 200_000}
    fields = settled(batch_size=32, batch_size_ramp=ramp)["batch_size_ramp"]
    settings = replace(SETTINGS, batch_size=32, batch_size_ramp=fields)
    assert samples_before(settings, fields["steps"]) * 96 == pytest.approx(200_000, rel=0.02)
    found = settled(batch_size=32, sequence_length_ramp={"start": 8, "tokens": 32 * 96 * 50})
    assert found["sequence_length_ramp"] == {"start": 8, "steps": 50}


@pytest.mark.parametrize("start", [5, 32, 64])
def test_a_start_that_is_no_divisor_is_refused(start):
    with pytest.raises(ConfigError, match="no smaller divisor of 32"):
        settled(batch_size=32, batch_size_ramp={"start": start, "steps": 9})


@pytest.mark.parametrize("start", [5, 96, 192])
def test_a_first_length_that_is_no_divisor_is_refused(start):
    with pytest.raises(ConfigError, match="no smaller divisor of 96"):
        settled(sequence_length_ramp={"start": start, "steps": 9})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"batch_size_ramp": {"start": 4}}, "steps or tokens, one of the two"),
        ({"batch_size_ramp": {"start": 4, "steps": 1, "tokens": 1}}, "one of the two"),
        (
            {"sequence_length_ramp": {"start": 4, "steps": 1}, "objective": {"kind": "masked"}},
            "cuts rows of objective.kind causal only",
        ),
    ],
)
def test_ramps_that_cannot_be_are_refused(fields, problem):
    with pytest.raises(ValidationError, match=problem):
        PretrainConfig(**fields)
