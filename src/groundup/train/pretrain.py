"""One pre-training run from its folder: start or go on, train, write down what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from groundup.architecture.config import ModelConfig
from groundup.artifacts import environment
from groundup.errors import BudgetError, CorruptError, DivergedError, Interrupted, RankFailedError
from groundup.files import LOCK, lock, read_json, remove_temporaries
from groundup.progress import Progress, progress, say
from groundup.tokens.dataset import TokenDataset
from groundup.track.run import Bystander, Run, newest_good_checkpoint, rewind
from groundup.train.agreement import require_agreement
from groundup.train.asynchronous.layout import require_no_profile
from groundup.train.asynchronous.serve import serve
from groundup.train.average import averaged
from groundup.train.changes import Change, record
from groundup.train.checkpoint import load_checkpoint
from groundup.train.compile import compile_as_set, eagerly
from groundup.train.config import Settings
from groundup.train.distributed import ALONE, Ranks, barrier, largest
from groundup.train.fingerprint import Comparison, accept, compare, fingerprint_of
from groundup.train.fp8 import left_out
from groundup.train.hot_swap import Changes
from groundup.train.job import Job
from groundup.train.loop import train
from groundup.train.parallel.model import whole_model
from groundup.train.parts import Opened, parts
from groundup.train.precision import autocast
from groundup.train.ramps import samples_before
from groundup.train.recovery import chosen
from groundup.train.resources import SMALLER, is_out_of_memory, pick_device, reset_peak_memory, use
from groundup.train.signals import stop_requested
from groundup.train.start import new_state
from groundup.train.state import RunState


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
    if settings.precision == "fp8" and ranks.is_first and (said := left_out(state.model)):
        say(said)
    compile_as_set(state.model, settings)
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
        with (
            bar(state, changes.settings_after(settings.steps)) as shown,
            stop_requested() as stop,
            parts(folder, dataset, job, state, opened, shown, stop) as training,
        ):
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
        "peak_memory_bytes": largest(state.peak_memory_bytes, ranks),
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
