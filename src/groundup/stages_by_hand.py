"""``groundup pretrain --at``: word left for the newest run, which may be at work meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.errors import ConfigError, InputError
from groundup.find import RUNS
from groundup.findings import check
from groundup.stages_identity import runs_of
from groundup.train.changes import Change, ask
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
    ask(runs[0].path, change)
    return runs[0].path
