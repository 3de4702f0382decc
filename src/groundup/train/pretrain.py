"""One pre-training run from its folder: start or go on, train, write down what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from groundup.architecture.config import ModelConfig
from groundup.artifacts import environment
from groundup.errors import BudgetError, CorruptError, DivergedError, Interrupted, RankFailedError
from groundup.files import LOCK, lock, read_json, remove_temporaries
from groundup.progress import Progress, progress, say
from groundup.tokens.dataset import TokenDataset
from groundup.track.run import Bystander, Run, newest_good_checkpoint, rewind
from groundup.train.agreement import require_agreement
from groundup.train.asynchronous.layout import require_no_profile
from groundup.train.asynchronous.local_sgd import is_local
from groundup.train.asynchronous.serve import serve
from groundup.train.average import averaged
from groundup.train.batch import counts_of
from groundup.train.breakdown import stopwatch
from groundup.train.changes import Change, record
from groundup.train.checkpoint import load_checkpoint
from groundup.train.compile import compile_blocks, eagerly, is_compiled
from groundup.train.config import Settings
from groundup.train.distributed import (
    ALONE,
    COLLECTIVE_SECONDS,
    FIRST_STEP_SECONDS,
    Ranks,
    barrier,
    rows_of,
    summed,
)
from groundup.train.fingerprint import Comparison, accept, compare, fingerprint_of
from groundup.train.guard.alert import Alert, alert_of
from groundup.train.guard.config import GuardConfig
from groundup.train.guard.guard import Guard
from groundup.train.guard.probe import gradients_aside
from groundup.train.hot_swap import Changes
from groundup.train.integrity.checks import IntegrityChecks
from groundup.train.integrity.config import IntegrityConfig
from groundup.train.log import Log
from groundup.train.loop import Hooks, Training, train
from groundup.train.objective import CAUSAL, Objective
from groundup.train.parallel.context import tokens_of
from groundup.train.parallel.model import whole_model
from groundup.train.precision import autocast
from groundup.train.profile import profiled
from groundup.train.ramps import samples_before
from groundup.train.recovery import Recovery, chosen
from groundup.train.resources import SMALLER, is_out_of_memory, pick_device, reset_peak_memory, use
from groundup.train.retention import Retention
from groundup.train.signals import stop_requested
from groundup.train.start import new_state
from groundup.train.state import RunState
from groundup.train.step import gradients
from groundup.train.watchdog import watched
from groundup.train.writer import Saver

# A metrics function: (model, autocast) → ``loss`` (nats per target) and others by name.
Evaluate = Callable[[Any, Callable[[], Any]], Mapping[str, float]]


@dataclass(frozen=True)
class Job:
    """A run as the plan decided it.

    Attributes:
        key: what the run is named after and what its bits depend on: model, settings, tokens.
        settings: all of them, also those the bits do not depend on.
        predicted: the plan's predictions, kept beside the measurements.
        matmul_flops_per_second: this machine's rate, for MFU.
        evaluate: the cheap validation loss inside the run.
        evaluate_whole: the validation split whole, once at the end.
        sample: (model, autocast, step) → a text.
        spent: seconds → cost_usd and energy_kwh.
        objective: what is trained for.
        held_out: what the guard's probe is made of.
        record: what else the run's record keeps.
        planned_samples: that its mixture was made for.
        allow: keys of the settings that may differ from the run's own.
        until: a step to stop after as if it was asked for; None: none.
        profile: whether a few steps are profiled.
        worker_command: starts a worker of the run where a parameter server trains it; None: the
            server starts none itself.
    """

    name: str
    key: Mapping[str, Any]
    settings: Settings
    predicted: Mapping[str, Any]
    matmul_flops_per_second: float
    evaluate: Evaluate
    evaluate_whole: Evaluate
    sample: Callable[[Any, Callable[[], Any]], str]
    spent: Callable[[float], Mapping[str, float | None]]
    objective: Objective = CAUSAL
    held_out: TokenDataset | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    planned_samples: int | None = None
    until: int | None = None
    profile: bool = False
    worker_command: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Opened:
    """A run whose files are open and whose state is that of its last good checkpoint, if any."""

    run: Run | Bystander
    fingerprint: Mapping[str, Any]
    changes: Changes
    is_taken_up: bool
    ranks: Ranks


def pretrain(folder: Path, dataset: TokenDataset, job: Job, ranks: Ranks = ALONE) -> None:
    """Bring the run in ``folder`` to its end.

    Raises:
        Interrupted: asked to stop; the same call goes on.
        DivergedError: loss or gradients left the usual, and the guard could not help.
        RankFailedError: another process of the run is dead, hung or cut off.
        BudgetError: out of memory.
        UserError: the plan was made for a GPU and there is none here.
        StorageError: the disk is full or read-only; the last checkpoint is whole.
        LockedError: another process trains in this folder, by whatever path it came there.
        ConfigError: a parameter server is to be profiled.
    """
    with lock(folder / LOCK) if ranks.is_first else nullcontext():
        train_whole(folder, dataset, job, ranks)


def train_whole(folder: Path, dataset: TokenDataset, job: Job, ranks: Ranks) -> None:
    """`pretrain`, the folder being this run's alone."""
    config, settings = ModelConfig.from_dict(job.key["model"]), job.settings
    require_no_profile(settings, job.profile)
    pick_device(settings.device)
    use(settings.n_threads, settings.float32_matmul_precision)
    reset_peak_memory(settings.device)
    state = new_state(config, settings, ranks)
    if is_compiled(settings):
        compile_blocks(state.model)
    fingerprint = fingerprint_of(job.key, dataset, settings, ranks)
    changes = Changes(
        settings,
        config.feed_forward.activation,
        [Change(**each) for each in settings.changes],
        dataset.mixture or (),
        folder,
        writes=ranks.is_first,
    )
    opened = open_run(folder, dataset, job, state, fingerprint, changes, ranks)
    run = opened.run
    try:
        with parts(folder, dataset, job, state, opened) as training:
            if settings.asynchronous["kind"] == "parameter_server":
                serve(state, training, fingerprint, job.worker_command)
            else:
                train(state, training)
    except (Interrupted, KeyboardInterrupt):
        run.finish("interrupted")
        raise
    except (DivergedError, RankFailedError, CorruptError) as error:
        run.finish("failed", error=error.message)
        raise
    except (MemoryError, RuntimeError) as error:
        run.close()
        if not is_out_of_memory(error):
            raise
        raise BudgetError(
            "the memory did not suffice for a training step",
            where=str(folder),
            fix=f"{SMALLER}; or end other programs and give the same command again",
        ) from error
    except BaseException:
        run.close()  # the disk, another rank or we failed: the checkpoints are what is known
        raise

    casting = partial(autocast, settings.device, settings.precision)
    with averaged(state), whole_model(state.model) as model, eagerly(state.model):
        whole = job.evaluate_whole(model, casting)
    measured = {
        "duration_seconds": state.elapsed_seconds,
        "tokens_per_second": state.tokens / state.step_seconds,
        "peak_memory_bytes": state.peak_memory_bytes,
        **whole,
        **job.spent(state.elapsed_seconds),
    }
    run.finish(
        "finished",
        final_hash=state.final_hash(),
        steps=state.step,
        tokens=state.tokens,
        samples=state.cursor,
        loss_chain=state.loss_chain,
        skipped=len(state.guard.skips),
        rewinds=len(state.guard.rewinds),
        changes_by_hand=[dict(record(change)) for change in changes.by_hand],
        part_seconds=state.part_seconds,
        measured=measured,
    )


