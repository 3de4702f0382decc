"""``groundup pretrain --at``: word left for the newest run, which may be at work meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.architecture.config import GATED, UNGATED
from groundup.artifacts import Artifact
from groundup.errors import ConfigError, InputError
from groundup.find import RUNS
from groundup.findings import check
from groundup.stages_identity import runs_of
from groundup.train.changes import Change, ask, given_by_hand, in_order
from groundup.train.config import PretrainConfig, Settings
from groundup.train.parallel.layout import LayoutConfig
from groundup.yaml12 import dotted, read_yaml

if TYPE_CHECKING:
    from groundup.project import Project


def change_at(at: int, over: int, overrides: Sequence[str]) -> Change:
    """A change that was given by hand as ``key=value`` of the section ``pretrain``.

    Raises:
        ConfigError: everything that is wrong with it.
    """
    values: dict[str, Any] = {"at": at, "over": over}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"write {override!r} as key=value", where="--at")
        values[key.strip().removeprefix("pretrain.")] = read_yaml(text.encode(), override).value
    change, findings = check(Change, values)
    if change is None:
        problems = tuple(f"{dotted(key) or '--at'}: {text}" for key, text in findings.items())
        raise ConfigError("the run cannot change that way", where="--at", problems=problems)
    return change


def ask_newest(project: Project, change: Change) -> Path:
    """Leave a change for the newest run of a project, which may be at work; its folder.

    Raises:
        InputError: there is no run, or it is finished.
    """
    runs = runs_of(project)
    if not runs or runs[0].manifest["status"] == "finished":
        raise InputError(
            "there is no unfinished run that could change",
            where=str(project.folder / RUNS),
            fix="`groundup pretrain --allow-change KEY` goes on with a finished one",
        )
    require_possible(change, runs[0])
    ask(runs[0].path, change)
    return runs[0].path


def require_possible(change: Change, run: Artifact) -> None:
    """Check a change against the run it is for, as the project file's own are.

    Raises:
        ConfigError: the run cannot change that way.
    """
    model, settings = (run.manifest["config"][name] for name in ("model", "settings"))
    problems = []
    before = model["feed_forward"]["activation"]
    kin = GATED if before in GATED else UNGATED
    if change.activation is not None and change.activation not in kin:
        problems.append(f"activation: {before} can become {' or '.join(kin)}")
    sources = set(run.manifest.get("sources") or ())
    if change.mixture is not None and set(change.mixture) != sources:
        known = f"name {', '.join(sorted(sources))}" if sources else "the run draws from no mixture"
        problems.append(f"mixture: {known}")
    try:
        section = section_of(run, settings, change.at).changed(change)
    except ValueError as error:
        problems.append(str(error).removeprefix(f"the change at {change.at}: "))
    else:
        problems += problems_of_rows(run, settings, section)
    if problems:
        raise ConfigError(
            "the run cannot change that way",
            where=f"--at {change.at}, {run.path}",
            problems=tuple(problems),
        )


def problems_of_rows(
    run: Artifact, settings: Mapping[str, Any], section: PretrainConfig
) -> Iterator[str]:
    """Why the processes of a run cannot share a step's rows, once they are as in ``section``."""
    from groundup.train.distributed import require_rows
    from groundup.train.parallel.pipeline import require_micro_batches

    began = Settings(**settings)
    layout, ranks = LayoutConfig(**began.layout), run.manifest["fingerprint"]["ranks"]
    n_shares = ranks["dp_replicate"] * ranks["dp_shard"]
    then = replace(
        began,
        batch_size=section.batch_size or began.batch_size,
        micro_batch_size=section.micro_batch_size or began.micro_batch_size,
        changes=(),  # those known were looked at when they were given
    )
    try:
        require_rows(then, n_shares)
        if layout.pp > 1:
            require_micro_batches(then, layout, n_shares)
    except ConfigError as error:
        yield f"{error.message}; {error.fix}"


def section_of(run: Artifact, settings: Mapping[str, Any], at: int) -> PretrainConfig:
    """The section ``pretrain`` that holds for a run at a step, by its record.

    The sizes of the batch are the run's: what the file left open is decided there. Changes that are
    known already have been made.

    Args:
        settings: that the run began with.
    """
    written = run.manifest["project_config"]["pretrain"]
    sizes = {name: settings[name] for name in ("batch_size", "micro_batch_size")}
    section = PretrainConfig.model_validate({**written, **sizes, "changes": ()})
    scheduled = [Change(**each) for each in settings["changes"]]
    for change in in_order([*scheduled, *given_by_hand(run.path)]):
        if change.at <= at:
            section = section.changed(change)
    return section
