"""The training loop. `train` is the whole idea; everything else is a function it calls.

Notable: a batch is a function of the seed and of the samples used so far, so resume is exact and a
batch can be left out. The loss is a sum over target tokens divided by their count in the *whole*
step, so cutting a batch into micro-batches, or over processes, does not change it. Loss and
gradient norm are looked at before they are applied: what is not finite never is.

    B batch_size   T context_length   V vocab_size
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from groundup.errors import Interrupted
from groundup.train import faults
from groundup.train.asynchronous.local_sgd import synchronise
from groundup.train.average import averaged
from groundup.train.batch import Batch, Counts
from groundup.train.breakdown import Stopwatch
from groundup.train.compile import eagerly
from groundup.train.config import Settings
from groundup.train.distributed import FIRST_STEP_SECONDS, Ranks, barrier, limit_waiting
from groundup.train.guard.guard import Guard, Verdict
from groundup.train.heartbeat import Heart
from groundup.train.hot_swap import Changes
from groundup.train.integrity.checks import IntegrityChecks
from groundup.train.integrity.finding import Finding
from groundup.train.log import Log
from groundup.train.objective import Objective
from groundup.train.parallel.model import whole_model
from groundup.train.prefetch import Prefetch, wanted
from groundup.train.profile import Profile
from groundup.train.ramps import batch_size_at, sequence_length_at
from groundup.train.recovery import Recovery
from groundup.train.state import RunState
from groundup.train.step import Gradients, apply_gradients, gradients


@dataclass(frozen=True)
class Hooks:
    """What the loop asks of higher floors.

    Attributes:
        evaluate: model → metrics, among them ``loss`` (nats per target).
        sample: model → a text.
    """

    evaluate: Callable[[Any], Mapping[str, float]]
    sample: Callable[[Any], str]


@dataclass(frozen=True)
class Training:
    """The parts of a run that the loop brings together.

    Attributes:
        batches: of the steps, made ahead.
        objective: what a batch is for.
        changes: what the settings are at each step.
        hooks: what the loop asks of higher floors.
        guard, checks: what judges each step, and what finds silent corruption.
        recovery: checkpoints, and the way back to one of them.
        log, heart: what is written and shown, and the sign of life.
        stop: whether this process was asked to stop.
        ranks: this process among those of the run.
        profile: told when a step is done and written; None: nothing is profiled.
    """

    batches: Prefetch
    objective: Objective
    changes: Changes
    hooks: Hooks
    guard: Guard
    checks: IntegrityChecks
    recovery: Recovery
    log: Log
    heart: Heart
    stop: Callable[[], bool]
    ranks: Ranks
    profile: Profile | None = None

    @property
    def timer(self) -> Stopwatch:
        """Told what begins, so that the log knows where the time goes."""
        return self.log.timer


def train(state: RunState, run: Training) -> None:
    """Train from ``state.step`` to the last step.

    Raises:
        Interrupted: asked to stop; saved first.
        DivergedError: the guard has tried what it can; the checkpoints are good.
        CorruptError: there is no good checkpoint to go back to.
        StorageError: no checkpoint can be written.
    """
    first, settings = state.step, run.changes.settings_after(state.step)
    run.recovery.begin(state)
    saved = state.step  # of the last save that was waited for
    while True:
        started = time.perf_counter()
        run.timer.at("log")
        settings = run.changes.take_effect(state, settings, run.log)
        if state.step >= settings.steps:
            if state.step == saved:
                break
            # No step knew itself to be the last.
            synchronise(state, settings, run.ranks)
            settings = keep(state, settings, of_step(settings, state.step), run, wait=True)
            saved = state.step
            continue
        now, found, findings = computed(state, settings, run)
        loss, grad_norm = found.numbers()
        verdict = (
            run.recovery.of_corruption(findings, state)
            if findings
            else run.guard.judge(state.step, state.cursor, now.batch_size, loss, grad_norm)
        )
        if verdict.action != "apply":
            if verdict.action != "skip" and not findings:  # if a replica is wrong, it is named
                run.log.corruption(state, run.checks.at_step(state, now=True))
            settings = set_right(verdict, state, settings, now, run)
            if found.told[0] > 0:  # nothing new to save: the same decision is taken again
                said = f"stopped at step {state.step}; its last checkpoint is whole"
                raise interrupted(run, said)
            continue
        if verdict.why:
            run.log.intervention("alarm", state, verdict)

        run.heart.at("optimizer", state.step)
        run.timer.at("optimizer")
        factor = run.guard.learning_rate_factor(state.step) * run.changes.factor(state.step)
        apply_gradients(state, now, found, factor)
        synchronise(state, settings, run.ranks)
        run.timer.at("log")
        run.guard.accepted(loss, grad_norm)
        run.checks.after_update(state)
        faults.point("step", state.step)
        run.log.step(state, now, loss, grad_norm, factor, time.perf_counter() - started)
        tell_profile(state, run)
        if state.step == first + 1:
            limit_waiting(run.ranks)  # the first step may take long, later ones not

        last = state.step == settings.steps
        look(state, settings, run, last)
        # Asked once: what is said to be saved was saved. Several ranks agreed with the gradients.
        stopping = run.stop() if run.ranks.size == 1 else found.told[0] > 0
        if run.recovery.is_due(state.step) or last or stopping:
            settings = keep(state, settings, now, run, wait=last or stopping)
            saved = state.step if last or stopping else saved
        if stopping:
            said = f"stopped after step {state.step} of {settings.steps}, which is saved"
            raise interrupted(run, said)


def computed(
    state: RunState, settings: Settings, run: Training
) -> tuple[Settings, Gradients, list[Finding]]:
    """The step's own settings, the gradients of its batch, and what is not as it must be."""
    now = of_step(settings, state.step)
    run.heart.at("batch", state.step)
    run.timer.at("data")
    batch, counts = batch_of(state, settings, now, run)
    run.heart.at("forward/backward", state.step)
    tell = (float(run.stop()), run.changes.noticed(state.step))
    compute = partial(
        gradients, state, now, batch, counts, run.objective.loss, run.ranks, tell=tell,
        timer=run.timer,
    )  # fmt: skip
    found, findings = run.checks.computed(state, compute)
    run.timer.at("log")
    findings += run.checks.before_update(state) + run.checks.at_step(state)
    run.changes.heard(found.told[1])
    run.log.news(state, run.heart)
    run.heart.at("all-reduce", state.step)
    return now, found, findings


