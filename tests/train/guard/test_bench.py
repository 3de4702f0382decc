"""The benchmark's parts: what is injected, what others do, and going back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from groundup.train.batch import Batch
from groundup.train.guard.bench import events
from groundup.train.guard.bench.baselines import Nothing, SkipStep
from groundup.train.guard.bench.benchmark import (
    CLEAN,
    Result,
    event_step,
    false_alarms,
    share_back,
    summaries,
)
from groundup.train.guard.bench.events import EVENTS
from groundup.train.guard.bench.text import library
from groundup.train.guard.bench.training import Fault, Snapshot, Training, settings_of
from groundup.train.guard.config import GuardConfig
from groundup.train.guard.guard import Guard
from groundup.train.start import new_state
from tests.train.small import MODEL

CONFIG = replace(MODEL, vocab_size=256, context_length=48)


def training(steps=12, policy="rewind", **changed):
    settings = replace(settings_of(0, steps), checkpoint_every=4, attention="bmm", **changed)
    run = Training(new_state(CONFIG, settings), settings, library(), Nothing())
    config = GuardConfig(policy=policy, window=8, armed_after=8)
    run.judge = Guard(config, run.state.guard, run.probe)
    return run


def fault(name, judged):
    return Fault(EVENTS[name], judged, judged, np.random.default_rng(0))


def test_the_text_is_pythons_own_library_and_the_held_out_files_are_not_learnt_from():
    text = library()
    learnt = text.training.tobytes()
    assert b"class Fraction(" in learnt + text.validation.tobytes()
    batch = text.held_out(4, 48)
    assert all(bytes(row.tolist()) not in learnt for row in batch.inputs)
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])


def test_skip_step_decides_as_the_mean_and_standard_deviation_of_torch_do():
    random = np.random.default_rng(0)
    judge, losses, norms = SkipStep(), [], []
    for step in range(400):
        loss, norm = 3 + 0.1 * random.standard_normal(), math.exp(random.standard_normal())
        if step in (100, 150, 151, 152):
            loss = 9.0
        if step == 200:
            loss = math.nan
        losses, norms = [*losses, loss][-129:], [*norms, norm][-129:]
        wanted = True
        if len(losses) >= 64:
            for values in (torch.tensor(losses), torch.tensor(norms)):
                std, mean = torch.std_mean(values[:-1])
                wanted &= bool((values[-1] - mean).abs() / std <= 6)
        verdict = judge.judge(step, 0, 8, loss, norm)
        assert (verdict.action == "apply") == wanted, step
        if 200 <= step <= 328:
            assert not wanted  # a NaN leaves no mean until it has left the window


def test_a_flipped_exponent_bit_makes_one_weight_larger_by_two_to_the_128():
    state = training().state
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    events.flip_bit(state, 0, np.random.default_rng(3))
    changed = [
        (name, was, now.detach())
        for (name, now), was in zip(state.model.named_parameters(), before.values(), strict=True)
        if not torch.equal(now, was)
    ]
    [(name, was, now)] = changed
    assert name.split(".")[-2] in "qkv"
    [place] = torch.nonzero(was != now).tolist()
    ratio = now[tuple(place)].double() / was[tuple(place)].double()
    assert ratio == 2.0**128


def test_a_burst_of_the_learning_rate_is_over_after_three_steps():
    run = training()
    [group, *_] = run.state.optimizers[0].param_groups
    usual, seen = group["peak_lr"], []
    burst = fault("lr_burst", 2)
    for n_judged in range(8):
        burst.strike(run.state, n_judged)
        seen.append(group["peak_lr"] / usual)
    assert seen == pytest.approx([1, 1, 50, 50, 50, 1, 1, 1])


def test_bad_text_lies_at_its_place_of_the_data_however_often_it_is_read():
    batch = Batch(torch.zeros(2, 4, dtype=torch.int64), torch.zeros(2, 4, dtype=torch.int64))
    bad = fault("repeat5", 7)
    spoilt = [bad.spoilt(batch, place) is not batch for place in (6, 7, 11, 12, 7)]
    assert spoilt == [False, True, True, False, True]


def test_a_restored_state_goes_on_to_the_same_bits():
    run = training()
    run.until(5)
    snapshot = Snapshot.of(run.state)
    run.until(9)
    first = run.state.final_hash()
    snapshot.restore(run.state)
    assert run.state.final_hash() != first
    run.judge.memory = run.state.guard
    run.until(9)
    assert run.state.final_hash() == first


def test_after_a_damaged_weight_training_is_that_from_the_checkpoint_without_the_batches_between():
    run = training()
    run.until(6)
    run.until(12, fault("nan_weight", 6))
    [(at, verdict)] = run.outcome.verdicts
    assert (at, verdict.action) == (6, "rewind")

    expected = training()
    expected.until(4)
    expected.state.cursor += 3 * 8  # steps 4 and 5, and the batch at which the damage was seen
    expected.until(12)
    assert run.state.cursor == expected.state.cursor == 15 * 8
    for (name, p), q in zip(
        run.state.model.named_parameters(), expected.state.model.parameters(), strict=True
    ):
        assert torch.equal(p, q), name


def test_without_a_guard_a_weight_that_is_no_number_is_the_end():
    run = training()
    run.judge = Nothing()
    run.until(12, fault("nan_weight", 6))
    assert run.outcome.is_lost
    assert math.isnan(run.finish().loss)


def test_every_policy_meets_a_seeds_fault_at_the_same_step_between_two_checkpoints():
    steps = [event_step(400, seed) for seed in range(50)]
    assert steps == [event_step(400, seed) for seed in range(50)]
    assert set(steps) <= set(range(200, 220))
    assert len(set(steps)) > 10


def result(policy, event, seed, loss, latency=None, **fields):
    usual = {
        "n_scored": 500, "n_alarms": 0, "n_skipped": 0, "n_rewinds": 0, "n_suspicions": 0,
        "n_extra": 0, "stopped": "", "why": "",
    }  # fmt: skip
    return Result(policy, event, seed, loss, latency, **{**usual, **fields})


def test_a_run_is_compared_with_the_one_of_its_seed_in_which_nothing_was_done():
    results = [
        result("clipping", CLEAN, 0, 2.0),
        result("clipping", CLEAN, 1, 3.0),
        result("guard", CLEAN, 0, 2.001, n_alarms=1, n_suspicions=2),
        result("guard", CLEAN, 1, 3.0),
        result("guard", "nan_weight", 0, 2.019, 0, n_rewinds=1),
        result("guard", "nan_weight", 1, 3.021, 2, n_rewinds=1),
        result("guard", "poison1", 0, 1.5, 0, n_skipped=1),
        result("guard", "poison1", 1, math.nan, stopped="gave up"),
        result("guard", "rows_x200", 0, 9.0),
    ]
    every = {(each.policy, each.event): each for each in summaries(results)}
    assert every["guard", CLEAN].differences == pytest.approx([0.001, 0.0])
    nan = every["guard", "nan_weight"]
    assert nan.differences == pytest.approx([0.019, 0.021])
    assert (nan.n_back, nan.n_detected, nan.latency, nan.n_rewinds) == (1, 2, 1.0, 2)
    poison = every["guard", "poison1"]
    assert (poison.n_back, poison.n_detected, poison.n_stopped, poison.n_skipped) == (1, 1, 1, 1)
    assert share_back(list(every.values()), "guard") == (2, 4)  # of those that are counted
    assert false_alarms(results, "guard") == (1, 2, 1000)
