"""What the guard decides, step by step, from numbers alone."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.train.guard.config import GuardConfig
from groundup.train.guard.guard import Guard, Verdict
from groundup.train.guard.memory import GuardMemory

USUAL = (2.0, 1.0)  # loss and gradient norm, also of the probe
SPIKE = (9.0, 10.0)
NAN = (math.nan, math.nan)
BATCH = 4


@dataclass
class Run:
    """Stands where the loop does: a guard, a step, a cursor, and weights that may be damaged."""

    config: GuardConfig
    probe: tuple[float, float] = USUAL
    step: int = 0
    cursor: int = 0
    n_probes: int = 0
    seen: list[Verdict] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.guard = Guard(self.config, GuardMemory(), self._probe)

    def _probe(self) -> tuple[float, float]:
        self.n_probes += 1
        return self.probe

    def calm(self, n: int = 64) -> Run:
        for number in range(n):
            assert self.judge(2.0 + 0.01 * (number % 5), 1.0).action == "apply"
        return self

    def judge(self, loss: float, grad_norm: float) -> Verdict:
        verdict = self.guard.judge(self.step, self.cursor, BATCH, loss, grad_norm)
        self.seen.append(verdict)
        if verdict.action == "apply":
            self.guard.accepted(loss, grad_norm)
            self.step += 1
        if verdict.action in ("apply", "skip"):
            self.cursor += BATCH
        return verdict

    def back(self, verdict: Verdict, to_step: int) -> None:
        """As `train.recovery`."""
        before = self.guard.memory
        restored = GuardMemory.from_dict(json.loads(json.dumps(before.to_dict())))
        self.cursor += BATCH * (1 + verdict.details["more_batches"])
        self.guard.rewound(restored, before, self.step, to_step, self.cursor, verdict.why)
        self.step = to_step


def run_of(policy: str, **fields: Any) -> Run:
    return Run(GuardConfig.model_validate({"policy": policy, **fields}))


def test_off_takes_every_finite_step_and_stops_at_the_first_that_is_not() -> None:
    run = run_of("off").calm()
    assert run.judge(*SPIKE) == Verdict("apply")
    verdict = run.judge(*NAN)
    assert verdict.action == "stop"
    assert "the loss is nan" in verdict.why


def test_warn_says_a_spike_and_takes_it_and_leaves_out_what_is_not_finite() -> None:
    run = run_of("warn").calm()
    verdict = run.judge(*SPIKE)
    assert verdict.action == "apply"
    assert "9" in verdict.why
    assert run.guard.memory.losses[-1] != 9.0
    assert [run.judge(*NAN).action for _ in range(8)] == ["skip"] * 7 + ["stop"]
    assert run.n_probes == 0


def test_under_warn_a_level_that_has_moved_becomes_the_usual_one() -> None:
    run = run_of("warn").calm()
    verdicts = [run.judge(4.0, 1.0) for _ in range(200)]
    assert all(verdict.why for verdict in verdicts[:64])
    assert not any(verdict.why for verdict in verdicts[64:])


def test_skip_leaves_batches_out_up_to_the_cap_in_a_row() -> None:
    run = run_of("skip", max_skips=5).calm()
    window = list(run.guard.memory.losses)
    verdicts = [run.judge(*SPIKE) for _ in range(6)]
    assert [verdict.action for verdict in verdicts] == ["skip"] * 5 + ["stop"]
    assert run.guard.memory.losses == window
    assert [each["cursor"] for each in run.guard.memory.skips] == [256, 260, 264, 268, 272]
    assert verdicts[1].details["samples"] == [260, 264]
    assert "5 batches in a row" in verdicts[-1].why
    assert verdicts[-1].details["fix"]


def test_skip_leaves_out_at_most_a_share_of_the_last_thousand_batches() -> None:
    run = run_of("skip", max_skipped_share=0.01, window=8, armed_after=8).calm()
    actions = []
    for _ in range(11):
        actions.append(run.judge(*SPIKE).action)
        run.calm(3)
    assert actions == ["skip"] * 10 + ["stop"]
    run = run_of("skip", max_skipped_share=0.01, window=8, armed_after=8).calm()
    for _ in range(12):  # 10 in a thousand, for ever
        assert run.judge(*SPIKE).action == "skip"
        run.calm(100)


def test_a_spike_with_a_healthy_probe_is_a_bad_batch() -> None:
    run = run_of("rewind").calm()
    run.guard.before_checkpoint(64)
    verdict = run.judge(*SPIKE)
    assert verdict.action == "skip"
    assert "it is the batch" in verdict.why
    assert verdict.details["probe"] == list(USUAL)
    assert verdict.details["good_probe"] == list(USUAL)
    assert verdict.details["loss_z"] > 6


@pytest.mark.parametrize(
    ("probe", "is_damage"),
    [
        ((2.39, 1.0), False),
        ((2.41, 1.0), True),
        ((1.9, 31.0), False),  # steep, but better: seen in clean runs
        ((2.0, 29.0), False),
        ((2.0, 31.0), True),
        ((2.19, 3.1), False),
        ((2.21, 2.9), False),
        ((2.21, 3.1), True),
        ((math.nan, 1.0), True),
        ((2.0, math.inf), True),
    ],
)
def test_the_probe_tells_damaged_weights(probe: tuple[float, float], is_damage: bool) -> None:
    run = run_of("rewind").calm()
    run.guard.before_checkpoint(64)
    run.probe = probe
    verdict = run.judge(*SPIKE)
    assert verdict.action == ("rewind" if is_damage else "skip")
    assert ("the weights are damaged" in verdict.why) == is_damage
    json.dumps(verdict.details, allow_nan=False)


def test_before_the_first_checkpoint_only_what_is_not_finite_is_damage() -> None:
    run = run_of("rewind").calm()
    run.probe = (100.0, 100.0)
    assert run.judge(*SPIKE).action == "skip"
    run.probe = NAN
    assert run.judge(*NAN).action == "rewind"


def test_a_gradient_norm_alone_is_taken_where_the_probe_is_healthy() -> None:
    run = run_of("rewind").calm()
    run.guard.before_checkpoint(64)
    assert run.n_probes == 1
    assert run.judge(2.0, math.exp(0.9)) == Verdict("apply")
    assert run.n_probes == 2
    assert run.guard.memory.grad_norms[-1] == pytest.approx(math.exp(0.9))
    run.probe = (3.0, 1.0)
    assert run.judge(2.0, math.exp(0.9)).action == "rewind"


@pytest.mark.parametrize("step", [(2.21, 1.0), (2.0, math.exp(0.61))])  # z 4.7; z 6.1
def test_from_three_quarters_of_a_limit_on_the_weights_are_looked_at(
    step: tuple[float, float],
) -> None:
    run = run_of("rewind").calm()
    run.guard.before_checkpoint(64)
    assert run.judge(*step) == Verdict("apply")
    assert run.n_probes == 2
    assert run.judge(2.1, math.exp(0.5)) == Verdict("apply")
    assert run.n_probes == 2
    run.probe = (3.0, 1.0)
    verdict = run.judge(*step)
    assert verdict.action == "rewind"
    assert "above the median" in verdict.why
    other = run_of("warn").calm()
    assert other.judge(*step) == Verdict("apply")


def test_too_many_bad_batches_in_a_row_count_as_damage() -> None:
    run = run_of("rewind", max_skips=3).calm()
    run.guard.before_checkpoint(64)
    actions = [run.judge(*SPIKE).action for _ in range(4)]
    assert actions == ["skip"] * 3 + ["rewind"]
    run.back(run.seen[-1], 60)
    assert [run.judge(*SPIKE).action for _ in range(3)] == ["skip"] * 3  # counted anew


def test_rewinds_close_after_one_another_go_further_back_then_slower_then_stop() -> None:
    run = run_of("rewind").calm(128)
    run.guard.before_checkpoint(128)
    run.probe = (5.0, 1.0)
    seen = []
    for to_step in (120, 100, 80):
        verdict = run.judge(*SPIKE)
        assert verdict.action == "rewind"
        details = verdict.details
        factor = run.guard.learning_rate_factor(run.step)
        seen.append((details["checkpoints_back"], details["more_batches"], factor))
        run.back(verdict, to_step)
        run.calm(10)
    assert seen == [(1, 0, 1.0), (2, 50, 1.0), (3, 100, 1.0)]
    assert run.guard.learning_rate_factor(80 + 199) == 0.5
    assert run.guard.learning_rate_factor(80 + 200) == 1.0
    last = run.judge(*SPIKE)
    assert last.action == "stop"
    for words in ("from step 128 to 120", "from step 130 to 100", "from step 110 to 80", "0.5"):
        assert words in last.why
    assert "learning_rate" in last.details["fix"]


def test_a_run_that_has_come_far_beyond_the_last_rewind_starts_counting_anew() -> None:
    run = run_of("rewind").calm(128)
    run.guard.before_checkpoint(128)
    run.probe = (5.0, 1.0)
    run.back(run.judge(*SPIKE), 100)
    run.calm(28 + 51)
    assert run.judge(*SPIKE).details["rewinds_in_a_row"] == 1


def test_a_checkpoint_far_behind_is_not_gone_back_to_for_ever() -> None:
    run = run_of("rewind").calm(128)
    run.guard.before_checkpoint(0)
    run.probe = (5.0, 1.0)
    actions = []
    for _ in range(4):  # the same damage again and again, 128 steps after the only checkpoint
        verdict = run.judge(*SPIKE)
        actions.append(verdict.action)
        if verdict.action == "rewind":
            run.back(verdict, 0)
            run.calm(128)
    assert actions == ["rewind"] * 3 + ["stop"]


def test_a_bad_probe_keeps_a_state_from_being_saved() -> None:
    run = run_of("rewind").calm()
    assert run.guard.before_checkpoint(64).action == "apply"
    assert run.guard.memory.probe == list(USUAL)
    run.probe = (2.5, 1.0)
    verdict = run.guard.before_checkpoint(80)
    assert verdict.action == "rewind"
    assert "before the checkpoint of step 80" in verdict.why
    assert run.guard.memory.probe == list(USUAL)


@pytest.mark.parametrize("policy", ["off", "warn", "skip"])
def test_who_does_not_go_back_stops_before_weights_that_are_not_finite_are_saved(
    policy: str,
) -> None:
    run = run_of(policy).calm()
    run.guard.before_checkpoint(64)
    run.probe = (2.5, 1.0)
    worse = run.guard.before_checkpoint(80)
    assert (worse.action, bool(worse.why)) == ("apply", True)
    run.probe = NAN
    assert run.guard.before_checkpoint(100).action == "stop"


def test_the_checkpoint_of_an_interruption_changes_no_later_decision() -> None:
    run = run_of("rewind").calm()
    run.guard.before_checkpoint(64)
    run.probe = (1.5, 0.5)
    assert run.guard.before_checkpoint(70, is_regular=False).action == "apply"
    assert run.guard.memory.probe == list(USUAL)


def test_damage_found_by_others_is_gone_back_before() -> None:
    run = run_of("rewind").calm()
    verdict = run.guard.damaged(64, 256, "rank 1 has other weights")
    assert (verdict.action, verdict.why) == ("rewind", "rank 1 has other weights")
    assert verdict.details["checkpoints_back"] == 1


numbers = st.tuples(
    st.sampled_from([1.9, 2.0, 2.1, 2.2, 5.0, math.nan]),
    st.sampled_from([0.5, 1.0, 2.0, 40.0, math.inf]),
)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["warn", "skip", "rewind"]),
    st.lists(numbers, min_size=1, max_size=60),
    st.integers(0, 59),
)
def test_a_guard_from_its_memory_as_json_decides_as_the_uninterrupted_one(
    policy: str, steps: list[tuple[float, float]], cut: int
) -> None:
    small = {"window": 16, "armed_after": 8, "max_skips": 4}
    one, other = run_of(policy, **small), run_of(policy, **small)
    for number, step in enumerate(steps):
        if number == cut:
            stored = json.loads(json.dumps(other.guard.memory.to_dict()))
            other.guard = Guard(other.config, GuardMemory.from_dict(stored), other._probe)
        verdict = one.judge(*step)
        again = other.judge(*step)
        assert (verdict.action, verdict.why) == (again.action, again.why)
        if verdict.action == "stop":
            return
        if verdict.action == "rewind":
            one.back(verdict, max(0, one.step - 3))
            other.back(again, max(0, other.step - 3))
    assert one.guard.memory == other.guard.memory


def test_a_usual_run_raises_no_alarm() -> None:
    random = np.random.default_rng(0)
    run = run_of("rewind")
    for step in range(600):
        loss = 6 * (step + 10) ** -0.12 + 0.08 * random.standard_normal()
        assert run.judge(loss, math.exp(0.25 * random.standard_normal())) == Verdict("apply")
    assert len(run.guard.memory.losses) == 128
    assert run.n_probes == 0
