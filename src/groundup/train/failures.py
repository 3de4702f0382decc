"""Who failed: the rank that is dead, stopped, silent or hung, named by those that survive.

A collective only says that a connection was closed or that time ran out. The rank behind it is
found from the beats (`heartbeat`) and, on the same machine, from the kernel:

    ended      its last beat says with which error
    dead       its process is gone
    stopped    its process is there and stopped (SIGSTOP, a debugger)
    silent     its beat did not go on: its machine, or the way to the disk
    hung       it beats, but stands in its own work while the others wait for it
    behind     it waits too, at an earlier step than the others: the ranks are out of step
    missing    it never beat in this start

If nobody is any of these, all ranks live and wait for each other: the network between them.
Beats are compared with themselves, seconds apart by a clock that never jumps; no two machines'
clocks are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from groundup.train.heartbeat import Beat, Heart, read_beats
from groundup.train.processes import ENDED, STOPPED, machine, process_state

Kind = Literal["ended", "dead", "stopped", "silent", "hung", "behind", "missing"]

BEATS_OF_SILENCE = 3  # so many missed beats are silence: one may be late behind a slow disk
POLL_SECONDS = 0.1
SETTLE_SECONDS = 0.3  # a machine that fails takes several ranks: name them all
STOPPED_SECONDS = 1.0  # shorter stops (a debugger that attaches) are nobody's failure


@dataclass(frozen=True)
class Failure:
    """One rank, and what is wrong with it.

    Attributes:
        beat: its last; None if there never was one.
        details: what is known beyond the kind: a signal, an error.
    """

    rank: int
    kind: Kind
    beat: Beat | None = None
    details: str = ""

    def sentence(self) -> str:
        """``rank 1 is dead (SIGKILL)``."""
        verb = {"ended": "has ended", "missing": "never started"}
        details = f" ({self.details})" if self.details else ""
        return f"rank {self.rank} {verb.get(self.kind, f'is {self.kind}')}{details}"

    def place(self) -> str:
        """Host, process, and the last place that is known."""
        return f"rank {self.rank}: " + ("no beat" if self.beat is None else place_of(self.beat))


def find_failures(folder: Path, heart: Heart, waited_seconds: float) -> list[Failure]:
    """The ranks at fault, the surest kind of failure only; empty if all live and wait.

    Takes a moment where a process of this machine is gone or has said why it ended, and three
    beats where silence is all there is. Ranks that ended because of another one are named only
    where that one cannot be found.

    Args:
        waited_seconds: how long this rank had stood in the collective; after less than three beats
            (a connection that broke) nobody is called hung.
    """
    first = read_beats(folder, heart.launch)
    others = [rank for rank in range(heart.ranks.size) if rank != heart.ranks.rank]
    began, stopped_since = time.monotonic(), dict[int, float]()
    window = max((BEATS_OF_SILENCE + 0.5) * heart.interval_seconds, 2 * STOPPED_SECONDS)
    while True:
        passed = time.monotonic() - began
        beats = read_beats(folder, heart.launch)
        ended = [found for beat in beats.values() if (found := gone(beat)) is not None]
        causes = [found for found in ended if found.beat is None or not found.beat.consequence]
        if causes and passed >= SETTLE_SECONDS:
            return causes
        for rank, beat in beats.items():
            if is_stopped(beat):
                stopped_since.setdefault(rank, passed)
            else:
                stopped_since.pop(rank, None)
        long = [rank for rank, at in stopped_since.items() if passed - at >= STOPPED_SECONDS]
        if long:
            return [Failure(rank, "stopped", beats[rank]) for rank in long]
        if passed >= window:
            break
        time.sleep(POLL_SECONDS)

    missing = [Failure(rank, "missing") for rank in others if rank not in beats]
    silent = [
        Failure(rank, "silent", beats[rank], f"no beat for {window:.0f} s or more")
        for rank in others
        if rank in beats and rank in first and beats[rank].count == first[rank].count
        and beats[rank].ended is None
    ]  # fmt: skip
    hung = standing(list(beats.values()), waited_seconds) if waited_seconds >= window else []
    return missing + silent or hung or ended


def gone(beat: Beat) -> Failure | None:
    """The rank has ended, by its own account or by the kernel's."""
    if beat.ended is not None:
        finished = beat.ended == "finished"
        return None if finished else Failure(beat.rank, "ended", beat, beat.ended)
    if beat.machine != machine():
        return None
    state = process_state(beat.pid)
    if state is None or state.started != beat.pid_started:
        return Failure(beat.rank, "dead", beat)
    if state.letter and state.letter in ENDED:
        return Failure(beat.rank, "dead", beat, state.ended_by or "")
    return None


def is_stopped(beat: Beat) -> bool:
    """Whether the rank is a stopped process of this machine."""
    if beat.machine != machine() or beat.ended is not None:
        return False
    state = process_state(beat.pid)
    return state is not None and state.letter != "" and state.letter in STOPPED


def standing(beats: list[Beat], waited_seconds: float) -> list[Failure]:
    """The ranks that keep the others waiting, of ranks that all beat.

    Args:
        waited_seconds: how long one that waits has waited: who stands in its own work for less
            than half of that has arrived there since, and is not the cause.
    """
    last = max((beat.step for beat in beats), default=0)
    hung = [
        Failure(beat.rank, "hung", beat, f"in {beat.phase} for {beat.phase_seconds:.0f} s")
        for beat in beats
        if not beat.waiting and beat.ended is None and beat.phase_seconds >= waited_seconds / 2
    ]
    if hung and len(hung) < len(beats):
        return hung
    return [
        Failure(beat.rank, "behind", beat, f"in step {beat.step}, others in {last}")
        for beat in beats
        if beat.step < last and beat.ended is None
    ]


def place_of(beat: Beat) -> str:
    """``host a, pid 12, cpu, step 37, all-reduce``."""
    return f"host {beat.host}, pid {beat.pid}, {beat.device}, step {beat.step}, {beat.phase}"
