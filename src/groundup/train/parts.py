"""The parts that the loop works with, opened for one run and closed behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from groundup.architecture.config import ModelConfig
from groundup.progress import Progress
from groundup.tokens.dataset import TokenDataset
from groundup.track.run import Bystander, Run
from groundup.train.asynchronous.local_sgd import is_local
from groundup.train.batch import counts_of
from groundup.train.breakdown import stopwatch
from groundup.train.compile import eagerly
from groundup.train.config import Settings
from groundup.train.distributed import (
    COLLECTIVE_SECONDS,
    FIRST_STEP_SECONDS,
    Ranks,
    rows_of,
    summed,
)
from groundup.train.flops import shares_of_machine
from groundup.train.guard.alert import Alert, alert_of
from groundup.train.guard.config import GuardConfig
from groundup.train.guard.guard import Guard
from groundup.train.guard.probe import gradients_aside
from groundup.train.hot_swap import Changes
from groundup.train.integrity.checks import IntegrityChecks
from groundup.train.integrity.config import IntegrityConfig
from groundup.train.job import Job
from groundup.train.log import Log
from groundup.train.loop import Hooks, Training
from groundup.train.parallel.context import tokens_of
from groundup.train.precision import autocast
from groundup.train.prefetch import Prefetch, prepared
from groundup.train.profile import profiled
from groundup.train.recovery import Recovery
from groundup.train.retention import Retention
from groundup.train.state import RunState
from groundup.train.step import gradients
from groundup.train.watchdog import watched
from groundup.train.writer import Saver


@dataclass(frozen=True)
class Opened:
    """A run whose files are open and whose state is that of its last good checkpoint, if any."""

    run: Run | Bystander
    fingerprint: Mapping[str, Any]
    changes: Changes
    is_taken_up: bool
    ranks: Ranks


@contextmanager
def parts(
    folder: Path,
    dataset: TokenDataset,
    job: Job,
    state: RunState,
    opened: Opened,
    shown: Progress,
    stop: Callable[[], bool],
) -> Iterator[Training]:
    """What the loop works with, open while the block runs."""
    run, changes, ranks = opened.run, opened.changes, opened.ranks
    settings, objective = job.settings, job.objective
    casting = partial(autocast, settings.device, settings.precision)
    first = objective.batch_at(
        dataset, settings.seed, 0, settings.batch_size, settings.context_length
    )
    flops = objective.step_flops(ModelConfig.from_dict(job.key["model"]), first)
    flops_per_token = flops / (settings.batch_size * settings.context_length)
    guard_config = GuardConfig(**settings.guard)
    guard = Guard(guard_config, state.guard, probe_of(state, job, dataset, ranks))
    keep = Retention(settings.keep_last, settings.keep_every, settings.keep_best)
    timer = stopwatch(settings.device)
    last = changes.settings_after(settings.steps).steps
    steps_left = min(last, last if job.until is None else job.until) - state.step
    batches = partial(
        prepared,
        dataset=dataset,
        objective=objective,
        config=state.model.config,
        ranks=ranks,
        local=is_local(settings),
    )
    with (
        profiled(
            folder / "profile",
            timer,
            settings.device,
            wanted=job.profile,
            works=ranks.is_first,
            steps_left=steps_left,
        ) as profile,
        closing(Saver(folder / "checkpoints", keep, ranks)) as saver,
        closing(Prefetch(batches, settings.device)) as prefetch,
        closing(alert_of(guard_config) if ranks.is_first else Alert([])) as alert,
        watched(
            folder,
            ranks,
            launch=launch_number(ranks),
            timeout_seconds=COLLECTIVE_SECONDS,
            first_timeout_seconds=FIRST_STEP_SECONDS,
            device=settings.device,
        ) as heart,
    ):
        log = Log(
            state,
            run,
            shown,
            settings.device,
            flops_per_token,
            job.matmul_flops_per_second * shares_of_machine(settings, ranks),
            alert,
            timer,
        )
        recovery = Recovery(
            folder / "checkpoints",
            opened.fingerprint,
            saver,
            guard,
            log,
            changes,
            settings.checkpoint_every,
            opened.is_taken_up,
            ranks,
        )
        yield Training(
            batches=prefetch,
            objective=objective,
            changes=changes,
            hooks=Hooks(
                evaluate=lambda model: job.evaluate(model, casting),
                sample=lambda model: job.sample(model, casting),
            ),
            guard=guard,
            checks=IntegrityChecks(integrity_of(settings), ranks),
            recovery=recovery,
            log=log,
            heart=heart,
            stop=lambda: stop() or (job.until is not None and state.step >= job.until),
            ranks=ranks,
            profile=profile,
        )


def integrity_of(settings: Settings) -> IntegrityConfig:
    """The checks of a run; replicas with steps of their own are not to be alike."""
    config = IntegrityConfig(**settings.integrity)
    return config.model_copy(update={"compare_every": None}) if is_local(settings) else config


def launch_number(ranks: Ranks) -> int:
    """A number that all ranks of this start share, and no other start has."""
    return int(summed(torch.tensor(time.time_ns() if ranks.is_first else 0), ranks))


def probe_of(
    state: RunState, job: Job, dataset: TokenDataset, ranks: Ranks
) -> Callable[[], tuple[float, float]]:
    """The guard's probe: loss and gradient norm on one micro-batch that is never learnt from.

    It leaves the step's gradients, draws from no generator of the run and changes no bit.
    """
    settings, objective = job.settings, job.objective
    n_tokens = objective.tokens_per_row(settings.context_length)
    held_out = job.held_out
    if held_out is None or held_out.n_windows(n_tokens) < settings.micro_batch_size:
        held_out = dataset  # too little is held out: the first samples, which are soon forgotten
    rows = max(settings.micro_batch_size, ranks.n_shares)
    rows += -rows % ranks.n_shares if is_local(settings) else 0
    whole = objective.batch_at(held_out, settings.seed, 0, rows, settings.context_length)
    mine = rows_of(whole, ranks)
    counts = counts_of(mine if is_local(settings) else whole).to(settings.device)
    batch = tokens_of(mine, state.model.config, ranks).to(settings.device)
    plain = replace(settings, l1=0.0, l2=0.0)

    def probe() -> tuple[float, float]:
        devices = [torch.cuda.current_device()] if settings.device == "cuda" else []
        was_training = state.model.training
        state.model.eval()
        forked, aside = torch.random.fork_rng(devices), gradients_aside(state.model)
        with forked, aside, eagerly(state.model):
            torch.manual_seed(settings.seed)
            found = gradients(state, plain, batch, counts, objective.loss, ranks)
        state.model.train(was_training)
        return found.numbers()

    return probe
