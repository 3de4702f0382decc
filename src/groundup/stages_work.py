"""A project being run: what a stage is given, and how it makes an artifact of what came before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from groundup.artifacts import Artifact, Store, require_whole
from groundup.errors import InputError
from groundup.units import is_number

Result = TypeVar("Result")

if TYPE_CHECKING:
    from groundup.project import Project


@dataclass
class Work:
    """A project being run: its store and what the stages so far gave."""

    project: Project
    store: Store
    done: dict[str, Artifact] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    only_finished: bool = False  # find what is there, make nothing
    allow: tuple[str, ...] | None = None  # settings that the newest run may change as it goes on
    profile: bool = False  # a few steps of the training

    def build(
        self,
        kind: str,
        *,
        config: Mapping[str, Any],
        inputs: Iterable[str] = (),
        more_inputs: Mapping[str, str] | None = None,
        make: Callable[[Path], Mapping[str, Any]],
    ) -> tuple[Artifact, bool]:
        """`Store.build` for one of the `VERSIONS`, with stages as inputs; they must be whole."""
        inputs = list(inputs)

        def make_of_whole(folder: Path) -> Mapping[str, Any]:
            self.require_whole(inputs)
            return make(folder)

        name = self.project.project.name
        key: dict[str, Any] = {
            "version": VERSIONS[kind],
            "config": config,
            "inputs": {**self.hashes(inputs), **(more_inputs or {})},
        }
        if self.store.read(self.store.path(kind, name, **key)) is None:
            self.require_making(kind)
        return self.store.build(kind, name, **key, make=make_of_whole)

    def require_making(self, what: str) -> None:
        """Go on only where something may be made.

        Raises:
            InputError: only what is finished was asked for.
        """
        if self.only_finished:
            raise InputError(f"there is no finished {what} of this project file")

    def require_whole(self, stages: Iterable[str]) -> None:
        """Check every byte of these stages' artifacts, once; checkpoints are checked when loaded.

        Raises:
            CorruptError: a file is damaged; it and its stage's folder are named.
        """
        for name in stages:
            if name not in self.whole and name != "pretrain":
                require_whole(self.done[name].path)
                self.whole.add(name)

    def hashes(self, inputs: Iterable[str]) -> dict[str, str]:
        """Stage → content hash."""
        return {name: self.done[name].content_hash for name in inputs}


def numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    """The single numbers of a record, for a manifest's ``measured``."""
    return {key: value for key, value in record.items() if is_number(value)}


# Of what each kind writes: raise it when the same config would give something else.
VERSIONS = {
    "corpus": 2, "tokenizer": 2, "tokens": 3, "machine": 4, "plan": 2, "layout": 1, "pretrain": 3,
    "evaluation": 3, "export": 3, "report": 4, "finding": 1,
}  # fmt: skip


def on_first_rank(work: Callable[[], Result]) -> Result:
    """``work()``; of several processes that torchrun started the others wait, and find it done."""
    if "WORLD_SIZE" not in os.environ:
        return work()
    from groundup.train.distributed import first_rank_does

    return first_rank_does(work)


def require_agreement(project: Project) -> None:
    """What several processes do at the beginning of a command: see that they are told the same.

    Raises:
        ConfigError: project file, overrides or code differ between them.
    """
    if "WORLD_SIZE" in os.environ:
        from groundup.train import agreement

        values = project.model_dump(mode="json")
        agreement.require_agreement(values, "project file and overrides")


def take_leave() -> None:
    """What several processes do at the end of a command."""
    if "WORLD_SIZE" in os.environ:
        from groundup.train import distributed

        distributed.take_leave()
