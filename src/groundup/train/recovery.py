"""A run's checkpoints while it runs, and the way back to one of them.

Only *regular* checkpoints (at multiples of ``checkpoint_every``) are gone back to: those are the
same for a run that was interrupted and for one that was not. What was gone back to is saved again
at once, with the guard's memory of it, and what came after it is removed: from there on a crash
leads to the same decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from groundup.errors import CorruptError, DivergedError
from groundup.track.run import checkpoint_name, checkpoints, is_whole, step_of
from groundup.train.checkpoint import load_checkpoint
from groundup.train.distributed import Ranks, barrier, summed
from groundup.train.guard.guard import Guard, Verdict
from groundup.train.hot_swap import Changes
from groundup.train.integrity.finding import Finding, error_of
from groundup.train.log import Log
from groundup.train.retention import is_regular, remove
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
        is_taken_up: whether the state came from one of them.
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
        is_taken_up: bool,
        ranks: Ranks,
    ) -> None:
        self.folder, self.fingerprint, self.every, self.ranks = folder, fingerprint, every, ranks
        self.saver, self.guard, self.log, self.changes = saver, guard, log, changes
        self.is_taken_up = is_taken_up

    def begin(self, state: RunState) -> None:
        """Save what a run starts from: there is always a state to go back to."""
        if state.step == 0 and not self.is_taken_up:
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
        if verdict.why:  # saved all the same, by the policy
            self.log.intervention("alarm", state, verdict)
        self.saver.wait()
        self.check(state)
        state.is_regular = self.is_due(state.step)
        state.n_changes = len(self.changes.by_hand)
        self.log.checkpoint(state)
        self.saver.save(state, self.fingerprint)
        if wait:
            self.wait()
            self.check(state, last=True)
        return verdict

    def wait(self) -> None:
        """Until what was begun is on the disk, on every rank."""
        self.saver.wait()
        barrier(self.ranks)

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

    def act(self, verdict: Verdict, state: RunState, batch_size: int, *, seen: bool = True) -> bool:
        """Leave the batch out, or bring ``state`` back to a checkpoint.

        Args:
            seen: whether the next batch was computed already, and is left out with the rest.

        Returns:
            whether it went back.

        Raises:
            DivergedError: the guard gives up.
            CorruptError: there is no good checkpoint to go back to.
        """
        drop_gradients(state)
        if verdict.action == "skip":
            self.log.intervention("skipped", state, verdict, samples=batch_size)
            state.cursor += batch_size
        elif verdict.action == "rewind":
            n_batches = int(verdict.details.get("more_batches", 0)) + seen
            self.rewind(state, verdict, state.cursor + batch_size * n_batches)
            return True
        else:
            self.log.intervention("gave_up", state, verdict)
            raise DivergedError(
                verdict.why,
                where=f"step {state.step + 1}, samples from {state.cursor}, {self.folder.parent}",
                fix=f"{verdict.details['fix']}; the checkpoints before this step are good",
            )

        return False

    def rewind(self, state: RunState, verdict: Verdict, behind: int) -> None:
        """Back to the checkpoint that ``verdict`` asks for.

        Args:
            behind: the first sample that is used next: what was used up stays used up.

        Raises:
            CorruptError: there is none.
        """
        self.wait()
        self.check(state)
        again = int(verdict.details.get("rewinds_in_a_row", 1)) > 1
        before = state.guard.rewinds[-1]["to_step"] if again else state.step + 1
        found = regular(self.folder, before) if self.ranks.is_first else None
        target = chosen(found, self.folder, self.ranks)
        if target is None:
            raise CorruptError(
                f"{verdict.why}; and no checkpoint is whole",
                where=str(self.folder),
                fix="start the run again, on another machine if this one's memory is in doubt",
            )
        from_step, from_tokens, memory = state.step, state.tokens, state.guard
        measured = {name: getattr(state, name) for name in MEASURED}
        self.changes.prepare(state, step_of(target))
        load_checkpoint(target, state, self.ranks)
        for name, value in measured.items():
            setattr(state, name, value)
        state.cursor = behind
        self.guard.rewound(state.guard, memory, from_step, state.step, behind, verdict.why)
        self.log.rewound(state, verdict, from_step, from_tokens, target.name)
        barrier(self.ranks)  # nobody reads any more
        state.n_changes = len(self.changes.by_hand)
        self.log.checkpoint(state)
        self.saver.save(state, self.fingerprint)
        self.wait()
        self.check(state, last=True)
        if self.ranks.is_first:
            for path in reversed(checkpoints(self.folder)):  # a kill leaves no gap behind
                if step_of(path) > state.step:
                    remove(path)


def regular(folder: Path, before: int) -> Path | None:
    """The last whole regular checkpoint of a step below ``before``; else the first of them all."""
    found = None
    for path in reversed(checkpoints(folder)):
        if is_regular(path) and is_whole(path):
            found = path
            if step_of(path) < before:
                break
    return found


def chosen(path: Path | None, folder: Path, ranks: Ranks) -> Path | None:
    """The checkpoint that the first rank has chosen: one disk may read worse than another."""
    step = -1 if path is None else step_of(path)
    step = int(summed(torch.tensor(step if ranks.is_first else 0), ranks))
    return None if step < 0 else folder / checkpoint_name(step)
