"""The stage ``pretrain``: which run the project file leads to, and how a finished one is known."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from groundup.artifacts import Artifact
from groundup.progress import say
from groundup.stages_identity import run_of
from groundup.stages_layout import with_layout
from groundup.stages_ranks import predicted_for
from groundup.stages_work import Work, on_first_rank
from groundup.track.run import amend, checkpoint_name, newest_good_checkpoint, read_run
from groundup.train.changes import Change, given_by_hand, in_order, settings_after
from groundup.train.config import Settings
from groundup.train.ramps import samples_before


def pretrain(work: Work) -> tuple[Artifact, bool]:
    """Train, or go on training, or find the finished run."""
    chosen = work.done["plan"].json("plan.json")
    run = on_first_rank(lambda: run_of(work, chosen))
    finished = on_first_rank(lambda: finished_run(run.folder, run.settings))
    if finished is not None:
        if work.profile:
            say(f"run {finished.path.name} is finished: there are no steps to profile")
        if work.only_finished:
            return finished, False
        return on_first_rank(partial(at_prices, finished, chosen)), False
    work.require_making("run")
    on_first_rank(lambda: work.require_whole(["tokens", "tokenizer"]))
    run = on_first_rank(lambda: with_layout(work, run))

    from groundup.stages_training import forecast_of, run_job
    from groundup.tokens.dataset import TokenDataset
    from groundup.tokens.run_mixture import planned
    from groundup.train.distributed import join, leave
    from groundup.train.flops import shares_of_machine
    from groundup.train.pretrain import pretrain as train_to_the_end

    # Epochs and caps are shares of the run as it was first planned: longer or shorter, the order of
    # its samples stays.
    first = read_run(run.folder) or {}
    n_samples = first.get("planned_samples") or samples_before(run.settings, run.settings.steps)
    dataset = planned(
        TokenDataset(work.done["tokens"].path, "train"), run.settings.context_length, n_samples
    )
    job = run_job(work.project, work.done, run, forecast_of(work.project, work.done))
    worker = (sys.executable, "-m", "groundup", "worker", "--run", run.folder.name)
    job = replace(
        job,
        planned_samples=n_samples,
        profile=work.profile,
        worker_command=(*worker, "--project", str(work.project.folder)),
    )
    ranks = join(run.settings)
    if ranks.size > 1:
        machines, of_one = shares_of_machine(run.settings, ranks), job.spent
        job = replace(
            job,
            predicted=predicted_for(chosen, run.settings, ranks.size, machines),
            spent=lambda seconds: of_one(seconds * machines),
        )
    train_to_the_end(run.folder, dataset, job, ranks)
    leave(ranks)  # not where a rank has failed: the way out would wait for it
    finished = on_first_rank(lambda: finished_run(run.folder, run.settings))
    assert finished is not None  # it was finished just now
    return finished, True


def finished_run(folder: Path, settings: Settings) -> Artifact | None:
    """A run that ended, whose last checkpoint is whole; its content is its final hash."""
    record = read_run(folder)
    if record is None or record["status"] != "finished":
        return None
    if record["steps"] < last_step(folder, settings):
        return None  # it was made longer since
    last = newest_good_checkpoint(folder / "checkpoints")
    if last is None or last.name != checkpoint_name(record["steps"]):
        say(f"run {folder.name} has lost its last checkpoint: training the missing steps again")
        return None
    files = {"final_hash": {"sha256": record["final_hash"]}}
    return Artifact(folder, {**record, "kind": "run", "files": files})


def last_step(folder: Path, settings: Settings) -> int:
    """The steps of a run, those among its changes by hand taken in."""
    changes = [*(Change(**each) for each in settings.changes), *given_by_hand(folder)]
    return settings_after(settings, in_order(changes), sys.maxsize).steps


def at_prices(run: Artifact, chosen: Mapping[str, Any]) -> Artifact:
    """``run`` with cost and energy at the present plan's rates; its record follows them.

    Both are proportional to time and to what is used of machines like the plan's, so the plan's own
    figures give the rate of an hour.
    """
    record, plan = run.manifest, chosen["predicted"]
    machines = record["predicted"].get("of", {}).get("machines", 1)

    def priced(figures: Mapping[str, Any]) -> dict[str, Any]:
        if figures["duration_seconds"] is None:  # not predicted for several processes
            return dict(figures)
        longer = machines * figures["duration_seconds"] / plan["duration_seconds"]
        spent = {key: plan[key] and plan[key] * longer for key in ("cost_usd", "energy_kwh")}
        changed = {key: new for key, new in spent.items() if not same(figures[key], new)}
        return {**figures, **changed}

    predicted, measured = priced(record["predicted"]), priced(record["measured"])
    if (predicted, measured) == (record["predicted"], record["measured"]):
        return run
    band = {key: ends for key, ends in predicted["band"].items() if key != "cost_usd"}
    if "cost_usd" in chosen["band"] and predicted["duration_seconds"] is not None:
        longer = predicted["duration_seconds"] / plan["duration_seconds"]
        band["cost_usd"] = [end * longer for end in chosen["band"]["cost_usd"]]
    predicted["band"] = band
    amended = amend(run.path, predicted=predicted, measured=measured)
    return Artifact(run.path, {**run.manifest, **amended})


def same(one: float | None, other: float | None) -> bool:
    """Equal but for rounding."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9)
