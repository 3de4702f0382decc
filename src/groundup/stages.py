"""The stages of a project and what each needs: the one place where the packages meet.

``data → tokenizer → tokens → machine → plan → pretrain → evaluate, export → report``. A stage is a
function from the project and the stages before it to an artifact (`stages_work`). Its key is its
config and the content of its inputs, so running again does nothing and a changed value re-runs only
what follows from it. Choices that depend on a clock or a probe are made in ``plan``, once, and read
from there.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from groundup.artifacts import Artifact, Store
from groundup.errors import ConfigError, GroundupError, Interrupted
from groundup.files import LOCK, lock, remove_temporaries
from groundup.progress import is_first_process, say
from groundup.stages_data import data, tokenizer, tokens
from groundup.stages_layout import processes
from groundup.stages_named import pretrain_section
from groundup.stages_plan import machine, plan
from groundup.stages_possible import (
    lonely_replica,
    many_threads,
    require_possible_here,
    require_possible_run,
)
from groundup.stages_pretrain import pretrain
from groundup.stages_results import evaluate, export, report
from groundup.stages_work import Work, on_first_rank, require_agreement, take_leave
from groundup.train import faults
from groundup.train.fingerprint import allowed_keys
from groundup.units import format_duration

if TYPE_CHECKING:
    from groundup.project import Project


@dataclass
class RunResult:
    """What a call of `run_project` did.

    Attributes:
        status: ``finished``, or ``interrupted`` where training was asked to stop, and saved.
        built, skipped: names of stages, in order.
        report: the report's HTML file, if that stage was asked for.
        paths: where each stage's result is.
        stopped: the stage that was asked to stop, if one was.
    """

    status: str = "finished"
    built: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    report: Path | None = None
    paths: dict[str, Path] = field(default_factory=dict)
    stopped: str | None = None


def run_project(
    project: Project,
    until: str | None = None,
    *,
    allow: Sequence[str] | None = None,
    profile: bool = False,
) -> RunResult:
    """Run every stage that is missing, or those that ``until`` needs.

    A stop that is asked for while training is no error: it is saved, said, and the status.

    Args:
        allow: settings of the newest run that may change while it goes on; None: another value is
            another run.
        profile: whether a few training steps are profiled (`train.profile`).

    Raises:
        ConfigError: there is nothing to plan by, no stage of the name ``until``, or nothing that
            so many processes on this machine could train.
        LockedError: another process is at work in the project.
        UserError: whatever a stage found wrong; finished stages stay finished.
    """
    faults.check()
    allowed = None if allow is None else allowed_keys(allow)
    stages = needed(until)
    require_agreement(project)
    if "plan" in stages:
        section = pretrain_section(project)
        n_layers = project.model.n_layers
        if section.init_from is not None:
            n_layers = n_layers or 1  # nobody chooses: it has the model's own
        project.plan.require_budget(n_layers=n_layers, steps=section.steps)
    if "machine" in stages:
        n_ranks, n_local = processes()
        require_trainable(project, n_ranks, n_local, trains="pretrain" in stages)
        say_what_is_odd(project, n_ranks, trains="pretrain" in stages)
    result = RunResult()
    with lock(project.folder / LOCK) if is_first_process() else nullcontext():
        work = Work(project, Store(project.folder / "artifacts"), allow=allowed, profile=profile)
        if is_first_process():
            for folder in (work.store.root, *work.store.root.glob("*")):
                remove_temporaries(folder)  # those in a run are cleared when it is opened
        for name in stages:
            started = time.monotonic()
            try:
                stage = partial(STAGES[name], work)
                artifact, built = stage() if name == "pretrain" else on_first_rank(stage)
            except Interrupted as stop:
                if is_first_process():
                    say(str(stop))
                result.status, result.stopped = "interrupted", name
                break
            work.done[name] = artifact
            result.paths[name] = artifact.path
            (result.built if built else result.skipped).append(name)
            if built and is_first_process():
                say(f"{name}: done in {format_duration(time.monotonic() - started)}")
    take_leave()
    if "report" in work.done:
        result.report = work.done["report"].path / "report.html"
    return result


def needed(until: str | None) -> list[str]:
    """The stages to run, in order.

    Raises:
        ConfigError: there is no stage of that name.
    """
    if until is not None and until not in STAGES:
        near = difflib.get_close_matches(until, STAGES, n=1)
        raise ConfigError(
            f"there is no stage {until!r}",
            fix=f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(STAGES)}",
        )
    wanted = set(STAGES) if until is None else {until}
    for name in reversed(STAGES):
        if name in wanted:
            wanted.update(NEEDS[name])
    return [name for name in STAGES if name in wanted]


def require_trainable(project: Project, n_ranks: int, n_local: int, *, trains: bool = True) -> None:
    """Refuse, before any stage runs, what is known to fail in one.

    What is made already is not asked about: a run of many processes is evaluated by one, and a plan
    made on a GPU is read anywhere.

    Args:
        n_local: of the processes, those on this machine; 0: none.
        trains: False: measured and planned only, in this process.

    Raises:
        ConfigError: it would fail.
    """
    try:
        if trains:
            require_possible_run(project, n_ranks, lambda: finished(project, "plan"))
        if n_local:
            require_possible_here(project, n_ranks if trains else 0)
    except ConfigError:
        if finished(project, "pretrain" if trains else "plan") is None:
            raise


def say_what_is_odd(project: Project, n_ranks: int, *, trains: bool) -> None:
    """Say once, before any stage runs, what is allowed and yet most likely not meant."""
    if not is_first_process():
        return
    said = many_threads(project.pretrain)
    if said and finished(project, "plan") is None:
        say(said)
    said = lonely_replica(project.pretrain, n_ranks) if trains else None
    if said and finished_training(project) is None:
        say(said)


def finished_training(project: Project) -> Artifact | None:
    """The finished run that this project file leads to; nothing is made, and no lock is taken."""
    return finished(project, "pretrain")


def finished(project: Project, stage: str) -> Artifact | None:
    """What a stage up to `pretrain` made of this project file; None: it is not finished."""
    if not (project.folder / "artifacts").is_dir():
        return None
    work = Work(project, Store(project.folder / "artifacts"), only_finished=True)
    try:
        for name in needed(stage):
            work.done[name], _ = STAGES[name](work)
    except GroundupError:  # not made yet, or its text is gone
        return None
    return work.done[stage]


STAGES: dict[str, Callable[[Work], tuple[Artifact, bool]]] = {
    "data": data,
    "tokenizer": tokenizer,
    "tokens": tokens,
    "machine": machine,
    "plan": plan,
    "pretrain": pretrain,
    "evaluate": evaluate,
    "export": export,
    "report": report,
}
NEEDS: dict[str, tuple[str, ...]] = {
    "data": (),
    "tokenizer": ("data",),
    "tokens": ("data", "tokenizer"),
    "machine": ("tokens",),
    "plan": ("tokens", "machine"),
    "pretrain": ("tokens", "tokenizer", "machine", "plan"),
    "evaluate": ("tokens", "tokenizer", "plan", "pretrain"),
    "export": ("tokenizer", "pretrain"),
    "report": (
        "data", "tokenizer", "tokens", "machine", "plan", "pretrain", "evaluate", "export",
    ),
}  # fmt: skip