def set_right(
    verdict: Verdict, state: RunState, settings: Settings, now: Settings, run: Training, **how: bool
) -> Settings:
    """Leave the batch out or go back, as the verdict says; the settings in force after it."""
    run.heart.at("checkpoint", state.step)
    run.timer.at("checkpoint")
    with patience(run):
        went_back = run.recovery.act(verdict, state, now.batch_size, **how)
    if not went_back:
        return settings
    run.checks.forget()
    return run.changes.settings_after(state.step)


def tell_profile(state: RunState, run: Training) -> None:
    """A step is done; where the first process then writes what it found, the others wait."""
    if run.profile is None:
        return
    if not run.profile.writes_next:
        run.profile.step()
        return
    run.heart.at("checkpoint", state.step)  # files are written
    with patience(run):
        run.profile.step()
        barrier(run.ranks)


@contextmanager
def patience(run: Training) -> Iterator[None]:
    """While disks are waited for: no rank is taken for dead because another's disk is slow."""
    limit_waiting(run.ranks, FIRST_STEP_SECONDS)
    with run.heart.patiently():
        yield
    limit_waiting(run.ranks)


def keep(
    state: RunState, settings: Settings, now: Settings, run: Training, *, wait: bool
) -> Settings:
    """Save the state if it is good, otherwise go back; the settings in force after it."""
    run.heart.at("checkpoint", state.step)
    run.timer.at("checkpoint")
    findings = run.checks.before_update(state) + run.checks.at_step(state, now=True)
    with patience(run):
        verdict = (
            run.recovery.of_corruption(findings, state)
            if findings
            else run.recovery.save(state, wait=wait)
        )
    run.log.clock(state)  # the save belongs to the run's duration
    if verdict.action == "apply":
        return settings
    return set_right(verdict, state, settings, now, run, seen=False)


def interrupted(run: Training, said: str) -> Interrupted:
    """The end that was asked for."""
    fix = "give the same command again to go on from there"
    return Interrupted(said, where=str(run.log.run.folder), fix=fix)


def of_step(settings: Settings, step: int) -> Settings:
    """The settings with the batch size that the ramps have reached."""
    size, length = batch_size_at(settings, step), sequence_length_at(settings, step)
    rows = settings.context_length // length  # that each row is cut into
    return replace(
        settings,
        batch_size=size,
        micro_batch_size=min(size, settings.micro_batch_size) * rows,
    )


def batch_of(
    state: RunState, settings: Settings, now: Settings, run: Training
) -> tuple[Batch, Counts]:
    """The next batch, of it this rank's rows, on the device; and the counts of all rows.

    Args:
        settings, now: those in force, and those of the step (`of_step`).
    """
    following = None
    if state.step + 1 < settings.steps:
        after = of_step(settings, state.step + 1)
        following = wanted(state, after, state.step + 1, state.cursor + now.batch_size)
    batch, counts = run.batches.get(wanted(state, now, state.step, state.cursor), following)
    return batch.to(settings.device), counts.to(settings.device)


def look(state: RunState, settings: Settings, run: Training, last: bool) -> None:
    """Evaluate and sample where it is time to, with the averaged weights if there are any."""
    state.validation_loss = None
    evaluates = state.step % settings.evaluate_every == 0 or last
    samples = state.step % settings.sample_every == 0 or last
    if not (evaluates or samples):
        return
    run.heart.at("evaluate", state.step)
    run.timer.at("evaluate")
    with averaged(state), whole_model(state.model) as model, eagerly(state.model):
        if evaluates:
            metrics = run.hooks.evaluate(model)
            state.validation_loss = metrics["loss"]
            run.log.evaluation(state.step, metrics)
        if samples:
            run.log.sample(state.step, run.hooks.sample(model))
