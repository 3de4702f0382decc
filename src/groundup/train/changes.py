"""Changes of a run while it runs: scheduled in the project file, or given by hand on the way.

``pretrain.changes`` has the scheduled ones; those by hand stand in ``changes.json`` of the run's
folder. Which settings hold after so many steps is a function of the two, so a resumed run makes the
same changes at the same steps. No torch here: see `hot_swap` for what a change does to a model.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from groundup.errors import CorruptError, InputError
from groundup.files import read_json, write_json
from groundup.findings import check, shown
from groundup.section import Section
from groundup.units import Count
from groundup.yaml12 import dotted

if TYPE_CHECKING:
    from groundup.train.config import Settings

FILE = "changes.json"  # in a run's folder


class Change(Section):
    """Some settings from a step on. What is null stays as it was."""

    at: Annotated[Count, Field(ge=1)]
    """Steps done when it takes effect."""
    over: Count = Field(0, ge=0)
    """Steps over which it comes in: an activation is blended, after a change of optimizer the
    learning rate rises from zero."""
    optimizer: Literal["muon", "adamw", "sgd", "adafactor"] | None = None
    """Another of `pretrain.optimizer`; momenta are carried over as far as the new one has such."""
    learning_rate: float | None = Field(None, gt=0)
    """This and the following: as in `pretrain`."""
    adam_learning_rate: float | None = Field(None, gt=0)
    embedding_learning_rate: float | None = Field(None, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    momentum: float | None = Field(None, ge=0, lt=1)
    beta1: float | None = Field(None, ge=0, lt=1)
    beta2: float | None = Field(None, ge=0, lt=1)
    grad_clip: float | None = Field(None, gt=0)
    steps: Count | None = Field(None, ge=1)
    schedule: Literal["wsd", "cosine", "linear", "inverse_sqrt", "constant"] | None = None
    warmup_steps: Count | None = None
    decay_fraction: float | None = Field(None, gt=0, le=1)
    min_lr_ratio: float | None = Field(None, ge=0, le=1)
    batch_size: Count | None = Field(None, ge=1)
    micro_batch_size: Count | None = Field(None, ge=1)
    activation: str | None = None
    """Of the feed-forward networks; gated ones can only become gated ones."""
    mixture: dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Source → weight, of the sources that the run draws from already."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.settings():
            raise ValueError(f"the change at {self.at} changes nothing: name a setting")
        if self.steps is not None and self.steps <= self.at:
            raise ValueError(f"the run cannot have ended at {self.steps}: steps is above at")
        if self.over and self.activation is None and self.optimizer is None:
            raise ValueError(
                "over is for an optimizer or an activation: nothing else comes in slowly"
            )
        if self.learning_rate is None and self.optimizer is not None:
            raise ValueError("another optimizer needs a learning_rate of its own")
        return self

    def settings(self) -> dict[str, Any]:
        """Name → value of what it sets."""
        return self.model_dump(exclude={"at", "over"}, exclude_none=True)


def settings_after(settings: Settings, changes: Iterable[Change], step: int) -> Settings:
    """The settings in force for the ``step``-th step of a run, which begin at ``settings``."""
    known = {field.name for field in fields(settings)}
    for change in changes:
        if change.at < step:
            named = change.settings()
            settings = replace(settings, **{k: v for k, v in named.items() if k in known})
    return settings


def in_order(changes: Iterable[Change]) -> list[Change]:
    """By step; of one step in the order they were given."""
    return sorted(changes, key=lambda change: change.at)


def given_by_hand(folder: Path) -> list[Change]:
    """The changes in a run's ``changes.json``, in the order they were given.

    Raises:
        CorruptError: the file is no such list; the first entry that is no change is named.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        records = read_json(path)
    except InputError as error:
        raise no_changes(path, error.message) from error
    if not isinstance(records, list):
        raise no_changes(path, f"this is no list of changes, but {shown(records)}")
    return [change_of(record, f"{path}, entry {n}") for n, record in enumerate(records, 1)]


def change_of(record: Any, where: str) -> Change:
    """A change as it stands in ``changes.json``.

    Raises:
        CorruptError: it is none.
    """
    if not isinstance(record, dict):
        raise no_changes(where, f"{shown(record)} is no change")
    change, findings = check(Change, record)
    if change is None:
        said = "; ".join(
            f"{dotted(key)}: {text}" if key else text for key, text in findings.items()
        )
        raise no_changes(where, f"this is no change: {said}")
    return change


def no_changes(where: Path | str, message: str) -> CorruptError:
    """What is said of a ``changes.json`` that `write` has not written."""
    return CorruptError(
        message,
        where=str(where),
        fix="mend the file, or remove it: it holds the changes that were given with --at",
    )


def ask(folder: Path, change: Change) -> None:
    """Append a change by hand; a run at work sees it before its next step but one."""
    with held(folder):
        write(folder, [*given_by_hand(folder), change])


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else changes the file meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(folder: Path, changes: Iterable[Change]) -> None:
    """Replace ``changes.json``, atomically."""
    write_json(folder / FILE, [record(change) for change in changes])


def record(change: Change) -> Mapping[str, Any]:
    """A change as JSON, without what it leaves alone."""
    return {"at": change.at, "over": change.over, **change.settings()}
