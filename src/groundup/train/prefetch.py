"""The batch of the next step, prepared by a thread while this step computes.

A batch is a function of what it is asked by (`Wanted`), so it may be made at any time and anywhere.
What comes next is a guess: a skip, a rewind, a ramp or another mixture asks for another batch, and
the prepared one is thrown away. No bit of a run depends on it.

Each batch has a thread of its own, and between two of them there is none: nothing to shut down,
and nothing that a fork would leave behind. What goes wrong in it is forgotten: the step that needs
the batch makes it again, and meets the error where it would have met it without the thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch

from groundup.architecture.config import ModelConfig
from groundup.tokens.dataset import TokenDataset
from groundup.train.batch import Batch, Counts, counts_of
from groundup.train.config import Settings
from groundup.train.distributed import Ranks, rows_of
from groundup.train.objective import Objective
from groundup.train.parallel.context import tokens_of
from groundup.train.ramps import cut_rows, sequence_length_at
from groundup.train.state import RunState

CLOSING_SECONDS = 10.0  # for a thread that reads from a disk that hangs; longer nobody waits

Prepared = tuple[Batch, Counts]


@dataclass(frozen=True)
class Wanted:
    """All that a batch of a run depends on beside what the run never changes.

    Attributes:
        seed, cursor, batch_size, context_length: as in `Objective.batch_at`.
        sequence_length: that rows are cut to.
        mixtures: (sample from which one holds, its weights by source), as pairs.
    """

    seed: int
    cursor: int
    batch_size: int
    context_length: int
    sequence_length: int
    mixtures: tuple[tuple[int, tuple[tuple[str, float], ...]], ...] = ()


def wanted(state: RunState, now: Settings, step: int, cursor: int) -> Wanted:
    """What the batch of ``step`` (from 0) depends on, by that step's settings."""
    return Wanted(
        now.seed,
        cursor,
        now.batch_size,
        now.context_length,
        sequence_length_at(now, step),
        tuple((each["cursor"], tuple(each["weights"].items())) for each in state.mixtures),
    )


def prepared(
    wanted: Wanted,
    dataset: TokenDataset,
    objective: Objective,
    config: ModelConfig,
    ranks: Ranks,
    *,
    local: bool,
) -> Prepared:
    """The rows of this rank and the counts of all rows, on the CPU.

    Args:
        local: a replica that takes steps of its own has counts of its own.
    """
    whole = objective.batch_at(
        dataset,
        wanted.seed,
        wanted.cursor,
        wanted.batch_size,
        wanted.context_length,
        [(cursor, dict(weights)) for cursor, weights in wanted.mixtures],
    )
    whole = cut_rows(whole, wanted.sequence_length)
    mine = rows_of(whole, ranks)
    # Of all ranks' rows: every rank knows them, none is asked.
    counts = counts_of(mine if local else whole)
    return tokens_of(mine, config, ranks), counts


class Prefetch:
    """The batches of one run, each prepared while the one before is learnt from.

    Args:
        make: a batch of this process's rows and the counts of all, on the CPU; a pure function.
        device: for ``cuda`` batches come in pinned memory, from which copies need no waiting.
    """

    def __init__(self, make: Callable[[Wanted], Prepared], device: str = "cpu") -> None:
        self._make, self._pins = make, device == "cuda"
        # Which GPU is current is a thread's own: pinning must not wake another one.
        self._gpu = torch.cuda.current_device() if self._pins else None
        self._thread: threading.Thread | None = None
        self._guess: Wanted | None = None
        self._prepared: Prepared | None = None

    def get(self, wanted: Wanted, following: Wanted | None = None) -> Prepared:
        """The batch of ``wanted``; a thread then begins with ``following``, the likely next.

        Raises:
            Exception: what ``make`` raises.
        """
        self._wait()
        found, self._prepared = self._prepared, None
        batch = found if found is not None and self._guess == wanted else self._made(wanted)
        self._guess = following
        if following is not None:
            self._thread = threading.Thread(
                target=self._prepare, args=[following], name="prefetch", daemon=True
            )
            self._thread.start()
        return batch

    def close(self) -> None:
        """Wait for the thread, not for ever; what it made is let go of."""
        self._wait(CLOSING_SECONDS)
        self._guess = self._prepared = None

    def _wait(self, seconds: float | None = None) -> None:
        if self._thread is not None:
            self._thread.join(seconds)
            self._thread = None

    def _prepare(self, wanted: Wanted) -> None:
        try:
            if self._gpu is not None:
                torch.cuda.set_device(self._gpu)
            self._prepared = self._made(wanted)
        except Exception:  # the step that needs it makes it again, and raises
            self._prepared = None

    def _made(self, wanted: Wanted) -> Prepared:
        batch, counts = self._make(wanted)
        return (batch.pinned(), counts.pinned()) if self._pins else (batch, counts)
