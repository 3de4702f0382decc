from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from groundup.tokens.samples import IGNORED
from groundup.train.augment.config import AugmentConfig
from groundup.train.augment.rows import Augmentation
from groundup.train.objective import CAUSAL
from tests.train.small import Tokens

SEPARATOR, LENGTH = 0, 24


def windows(seed, rows=6, length=LENGTH):
    """Rows of one running text with documents in it: inputs and the next tokens."""
    text = np.random.default_rng(seed).integers(0, 12, (rows, length + 1))
    return text[:, :-1], text[:, 1:]


def noise(**fields):
    return Augmentation(AugmentConfig(**fields), SEPARATOR)


def used(row, targets):
    return row[: np.count_nonzero(targets != IGNORED)]


def documents(row):
    """What stands between separators."""
    places = np.flatnonzero(row == SEPARATOR)
    return [part.tolist() for part in np.split(row, places)]


fields = st.fixed_dictionaries(
    {
        "token_drop": st.sampled_from([0.0, 0.3]),
        "span_shuffle": st.just(0.5),
        "span_length": st.integers(2, 6),
    }
)


@given(fields, st.integers(0, 1000))
def test_targets_are_still_the_next_inputs(fields, seed):
    inputs, targets = noise(**fields).of_rows(*windows(seed), seed, 0)
    for row, wanted in zip(inputs, targets, strict=True):
        n = len(used(row, wanted))
        assert (row[1:n] == wanted[: n - 1]).all()
        assert (wanted[n:] == IGNORED).all()
        assert (row[n:] == SEPARATOR).all()


@given(st.integers(0, 1000))
def test_what_is_left_stands_in_the_order_it_stood_in(seed):
    before, after = windows(seed), noise(token_drop=0.4).of_rows(*windows(seed), seed, 0)
    for row, left, wanted in zip(before[0], *after, strict=True):
        rest = iter(row.tolist())
        left = used(left, wanted)
        assert all(token in rest for token in left.tolist())  # a subsequence
        assert (left == SEPARATOR).sum() == (row == SEPARATOR).sum()
        assert left[0] == row[0]
    assert (after[1] == IGNORED).any()


@given(st.integers(0, 1000), st.integers(2, 6))
def test_shuffling_keeps_every_document_and_moves_nothing_far(seed, length):
    before = windows(seed)[0]
    after = noise(span_shuffle=1.0, span_length=length).of_rows(*windows(seed), seed, 0)[0]
    for row, mixed in zip(before, after, strict=True):
        for one, other in zip(documents(row), documents(mixed), strict=True):
            assert sorted(one) == sorted(other)
    # Distinct tokens, to be told apart: each stays within its span.
    row = np.arange(1, LENGTH + 2)[None]
    mixed = noise(span_shuffle=1.0, span_length=length).of_rows(row[:, :-1], row[:, 1:], seed, 0)
    moved = np.abs(mixed[0][0] - np.arange(1, LENGTH + 1))
    assert 0 < moved.max() < length


def test_the_rates_are_the_shares():
    inputs = np.arange(1, 200 * 500 + 2)
    rows = inputs[:-1].reshape(200, 500), inputs[1:].reshape(200, 500)
    _, targets = noise(token_drop=0.2).of_rows(*rows, 0, 0)
    assert (targets == IGNORED).mean() == pytest.approx(0.2, abs=0.005)
    mixed, _ = noise(span_shuffle=0.3, span_length=5).of_rows(*rows, 0, 0)
    # Of five tokens in an order at random one stays in its place on average.
    assert (mixed != rows[0]).mean() == pytest.approx(0.3 * 4 / 5, abs=0.01)


def test_the_end_of_a_piece_keeps_its_own_next_token():
    """Packed rows: a piece's last target is the token behind it, not the next piece's first."""
    pieces = [[0, 5, 6, 7], [0, 8, 9], [4, 3, 2]]  # the last is the middle of a document
    behind = [55, 66, 77]
    inputs = np.array([[token for piece in pieces for token in piece] + [0, 0]])
    targets = np.array([[5, 6, 7, 55, 8, 9, 66, 3, 2, 77, IGNORED, IGNORED]])
    for sample in range(200):
        row, wanted = noise(token_drop=0.5, span_shuffle=0.5, span_length=2).of_rows(
            inputs, targets, 1, sample
        )
        row, wanted = used(row[0], wanted[0]).tolist(), wanted[0].tolist()
        for last in behind:
            place = wanted.index(last)
            next_piece = {55: 0, 66: 4}.get(last)
            assert next_piece is None or row[place + 1] == next_piece
        assert [token for token in row if token in (0, 4)] == [0, 0, 4]


def test_a_rows_noise_hangs_on_the_seed_and_its_number_alone():
    every = noise(token_drop=0.3, span_shuffle=0.3)
    inputs, targets = windows(3)
    whole = every.of_rows(inputs, targets, 7, 100)
    parts = [every.of_rows(inputs[i : i + 2], targets[i : i + 2], 7, 100 + i) for i in (0, 2, 4)]
    for number in (0, 1):
        assert (whole[number] == np.concatenate([part[number] for part in parts])).all()
    assert (whole[0] != every.of_rows(inputs, targets, 8, 100)[0]).any()
    assert (whole[0] != every.of_rows(inputs, targets, 7, 200)[0]).any()


def test_the_batch_of_a_run_has_it_and_other_rows_do_not():
    noisy = replace(CAUSAL, augmentation=noise(token_drop=0.3))
    plain = CAUSAL.batch_at(Tokens(), 7, 0, 4, 16)
    batch = noisy.batch_at(Tokens(), 7, 0, 4, 16)
    assert (batch.targets == IGNORED).any()
    assert not (plain.targets == IGNORED).any()
    asked = noisy.batch_of_rows(plain.inputs.numpy(), plain.targets.numpy(), (0,))
    assert (asked.inputs == plain.inputs).all()


def test_rates_of_zero_are_off():
    assert AugmentConfig().is_off
    with pytest.raises(ValidationError, match="span_length says nothing"):
        AugmentConfig(span_length=4)
    with pytest.raises(ValidationError, match="synonym_rate says nothing"):
        AugmentConfig(synonym_rate=0.5)
