"""Around a run of several ranks: the beat, and an error that names the rank at fault.

A collective only says that a connection was closed or that time ran out; `failures` finds who is
behind it. A loop that stands in a collective that never raises is ended from the heart's thread.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from groundup.errors import GroundupError, RankFailedError
from groundup.progress import say
from groundup.train.distributed import Ranks, barrier
from groundup.train.failures import Failure, find_failures, place_of
from groundup.train.heartbeat import Beat, Heart, Phase, clear_beats, read_beats
from groundup.train.stacks import answering, ask_for_stacks
from groundup.train.watch import SlowWatch

NAMED_AT_MOST = 4  # ranks in one message
GLOO_MARGIN_SECONDS = 15.0  # after its timeout gloo raises; the loop then takes some beats to look

# What collectives raise: gloo a RuntimeError with one of these, nccl a DistBackendError.
COLLECTIVE = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|timed out waiting|broken pipe|"
    r"application timeout|processgroup|socket",
    re.IGNORECASE,
)


@contextmanager
def watched(
    folder: Path,
    ranks: Ranks,
    *,
    launch: int,
    timeout_seconds: float,
    first_timeout_seconds: float | None = None,
    device: str = "cpu",
    heart: Heart | None = None,
    on_stuck: Callable[[RankFailedError], None] | None = None,
) -> Iterator[Heart]:
    """Beat while the block runs, answer requests for stacks, and name the rank at fault.

    A process alone keeps a heart that writes nothing. To be entered last of a run's contexts: what
    they do at the end may wait for the rank at fault, and `stop_requested` keeps the SIGTERM that
    torchrun sends the survivors from ending them before they have named it.

    Args:
        folder: the run's.
        launch: a number that all ranks of this start share and no other start has.
        timeout_seconds, first_timeout_seconds: of a collective; the first step's may be longer.
        device: of this process; NCCL's collectives on ``cuda`` never raise but end the process.
        heart: one with settings of its own; default: as `Heart` makes it.
        on_stuck: what the heart's thread does with the error where the loop itself never learns of
            it; default: print it and end the process.

    Raises:
        RankFailedError: a collective failed, in place of its own error.
    """
    heart = heart or Heart(folder, ranks, launch=launch, device=device)
    if ranks.size == 1:
        yield heart
        return
    if ranks.is_first:
        clear_beats(folder)  # what an earlier start left
    barrier(ranks)
    heart.start()
    patience = Patience.with_timeouts(timeout_seconds, first_timeout_seconds, device)
    backstop = Backstop(folder, heart, patience, on_stuck or leave)
    heart.each_beat.append(backstop.look)
    if ranks.is_first:
        heart.each_beat.append(SlowWatch(folder, heart).look)
    why, consequence = "finished", False
    try:
        with answering(heart):
            try:
                yield heart
            except Exception as error:
                if not is_collective_error(error):
                    raise
                with backstop.paused():
                    raise explained(folder, heart, error) from error
    except BaseException as error:
        why = first_line(error)
        consequence = isinstance(error, RankFailedError)
        raise
    finally:
        heart.end(why, consequence=consequence)


def explained(folder: Path, heart: Heart, error: BaseException | None = None) -> RankFailedError:
    """Find who failed, get stacks where someone still has some, and put it in words."""
    waited = heart.standing_seconds()
    heart.held_up()
    failures = find_failures(folder, heart, waited)
    beats = read_beats(folder, heart.launch)
    if any(failure.kind in ("stopped", "hung", "behind") for failure in failures) or not failures:
        ask_for_stacks(heart, beats.values())
    return in_words(folder, failures, heart, beats, waited, error)


def in_words(
    folder: Path,
    failures: list[Failure],
    heart: Heart,
    beats: dict[int, Beat],
    waited_seconds: float,
    error: BaseException | None,
) -> RankFailedError:
    """The error for people."""
    if failures:
        shown, more = failures[:NAMED_AT_MOST], len(failures) - NAMED_AT_MOST
        message = ", ".join(failure.sentence() for failure in shown)
        message += f" and {more} more" if more > 0 else ""
        message += f", of {heart.ranks.size} ranks"
        places = [failure.place() for failure in shown]
    else:
        cause = f" ({first_line(error)})" if error else ""
        hosts = sorted({beat.host for beat in beats.values()})
        message = (
            f"the ranks cannot reach each other: all {heart.ranks.size} live on "
            f"{', '.join(hosts)}, and this one waited {waited_seconds:.0f} s{cause}"
        )
        places = [f"rank {beat.rank}: {place_of(beat)}" for beat in beats.values()][:NAMED_AT_MOST]
    stacks = sorted(path.name for path in heart.folder.glob("*.stack.txt") if path.stat().st_size)
    if stacks:
        places.append(f"stacks in {heart.folder}: {', '.join(stacks[:NAMED_AT_MOST])}")
    machines = "the network between the machines" if not failures else "that machine"
    return RankFailedError(
        message,
        where="\n         ".join([str(folder), *places]),
        fix=f"give the same command again (torchrun --max-restarts does): training goes on from the"
        f" last checkpoint; if it comes back, look at {machines} with groundup doctor",
    )


def is_collective_error(error: BaseException) -> bool:
    """Whether a collective between ranks failed, as opposed to our own code or the user's data."""
    from torch.distributed import DistError

    if isinstance(error, GroundupError):
        return False
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and COLLECTIVE.search(str(error)) is not None
    )


