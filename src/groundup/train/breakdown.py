"""Where the time of a run goes, part after part: data, forward, backward, optimizer and the rest.

A `Stopwatch` is told which part begins; what passes until the next one begins is that part's, so
the parts add up to the run and nothing is left out. On a CPU a moment is the clock's. On a GPU it
is an event in the stream of kernels: the seconds are the device's own, and nobody waits for them.
They are read once they are past, which the loop's own wait for the loss has seen to. In a pipeline
forward and backward passes take turns, and the waiting for other stages is between them: that is
one part, ``forward_backward``, in place of the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

# What each part is, for people.
PARTS: Final = {
    "data": "reading and preparing batches",
    "forward": "forward passes",
    "backward": "backward passes",
    "forward_backward": "forward and backward passes in turn",
    "optimizer": "gradient norm, clipping and the update",
    "evaluate": "validation and sample texts",
    "checkpoint": "saving",
    "log": "guard, checks and log",
    "profile": "profiling",
    "workers": "waiting for workers and serving them",
}
# The others are beside the steps.
OF_STEPS: Final = ("data", "forward", "backward", "forward_backward", "optimizer", "log")


class Stopwatch:
    """Seconds of each part since it was last asked.

    Args:
        now: the present moment, to be measured from.
        is_past: whether a moment has been reached: on a GPU the host runs ahead of the device.
        between: seconds from one moment to a later one.

    Attributes:
        also: is told of each part too, while somebody profiles.
    """

    def __init__(
        self,
        now: Callable[[], Any] = time.perf_counter,
        is_past: Callable[[Any], bool] = lambda moment: True,
        between: Callable[[Any, Any], float] = lambda one, other: other - one,
    ) -> None:
        self._now, self._is_past, self._between = now, is_past, between
        self._begun: list[tuple[str, Any]] = []  # parts and when they began, in order
        self.also: Callable[[str], None] | None = None

    def at(self, part: str) -> None:
        """From now on ``part``, one of `PARTS`."""
        self._begun.append((part, self._now()))
        if self.also is not None:
            self.also(part)

    def taken(self) -> dict[str, float]:
        """Seconds by part since the last call, the present part's up to now.

        What the device has not done yet is told by a later call.
        """
        if not self._begun:
            return {}
        self._begun.append((self._begun[-1][0], self._now()))
        seconds: dict[str, float] = {}
        done = 0
        for (part, began), (_, ended) in zip(self._begun, self._begun[1:], strict=False):
            if not self._is_past(ended):
                break
            seconds[part] = seconds.get(part, 0.0) + self._between(began, ended)
            done += 1
        del self._begun[:done]
        return seconds


class Nobody:
    """A stopwatch that nobody reads."""

    def at(self, part: str) -> None:
        """Nothing."""

    def taken(self) -> dict[str, float]:
        """Nothing was measured."""
        return {}


Timer = Stopwatch | Nobody
NOBODY = Nobody()


def stopwatch(device: str) -> Stopwatch:
    """The stopwatch of a run on ``cpu`` or ``cuda``."""
    if device != "cuda":
        return Stopwatch()
    import torch

    def now() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    return Stopwatch(
        now,
        is_past=lambda event: event.query(),
        between=lambda one, other: one.elapsed_time(other) / 1000,  # milliseconds
    )


def added(total: Mapping[str, float], more: Mapping[str, float]) -> dict[str, float]:
    """Seconds by part, summed; in the order of `PARTS`."""
    return {
        part: total.get(part, 0.0) + more.get(part, 0.0)
        for part in PARTS
        if part in total or part in more
    }


def in_words(seconds: Mapping[str, float], most: int = 3) -> str:
    """The largest parts: ``59 % backward passes, 31 % forward passes, 6 % saving``."""
    total = sum(seconds.values())
    largest = sorted(seconds.items(), key=lambda item: -item[1])[:most]
    return ", ".join(
        f"{taken / total:.0%} {PARTS[part]}" for part, taken in largest if taken > 0 and total > 0
    )
