"""The checks as the loop calls them, in one process: what they see, and what they leave alone."""

import socket

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.errors import CorruptError
from groundup.train.integrity.config import IntegrityConfig
from groundup.train.integrity.finding import error_of
from groundup.train.optimizers.groups import build_optimizers
from groundup.train.state import rng_state
from tests.train.integrity.damage import Walk, flip

NONE = IntegrityConfig(compare_every=None)
SUMS = IntegrityConfig(checksum_every=1, compare_every=None)
HOST = socket.gethostname()


def test_a_healthy_run_has_the_same_bits_with_all_checks_and_without():
    hashes = []
    for config in (NONE, IntegrityConfig(checksum_every=1, compare_every=1, replay_every=2)):
        walk = Walk(config=config)
        for _ in range(5):
            assert walk.step() == []
        hashes.append((walk.state.final_hash(), rng_state()))
    assert hashes[0] == hashes[1]


@pytest.fixture(scope="module")
def walk():
    walk = Walk(config=SUMS)
    walk.step()
    return walk


@settings(max_examples=60)
@given(st.integers(0), st.integers(0), st.integers(0, 31))
def test_any_flipped_bit_of_a_weight_or_a_state_is_named_before_the_next_update(
    walk, which, place, bit
):
    groups = walk.state.tensors()
    tensors = [("weight", *item) for item in groups["model"].items()]
    tensors += [("optimizer state", *item) for item in groups["optimizer"].items()]
    kind, name, tensor = tensors[which % len(tensors)]
    flip(tensor, bit, place % tensor.numel())
    (finding,) = walk.checks.before_update(walk.state)
    assert (finding.kind, finding.tensor, finding.rank, finding.hosts) == (kind, name, 0, (HOST,))
    flip(tensor, bit, place % tensor.numel())
    assert walk.checks.before_update(walk.state) == []


def test_scaled_rows_that_no_loss_shows_are_named():
    walk = Walk(config=SUMS)
    walk.step()
    walk.state.model.blocks[1].feed_forward.up.weight.data[:16] *= 200
    assert [one.tensor for one in walk.step()] == ["blocks.1.feed_forward.up.weight"]


def test_only_every_kth_update_is_summed():
    walk = Walk(config=IntegrityConfig(checksum_every=3, compare_every=None))
    damaged = []
    for step in range(1, 8):
        walk.step()
        flip(walk.state.model.embed.weight, 0)
        if walk.checks.before_update(walk.state):
            damaged.append(step)
        walk.checks.forget()
    assert damaged == [3, 6]


def test_what_is_written_on_purpose_is_forgotten_first():
    walk = Walk(config=SUMS)
    walk.step()
    flip(walk.state.model.embed.weight, 5)
    walk.checks.forget()
    assert walk.step() == []
    assert walk.checks.before_update(walk.state) == []


def test_a_hot_swap_of_the_optimizer_is_no_corruption():
    walk = Walk(config=SUMS)
    walk.step()
    names = walk.state.tensors()["optimizer"].keys()
    others = build_optimizers(walk.state.model, walk.settings)
    for new, old in zip(others, walk.state.optimizers, strict=True):
        for parameter, state in old.state.items():
            new.state[parameter] = {name: tensor + 1 for name, tensor in state.items()}
    walk.state.optimizers = others
    assert walk.state.tensors()["optimizer"].keys() == names
    assert walk.checks.before_update(walk.state) == []


def test_other_optimizer_states_than_those_summed_are_no_corruption():
    walk = Walk(config=SUMS)
    walk.step()
    walk.state.optimizers[0].state.clear()
    assert walk.checks.before_update(walk.state) == []


@pytest.mark.parametrize(("wrong_at", "n_times"), [({0}, 3), ({1}, 3), ({0, 1}, 3), (set(), 2)])
def test_of_three_computations_two_equal_ones_decide(wrong_at, n_times):
    # {0, 1}: the first two are wrong in different bits, so none is believed.
    sound, walk = Walk(config=NONE), Walk(config=IntegrityConfig(replay_every=1))
    calls = []

    def wrong(found):
        if len(calls) in wrong_at:
            flip(walk.state.model.embed.weight.grad, 20 + len(calls))
        calls.append(1)

    for each in (sound, walk):
        torch.manual_seed(2)
        each.step()  # step 0 is never replayed
    torch.manual_seed(3)
    findings = walk.step(wrong)
    assert len(calls) == n_times
    assert [(one.check, one.tensor, one.rank) for one in findings] == (
        [("replay", "embed.weight", 0)] if wrong_at else []
    )
    if not wrong_at:
        return
    kept = []
    torch.manual_seed(3)
    sound.step(lambda found: kept.append(sound.state.model.embed.weight.grad.clone()))
    # The gradients that stayed are those of a sound machine.
    assert torch.equal(walk.state.model.embed.weight.grad, kept[0])


def test_a_wrong_loss_is_a_difference_too():
    walk = Walk(config=IntegrityConfig(replay_every=1))
    walk.step()
    calls = []

    def wrong(found):
        if not calls:
            flip(found.loss, 3)
        calls.append(1)

    (finding,) = walk.step(wrong)
    assert finding.tensor == "of the loss"


def test_the_error_names_tensor_rank_and_host():
    walk = Walk(config=SUMS)
    walk.step()
    flip(walk.state.model.head.weight, 30)
    error = error_of(walk.step(), "runs/r")
    assert isinstance(error, CorruptError)
    assert error.message.startswith(f"weight head.weight on rank 0 ({HOST}) changed between")
    assert HOST in error.fix
    assert error.code == 2
