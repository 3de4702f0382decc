"""The stage ``pretrain``: which run the project file leads to, and how a finished one is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundup.artifacts import Artifact
from groundup.files import hash_file, hash_json
from groundup.progress import say
from groundup.stages_work import VERSIONS, Work
from groundup.track.run import amend, checkpoint_name, newest_good_checkpoint, read_run
from groundup.train.config import Settings, bits_of


def pretrain(work: Work) -> tuple[Artifact, bool]:
    """Train, or go on training, or find the finished run."""
    chosen = work.done["plan"].json("plan.json")
    key = {
        "version": VERSIONS["pretrain"],
        "model": chosen["model"],
        "settings": of_content(chosen["settings"]),
        "tokens": work.done["tokens"].content_hash,
    }
    runs = work.project.folder / "runs"
    folder = runs / f"{work.project.project.name}-{hash_json(key)[:12]}"
    settings = Settings(**chosen["settings"])
    finished = finished_run(folder, settings.steps)
    if finished is not None:
        return finished if work.only_finished else at_prices(finished, chosen), False
    work.require_making("run")
    work.require_whole(["tokens", "tokenizer"])

    from groundup.stages_training import run_job
    from groundup.tokens.dataset import TokenDataset
    from groundup.tokens.run_mixture import planned
    from groundup.train.pretrain import pretrain as train_to_the_end

    n_samples = settings.steps * settings.batch_size
    dataset = planned(
        TokenDataset(work.done["tokens"].path, "train"), settings.context_length, n_samples
    )
    train_to_the_end(folder, dataset, run_job(work.project, work.done, key, settings))
    finished = finished_run(folder, settings.steps)
    assert finished is not None  # it was finished just now
    return finished, True


def of_content(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run is named after: a teacher by its weights, not by its place."""
    bits = bits_of(settings)
    teacher = bits["objective"].get("teacher")
    if teacher is None:
        return bits
    weights = sorted(Path(teacher).glob("*.safetensors"))
    named = hash_json({file.name: hash_file(file) for file in weights})
    return {**bits, "objective": {**bits["objective"], "teacher": named}}


def finished_run(folder: Path, steps: int) -> Artifact | None:
    """A run that ended, whose last checkpoint is whole; its content is its final hash."""
    record = read_run(folder)
    if record is None or record["status"] != "finished":
        return None
    last = newest_good_checkpoint(folder / "checkpoints")
    if last is None or last.name != checkpoint_name(steps):
        say(f"run {folder.name} has lost its last checkpoint: training the missing steps again")
        return None
    files = {"final_hash": {"sha256": record["final_hash"]}}
    return Artifact(folder, {**record, "kind": "run", "files": files})


def at_prices(run: Artifact, chosen: Mapping[str, Any]) -> Artifact:
    """``run`` with cost and energy at the present plan's rates; its record follows them.

    Both are proportional to time, so the plan's own figures give the rate of an hour.
    """
    record, plan = run.manifest, chosen["predicted"]

    def priced(figures: Mapping[str, Any]) -> dict[str, Any]:
        longer = figures["duration_seconds"] / plan["duration_seconds"]
        spent = {key: plan[key] and plan[key] * longer for key in ("cost_usd", "energy_kwh")}
        changed = {key: new for key, new in spent.items() if not same(figures[key], new)}
        return {**figures, **changed}

    predicted, measured = priced(record["predicted"]), priced(record["measured"])
    if (predicted, measured) == (record["predicted"], record["measured"]):
        return run
    band = {key: ends for key, ends in predicted["band"].items() if key != "cost_usd"}
    if "cost_usd" in chosen["band"]:
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
