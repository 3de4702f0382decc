"""Which source each slot of the endless sequence of samples takes: even, exact, without a state.

A table of 65,536 slots, repeated for ever. Source *i* has ``q[i]`` of them (its share, rounded to
a whole number of slots), spread so that after any *k* slots it has had less than one more or fewer
than ``k q[i] / 65536``. Such an order always exists (Tijdeman 1980, the chairman assignment
problem) and is found by the earliest deadline: the *j*-th slot of a source may not come before
place ``floor(j M / q)`` nor after ``ceil((j + 1) M / q) - 1`` (Steiner & Yeomans 1993).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

N_SLOTS = 1 << 16  # a share is met to 1 in 131,072; the table is made in a tenth of a second


@dataclass(frozen=True)
class Slots:
    """The table.

    Attributes:
        sources: ``[N_SLOTS] int64``, source of each slot.
        ranks: ``[N_SLOTS] int64``, how many slots before it in the table have the same source.
        quotas: ``[n_sources] int64``, slots of each source in the table.
    """

    sources: Int64
    ranks: Int64
    quotas: Int64

    def draw(self, numbers: Int64) -> tuple[Int64, Int64]:
        """Source of each sample number, and how many earlier samples had the same source."""
        rounds, slots = np.divmod(numbers, N_SLOTS)
        sources = self.sources[slots]
        return sources, rounds * self.quotas[sources] + self.ranks[slots]

    def count(self, n: int) -> Int64:
        """How many of the first ``n`` samples each source has, ``[n_sources]``."""
        rounds, slots = divmod(n, N_SLOTS)
        begun = np.bincount(self.sources[:slots], minlength=len(self.quotas))
        counted: Int64 = rounds * self.quotas + begun
        return counted


@lru_cache(maxsize=8)
def slots_of(shares: tuple[float, ...]) -> Slots:
    """The table for shares that are above zero and sum to one."""
    quotas = quotas_of(shares)
    sources = _by_deadline(quotas)
    ranks = np.empty(N_SLOTS, dtype=np.int64)
    for source, quota in enumerate(quotas):
        ranks[sources == source] = np.arange(quota)
    return Slots(sources, ranks, np.array(quotas, dtype=np.int64))


def quotas_of(shares: Sequence[float]) -> list[int]:
    """Slots of each source: largest remainders, and at least one."""
    exact = [share * N_SLOTS for share in shares]
    quotas = [max(1, int(value)) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: (quotas[i] - exact[i], i))
    for place in range(N_SLOTS - sum(quotas)):
        quotas[order[place % len(order)]] += 1
    while sum(quotas) > N_SLOTS:  # so many tiny shares that they took others' slots
        quotas[quotas.index(max(quotas))] -= 1
    return quotas


def _by_deadline(quotas: Sequence[int]) -> Int64:
    """Fill the slots in order, each with the source whose next slot is due first."""
    released: list[list[tuple[int, int]]] = [[] for _ in range(N_SLOTS)]
    for source, quota in enumerate(quotas):
        for number in range(quota):
            due = -(-(number + 1) * N_SLOTS // quota) - 1
            released[number * N_SLOTS // quota].append((due, source))
    result = np.empty(N_SLOTS, dtype=np.int64)
    waiting: list[tuple[int, int]] = []
    for slot in range(N_SLOTS):
        for job in released[slot]:
            heapq.heappush(waiting, job)
        result[slot] = heapq.heappop(waiting)[1]
    return result