def first_line(error: BaseException) -> str:
    """An error's kind and the first line of its message."""
    message = error.message if isinstance(error, GroundupError) else str(error)
    line = message.strip().partition("\n")[0]
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__


@dataclass(frozen=True)
class Patience:
    """For how long the loop may stand in a collective, in seconds.

    Attributes:
        look: before somebody looks what the matter is.
        end, first_end: before this process is ended from outside; the first step may take longer.
    """

    look: float
    end: float
    first_end: float

    @classmethod
    def with_timeouts(cls, timeout: float, first_timeout: float | None, device: str) -> Patience:
        """After gloo's timeout, which the loop should hear of; before NCCL's."""

        def end(seconds: float) -> float:
            return 0.75 * seconds if device.startswith("cuda") else seconds + GLOO_MARGIN_SECONDS

        return cls(timeout / 3, end(timeout), end(first_timeout or timeout))


class Backstop:
    """Looks after a loop that stands in a collective, from the heart's thread.

    After a while one of the ranks that wait says for whom. A rank that is gone for sure ends this
    process then, any other after the whole patience.
    """

    def __init__(
        self,
        folder: Path,
        heart: Heart,
        patience: Patience,
        on_stuck: Callable[[RankFailedError], None],
    ) -> None:
        self.folder, self.heart, self.patience, self.on_stuck = folder, heart, patience, on_stuck
        self.busy = threading.Lock()
        self.looked = False  # since the loop last moved
        self.loop_knows = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While the loop itself, which has heard of the failure, looks for the rank at fault."""
        self.loop_knows = True
        with self.busy:
            yield

    def look(self) -> None:
        """Called with every beat."""
        stood = self.heart.standing_seconds()
        if stood < self.patience.look or not self.heart.now().waiting:
            self.looked = False
            return
        over = stood >= (self.patience.end if self.heart.hurried else self.patience.first_end)
        if (over or not self.looked) and self.busy.acquire(blocking=False):
            self.looked = True
            # In a thread of its own: this one goes on beating, or others would call us silent.
            threading.Thread(
                target=self.look_around, args=[over], name="watchdog", daemon=True
            ).start()

    def look_around(self, over: bool) -> None:
        """Say who is waited for; end the process if the patience is over or the rank is gone."""
        place = self.heart.place
        try:
            failures = find_failures(self.folder, self.heart, self.heart.standing_seconds())
            if not over and self.still_at(place):
                self.say_for_whom(failures)
            gone = bool(failures) and all(each.kind in ("dead", "ended") for each in failures)
            if (over or gone) and self.still_at(place):
                error = explained(self.folder, self.heart)
                if self.still_at(place):
                    self.on_stuck(error)
        finally:
            self.busy.release()

    def still_at(self, place: tuple[Phase, int, float]) -> bool:
        """Whether the loop has neither moved nor heard of the failure."""
        return self.heart.place == place and not self.loop_knows

    def say_for_whom(self, failures: list[Failure]) -> None:
        """Name the ranks that are waited for; one rank says it for all."""
        if failures and self.heart.ranks.rank == first_of_others(failures, self.heart.ranks.size):
            phase, step, _ = self.heart.place
            names = ", ".join(failure.sentence() for failure in failures[:NAMED_AT_MOST])
            say(f"waiting {self.heart.standing_seconds():.0f} s in {phase} of step {step}: {names}")


def first_of_others(failures: list[Failure], size: int) -> int:
    """The lowest rank that has not failed."""
    failed = {failure.rank for failure in failures}
    return next((rank for rank in range(size) if rank not in failed), 0)


def leave(error: RankFailedError) -> None:
    """Print the error and end this process though its main thread cannot be reached."""
    say(str(error))
    sys.stderr.flush()
    os._exit(error.code)
