"""The benchmark: every fault, under the guard and under what others do, for several seeds.

For a policy and a seed one training runs up to the fault; from there it is continued once without
it and once with each fault. What counts is the loss on held-out text at the end, less that of the
same seed's training in which nothing happened and nothing was done.
"""

from __future__ import annotations

import copy
import math
import multiprocessing
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import torch

from groundup.progress import progress
from groundup.train.guard.bench.baselines import Judge, Nothing, SkipStep
from groundup.train.guard.bench.events import EVENTS
from groundup.train.guard.bench.text import library
from groundup.train.guard.bench.training import (
    MODEL,
    Fault,
    Outcome,
    Snapshot,
    Training,
    settings_of,
)
from groundup.train.guard.config import GuardConfig
from groundup.train.guard.guard import Guard
from groundup.train.start import new_state

POLICIES = {
    "no clipping": "neither guard nor gradient clipping",
    "clipping": "gradient norm clipped at 1",
    "6 sigma": "clipping, and OLMo-core's rule: skip what is 6 standard deviations off",
    "guard": "clipping, and pretrain.guard at its defaults",
}
CLEAN = "clean"
BACK_WITHIN = 0.02  # nats of the run in which nothing happened


@dataclass(frozen=True)
class Plan:
    """What is run: of each seed every policy, clean and with every event."""

    seeds: Sequence[int]
    steps: int
    policies: Sequence[str] = tuple(POLICIES)
    events: Sequence[str] = tuple(EVENTS)
    learning_rate: float = 3e-3


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        event: `CLEAN`, or what was injected.
        loss: on held-out text at the end, nats per byte; NaN if it is not finite, or never came.
        latency: batches from the fault to the first alarm; None: no alarm.
        n_scored: batches judged by a filled window, of the whole run.
        n_alarms, n_skipped, n_rewinds: of the whole run.
        n_suspicions: probes that raised no alarm.
        n_extra: batches computed beyond one a step.
        stopped: the diagnosis of a run that was given up.
        why: of the first alarm after the fault.
    """

    policy: str
    event: str
    seed: int
    loss: float
    latency: int | None
    n_scored: int
    n_alarms: int
    n_skipped: int
    n_rewinds: int
    n_suspicions: int
    n_extra: int
    stopped: str
    why: str


@dataclass(frozen=True)
class Summary:
    """One policy under one event.

    Attributes:
        n, n_detected, n_back, n_stopped: runs; with an alarm; within `BACK_WITHIN` of the clean
            run; given up.
        latency: median of those with an alarm.
        differences: of the loss from the clean run's, by seed; NaN where there is none.
    """

    policy: str
    event: str
    n: int
    n_detected: int
    n_back: int
    n_stopped: int
    latency: float | None
    differences: list[float]
    n_skipped: int
    n_rewinds: int
    n_extra: int


def run(plan: Plan, workers: int) -> list[Result]:
    """All runs of a plan, in some order, with progress on standard error."""
    tasks = [(plan, policy, seed) for seed in plan.seeds for policy in plan.policies]
    results: list[Result] = []
    context = multiprocessing.get_context("forkserver")
    per_task = 1 + len(plan.events)
    with (
        progress("bench guard", per_task * len(tasks), "runs") as shown,
        ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool,
    ):
        running = [pool.submit(run_policy, *task) for task in tasks]
        try:
            for done in as_completed(running):
                found = done.result()
                results += found
                shown.advance(per_task, f"{found[0].policy}, seed {found[0].seed}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def run_policy(plan: Plan, policy: str, seed: int) -> list[Result]:
    """One policy and seed: clean, and with every event from the same step on."""
    torch.set_num_threads(1)
    settings = settings_of(
        seed, plan.steps, clip=policy != "no clipping", learning_rate=plan.learning_rate
    )
    training = Training(new_state(MODEL, settings), settings, library(), Nothing())
    training.judge = judge_of(policy, training)
    training.until(event_step(plan.steps, seed))
    if training.outcome.stopped:
        raise RuntimeError(f"seed {seed} stopped before any fault: {training.outcome.stopped}")
    fork = Fork(training)
    results = []
    for number, event in enumerate((CLEAN, *plan.events)):
        training = fork.restored(policy)
        fault = None
        if event != CLEAN:
            judged, place = training.outcome.n_judged, training.state.cursor // settings.batch_size
            fault = Fault(EVENTS[event], judged, place, np.random.default_rng([seed, number]))
        training.until(plan.steps, fault)
        results.append(result_of(policy, event, seed, training, fork.n_judged))
    return results


def event_step(steps: int, seed: int) -> int:
    """Where the fault is: soon after the middle, anywhere between two checkpoints."""
    return steps // 2 + int(np.random.default_rng(seed).integers(20))


def judge_of(policy: str, training: Training) -> Judge:
    """What judges the steps of a training."""
    match policy:
        case "6 sigma":
            return SkipStep()
        case "guard":
            return Guard(GuardConfig(), training.state.guard, training.probe)
    return Nothing()


class Fork:
    """A training at one step, to be continued several times."""

    def __init__(self, training: Training) -> None:
        self.training, self.snapshot = training, Snapshot.of(training.state)
        self.kept, self.outcome = list(training.kept), copy.deepcopy(training.outcome)
        self.judge = copy.deepcopy(training.judge) if isinstance(training.judge, SkipStep) else None
        self.n_judged = training.outcome.n_judged
        self.peak_rates = [
            [group["peak_lr"] for group in optimizer.param_groups]
            for optimizer in training.state.optimizers
        ]

    def restored(self, policy: str) -> Training:
        """The training as it was."""
        training = self.training
        self.snapshot.restore(training.state)
        for optimizer, rates in zip(training.state.optimizers, self.peak_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["peak_lr"] = rate
        training.kept, training.outcome = list(self.kept), copy.deepcopy(self.outcome)
        training.judge = copy.deepcopy(self.judge) or judge_of(policy, training)
        return training


def result_of(policy: str, event: str, seed: int, training: Training, began: int) -> Result:
    """The numbers of a run that is over; the fault was at the batch ``began``."""
    outcome: Outcome = training.finish()
    after = [(at, verdict) for at, verdict in outcome.verdicts if at >= began]
    checkpoints = training.state.step // training.settings.checkpoint_every
    n_alarms = len(outcome.verdicts)
    return Result(
        policy=policy,
        event=event,
        seed=seed,
        loss=outcome.loss if math.isfinite(outcome.loss) else math.nan,
        latency=after[0][0] - began if after else None,
        n_scored=outcome.n_judged - GuardConfig().armed_after,
        n_alarms=n_alarms,
        n_skipped=outcome.count("skip"),
        n_rewinds=outcome.count("rewind"),
        n_suspicions=max(0, outcome.n_probes - checkpoints - n_alarms),
        n_extra=outcome.n_judged - training.state.step,
        stopped=outcome.stopped,
        why=after[0][1].why if after else "",
    )


def summaries(results: Sequence[Result]) -> Iterator[Summary]:
    """One for each policy and event, in the order of the tables above."""
    by_run = {(each.policy, each.event, each.seed): each for each in results}
    seeds = sorted({each.seed for each in results})
    for event in (CLEAN, *EVENTS):
        for policy in POLICIES:
            runs = [
                by_run[policy, event, seed] for seed in seeds if (policy, event, seed) in by_run
            ]
            if not runs:
                continue
            differences = [each.loss - undisturbed(by_run, policy, each.seed) for each in runs]
            latencies = [each.latency for each in runs if each.latency is not None]
            yield Summary(
                policy=policy,
                event=event,
                n=len(runs),
                n_detected=len(latencies),
                n_back=sum(difference <= BACK_WITHIN for difference in differences),
                n_stopped=sum(bool(each.stopped) for each in runs),
                latency=statistics.median(latencies) if latencies else None,
                differences=differences,
                n_skipped=sum(each.n_skipped for each in runs),
                n_rewinds=sum(each.n_rewinds for each in runs),
                n_extra=sum(each.n_extra for each in runs),
            )


def undisturbed(by_run: dict[tuple[str, str, int], Result], policy: str, seed: int) -> float:
    """The loss of the run in which nothing happened and nothing was done, with the same clipping.

    Where the plan has no such run it is the policy's own clean one.
    """
    plain = policy if policy == "no clipping" else "clipping"
    found = by_run.get((plain, CLEAN, seed)) or by_run[policy, CLEAN, seed]
    return found.loss


def false_alarms(results: Sequence[Result], policy: str) -> tuple[int, int, int]:
    """(alarms, suspicions, batches judged) of a policy's clean runs."""
    clean = [each for each in results if each.event == CLEAN and each.policy == policy]
    return (
        sum(each.n_alarms for each in clean),
        sum(each.n_suspicions for each in clean),
        sum(each.n_scored for each in clean),
    )


def share_back(every: Sequence[Summary], policy: str) -> tuple[int, int]:
    """(runs back within `BACK_WITHIN`, runs) over the events that are counted."""
    counted = [
        each for each in every
        if each.policy == policy and each.event != CLEAN and EVENTS[each.event].is_counted
    ]  # fmt: skip
    return sum(each.n_back for each in counted), sum(each.n for each in counted)
