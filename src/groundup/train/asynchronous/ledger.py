"""Which samples are learnt, which are being worked on, and which have to be handed out again.

A range of samples is leased to a worker together with the number of updates behind the weights that
it gets. It is settled once: by the first push for it. A worker that leaves gives its ranges back;
one that is silent for too long loses them to whoever asks next, and may still be the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, order=True)
class Range:
    """Training samples ``cursor`` to ``cursor + size``."""

    cursor: int
    size: int


@dataclass(frozen=True)
class Lease:
    """A range that a worker computes on.

    Attributes:
        step: updates behind the weights it was handed out with.
        until: on the server's clock, seconds.
    """

    range: Range
    worker: str
    step: int
    until: float


class Ledger:
    """The ranges of one run, from the first sample on.

    Attributes:
        next: first sample that was never handed out.
        returned: ranges to be handed out again.
        leases: by number, those that count on their worker.
    """

    def __init__(self, next: int = 0, returned: list[Range] | None = None) -> None:
        self.next, self.returned = next, sorted(returned or [])
        self.leases: dict[int, Lease] = {}
        self._lapsed: dict[int, Lease] = {}
        self._numbers = itertools.count(1)

    def hand_out(self, worker: str, size: int, step: int, until: float) -> tuple[int, Lease]:
        """The next range, one that came back first; ``size`` samples if it is a new one."""
        if self.returned:
            range = self.returned.pop(0)
        else:
            range = Range(self.next, size)
            self.next += size
        number = next(self._numbers)
        self.leases[number] = Lease(range, worker, step, until)
        return number, self.leases[number]

    def worker_of(self, number: int) -> str | None:
        """Whom a lease was given to, lapsed or not; None: there is no such."""
        lease = self.leases.get(number) or self._lapsed.get(number)
        return None if lease is None else lease.worker

    def settle(self, number: int) -> Lease | None:
        """Close a lease for good; None where its range is learnt already, or there is no such."""
        lease = self.leases.pop(number, None)
        if lease is not None:
            return lease
        lease = self._lapsed.pop(number, None)
        if lease is None:
            return None
        if lease.range in self.returned:
            self.returned.remove(lease.range)
            return lease
        for other, held in self.leases.items():
            if held.range == lease.range:  # given to another, who is slower
                del self.leases[other]
                return lease
        return None

    def give_back(self, range: Range) -> None:
        """Let a settled range be handed out again."""
        self.returned = sorted([*self.returned, range])

    def leave(self, worker: str) -> list[Range]:
        """The ranges of a worker that is gone come back."""
        return self._end({n: each for n, each in self.leases.items() if each.worker == worker})

    def lapse(self, now: float) -> list[Lease]:
        """The leases that ended before ``now``: their ranges come back."""
        ended = {n: lease for n, lease in self.leases.items() if lease.until < now}
        self._end(ended)
        self._lapsed |= ended
        return list(ended.values())

    def extend(self, seconds: float) -> None:
        """Let all leases last so much longer: the server itself had no time for their workers."""
        longer = {
            n: replace(lease, until=lease.until + seconds) for n, lease in self.leases.items()
        }
        self.leases = longer

    def recall(self) -> None:
        """Every range comes back: the weights that they were handed out with are no more."""
        self._end(dict(self.leases))
        self._lapsed.clear()

    def _end(self, leases: Mapping[int, Lease]) -> list[Range]:
        ranges = [lease.range for lease in leases.values()]
        for number in leases:
            del self.leases[number]
        self.returned = sorted([*self.returned, *ranges])
        return ranges

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for a checkpoint: nobody works on anything when it is taken up."""
        open_ranges = sorted([*self.returned, *(each.range for each in self.leases.values())])
        return {"next": self.next, "open": [[each.cursor, each.size] for each in open_ranges]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Ledger:
        """What `to_dict` gave."""
        return cls(record["next"], [Range(cursor, size) for cursor, size in record["open"]])