@contextmanager
def parts(
    folder: Path,
    dataset: TokenDataset,
    job: Job,
    state: RunState,
    opened: Opened,
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
    with (
        profiled(
            folder / "profile",
            timer,
            settings.device,
            wanted=job.profile,
            works=ranks.is_first,
            steps_left=steps_left,
        ) as profile,
        bar(state, changes.settings_after(settings.steps)) as shown,
        stop_requested() as stop,
        closing(Saver(folder / "checkpoints", keep, ranks)) as saver,
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
            job.matmul_flops_per_second * ranks.size,
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
            dataset=dataset,
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


def open_run(
    folder: Path,
    dataset: TokenDataset,
    job: Job,
    state: RunState,
    fingerprint: Mapping[str, Any],
    changes: Changes,
    ranks: Ranks,
) -> Opened:
    """Open the run's files, and bring ``state`` to its last good checkpoint if there is one.

    Raises:
        InputError: the checkpoint is of another model, other settings or other tokens.
        ConfigError: the processes do not all bring the same fingerprint, or the same code.
    """
    if ranks.size > 1:
        require_agreement(fingerprint, "tokens, settings and machine")
    if ranks.is_first:
        remove_temporaries(folder)
        remove_temporaries(folder / "checkpoints")
    barrier(ranks)
    found_here = newest_good_checkpoint(folder / "checkpoints") if ranks.is_first else None
    checkpoint = chosen(found_here, folder / "checkpoints", ranks)
    found = Comparison()
    if checkpoint is not None:
        stored = read_json(checkpoint / "state.json")
        found = compare(stored["fingerprint"], fingerprint, job.allow)
        found.require(checkpoint)
        changes.settle(int(stored["step"]), int(stored["n_changes"]))
        barrier(ranks)
        changes.reload()
        changes.prepare(state, int(stored["step"]))
        load_checkpoint(checkpoint, state, ranks)
    barrier(ranks)
    record = {
        "name": folder.name,
        "stage": "pretrain",
        "project": job.name,
        "config": {"model": job.key["model"], "settings": job.settings.to_dict()},
        "inputs": {"tokens": job.key["tokens"]},
        "fingerprint": dict(fingerprint),
        "predicted": dict(job.predicted),
        "planned_samples": job.planned_samples,
        "sources": list(dataset.mixture or ()),
        "environment": environment(),
        **job.record,
    }
    is_taken_up = checkpoint is not None
    if not ranks.is_first:
        return Opened(Bystander(folder, record), fingerprint, changes, is_taken_up, ranks)
    rewind(folder, state.step, state.n_events, state.n_abandoned)
    run = Run(folder, record)
    if checkpoint is not None:
        say(f"going on from step {state.step} ({checkpoint.name})")
        machine = [key for key, _, _ in found.machine]
        run.event(state.step, "resumed", checkpoint=checkpoint.name, changed=machine)
        accept(run, state.step, found)
    return Opened(run, fingerprint, changes, is_taken_up, ranks)


@contextmanager
def bar(state: RunState, settings: Settings) -> Iterator[Progress]:
    """The progress of the run in tokens, starting where it is."""
    total = samples_before(settings, settings.steps) * settings.context_length
    with progress("pretrain", total, "tokens", state.tokens) as shown:
        yield shown
