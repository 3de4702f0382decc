"""A run's checkpoints while it runs, and the way back to one of them.

Only *regular* checkpoints (at multiples of ``checkpoint_every``) are gone back to: those are the
same for a run that was interrupted and for one that was not. What was gone back to is saved again
at once, with the guard's memory of it, and what came after it is removed: from there on a crash
leads to the same decisions.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from groundup.artifacts import damage
from groundup.errors import CorruptError, DivergedError
from groundup.files import TEMPORARY
from groundup.progress import say
from groundup.track.run import checkpoints
from groundup.train.checkpoint import load_checkpoint
from groundup.train.distributed import FIRST_STEP_SECONDS, Ranks, barrier, limit_waiting
from groundup.train.guard.guard import Guard, Verdict
from groundup.train.hot_swap import Changes
from groundup.train.integrity.finding import Finding, error_of
from groundup.train.log import Log
from groundup.train.state import RunState
from groundup.train.step import drop_gradients
from groundup.train.writer import Saver

MEASURED = ("elapsed_seconds", "step_seconds", "peak_memory_bytes")  # time does not go back


class Recovery:
    """What keeps a run's good states, and puts one back.

    Args:
        folder: the run's ``checkpoints``.
        fingerprint: what a checkpoint belongs to.
        every: steps between regular checkpoints.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: Mapping[str, Any],
        saver: Saver,
        guard: Guard,
        log: Log,
        changes: Changes,
        every: int,
        ranks: Ranks,
    ) -> None:
        self.folder, self.fingerprint, self.every, self.ranks = folder, fingerprint, every, ranks
        self.saver, self.guard, self.log, self.changes = saver, guard, log, changes

    def begin(self, state: RunState) -> None:
        """Save what a run starts from: there is always a state to go back to."""
        if state.step == 0 and not checkpoints(self.folder):
            self.save(state)

    def is_due(self, step: int) -> bool:
        """Whether a regular checkpoint belongs here."""
        return step % self.every == 0

    def save(self, state: RunState, *, wait: bool = False) -> Verdict:
        """Save ``state`` if the guard finds it good; its verdict says what to do otherwise.

        Args:
            wait: until it is on disk; its failure is then an error.

        Raises:
            StorageError: it cannot be written, and there is none before it or ``wait`` is set.
        """
        verdict = self.guard.before_checkpoint(state.step, is_regular=self.is_due(state.step))
        if verdict.action != "apply":
            return verdict
        self.check(state)
        self.log.checkpoint(state)
        self.saver.save(state, self.fingerprint)
        if wait:
            self.wait()
            self.check(state, last=True)
        return verdict

    def wait(self) -> None:
        """Until what was begun is on the disk; for as long the other ranks wait for the first."""
        limit_waiting(self.ranks, FIRST_STEP_SECONDS)
        self.saver.wait()
        barrier(self.ranks)
        limit_waiting(self.ranks)

    def check(self, state: RunState, *, last: bool = False) -> None:
        """Say that the last checkpoint was not written, if it was not.

        Raises:
            StorageError: there is none before it, or it was the ``last``.
        """
        error = self.saver.failed()
        if error is None:
            return
        self.log.run.event(state.step, "checkpoint_failed", error=error.message)
        if last or not checkpoints(self.folder):
            raise error
        self.log.shown.say(f"a checkpoint was not written ({error.message}); training goes on")

    def of_corruption(self, findings: Sequence[Finding], state: RunState) -> Verdict:
        """Write what was found and go back before it.

        Raises:
            CorruptError: the guard's policy does not go back.
        """
        self.log.corruption(state, findings)
        if self.guard.config.policy != "rewind":
            raise error_of(findings, str(self.folder.parent))
        return self.guard.damaged(state.step, state.cursor, str(findings[0]))

    def act(self, verdict: Verdict, state: RunState, batch_size: int) -> None:
        """Leave the batch out, or bring ``state`` back to a checkpoint.

        Raises:
            DivergedError: the guard gives up.
            CorruptError: there is no good checkpoint to go back to.
        """
        drop_gradients(state)
        if verdict.action == "skip":
            self.log.intervention("skipped", state, verdict, samples=batch_size)
            state.cursor += batch_size
        elif verdict.action == "rewind":
            self.rewind(state, verdict, batch_size)
        else:
            self.log.intervention("gave_up", state, verdict)
            raise DivergedError(
                verdict.why,
                where=f"step {state.step + 1}, samples from {state.cursor}, {self.folder.parent}",
                fix=f"{verdict.details['fix']}; the checkpoints before this step are good",
            )

    def rewind(self, state: RunState, verdict: Verdict, batch_size: int) -> None:
        """Back to the checkpoint that ``verdict`` asks for; what was used up stays used up.

        Raises:
            CorruptError: there is none.
        """
        self.wait()
        self.check(state)
        back = int(verdict.details.get("checkpoints_back", 1))
        target = nth_good(self.folder, self.every, back)
        if target is None:
            raise CorruptError(
                f"{verdict.why}; and no checkpoint is whole",
                where=str(self.folder),
                fix="start the run again, on another machine if this one's memory is in doubt",
            )
        from_step, from_tokens, memory = state.step, state.tokens, state.guard
        behind = state.cursor + batch_size * (1 + int(verdict.details.get("more_batches", 0)))
        measured = {name: getattr(state, name) for name in MEASURED}
        self.changes.prepare(state, step_of(target))
        load_checkpoint(target, state, self.ranks)
        for name, value in measured.items():
            setattr(state, name, value)
        state.cursor = behind
        self.guard.rewound(state.guard, memory, from_step, state.step, behind, verdict.why)
        self.log.rewound(state, verdict, from_step, from_tokens, target.name)
        barrier(self.ranks)  # nobody reads any more
        self.log.checkpoint(state)
        self.saver.save(state, self.fingerprint)
        self.wait()
        self.check(state, last=True)
        if self.ranks.is_first:
            for path in checkpoints(self.folder):
                if step_of(path) > state.step:
                    shutil.rmtree(path.rename(self.folder / f"{TEMPORARY}{path.name}"))


def nth_good(folder: Path, every: int, n: int) -> Path | None:
    """The ``n``-th last regular checkpoint that is whole; the first of them if there are fewer."""
    found = None
    for number, path in enumerate(regular(folder, every), 1):
        found = path
        if number == n:
            break
    return found


def regular(folder: Path, every: int) -> Iterator[Path]:
    """Whole checkpoints at multiples of ``every`` steps, newest first; damaged ones are named."""
    for path in reversed(checkpoints(folder)):
        problems = damage(path)
        if problems:
            say(f"checkpoint {path.name} is damaged and not used: {'; '.join(problems)}")
        elif step_of(path) % every == 0:
            yield path


def step_of(path: Path) -> int:
    """The step a checkpoint's folder is named after."""
    return int(path.name.removeprefix("step-"))
