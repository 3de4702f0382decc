"""Latency and bandwidth between ranks: 4 bytes there and back, then up to 64 MB there and back.

Each pair has a process group of its own: a link that is dead breaks nothing but itself. In a round
every rank has one partner at most, so that all links of a round work at the same time, as in
training.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

LATENCY_ROUNDS = 50
SMALL_BYTES, TRIAL_BYTES, LARGE_BYTES = 4, 2**20, 64 * 10**6
ALL_PAIRS_UP_TO = 8  # ranks; beyond, each is measured with its two neighbours in a ring
LINK_SECONDS = 10.0  # after so long without a byte a link is broken


def measure_links(
    store: Store, ranks: Sequence[int], rank: int, device: str, seconds: float
) -> Iterator[dict[str, Any]]:
    """The links of ``rank`` to others of ``ranks``, in about ``seconds``.

    Yields:
        ``rank`` of the peer, ``latency_seconds``, ``bytes_per_second``, ``error`` (None: none).
    """
    schedule = rounds(list(ranks))
    for pairs in schedule:
        for pair in pairs:
            if rank in pair:
                peer = pair[1 - pair.index(rank)]
                found = measure(store, pair, pair.index(rank), device, seconds / len(schedule))
                yield {"rank": peer, **found}


def rounds(ranks: list[int]) -> list[list[tuple[int, int]]]:
    """Which pairs are measured at the same time.

    All pairs by the circle method (one stays, the others turn); of many ranks the ring.
    """
    if len(ranks) > ALL_PAIRS_UP_TO:
        ring = list(zip(ranks, [*ranks[1:], ranks[0]], strict=True))
        even, odd = ring[: len(ring) - len(ring) % 2 : 2], ring[1::2]
        last = [ring[-1:]] if len(ring) % 2 else []
        return [even, odd, *last]
    seats: list[int | None] = [*ranks, *([None] if len(ranks) % 2 else [])]
    made = []
    for _ in range(len(seats) - 1):
        half = len(seats) // 2
        facing = zip(seats[:half], reversed(seats[half:]), strict=True)
        made.append([(a, b) for a, b in facing if a is not None and b is not None])
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return made


def measure(
    store: Store, pair: tuple[int, int], side: int, device: str, seconds: float
) -> dict[str, Any]:
    """One link, the same numbers on both sides; a dead link is an error in words."""
    try:
        name = f"link/{pair[0]}-{pair[1]}"
        group = pair_group(PrefixStore(name, store), side, device)
        there_and_back(group, side, device, SMALL_BYTES)  # the first one connects
        small = statistics.median(
            there_and_back(group, side, device, SMALL_BYTES) for _ in range(LATENCY_ROUNDS)
        )
        trial = there_and_back(group, side, device, TRIAL_BYTES)
        affordable = torch.tensor([TRIAL_BYTES * seconds / 2 / trial], device=device)
        send_or_receive(group, affordable, side == 0)
        n_bytes = int(min(LARGE_BYTES, max(TRIAL_BYTES, affordable.item())))
        large = there_and_back(group, side, device, n_bytes)
        found = torch.tensor([small / 2, 2 * n_bytes / large], dtype=torch.float64, device=device)
        send_or_receive(group, found, side == 0)
        latency, bandwidth = found.tolist()
    except (RuntimeError, OSError) as error:  # torch's errors of the network are RuntimeErrors
        words = " ".join(str(error).split())[:200]
        return {"latency_seconds": None, "bytes_per_second": None, "error": words}
    return {"latency_seconds": latency, "bytes_per_second": bandwidth, "error": None}


def pair_group(store: Store, side: int, device: str) -> Any:
    """A process group of two: NCCL between GPUs, gloo between processors."""
    timeout = timedelta(seconds=LINK_SECONDS)
    if device == "cpu":
        return dist.ProcessGroupGloo(store, side, 2, timeout)
    torch.cuda.set_device(device)
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = timeout
    return dist.ProcessGroupNCCL(store, side, 2, options)


def there_and_back(group: Any, side: int, device: str, n_bytes: int) -> float:
    """Seconds until ``n_bytes`` have gone to the second of the pair and come back."""
    message = torch.ones(n_bytes, dtype=torch.uint8, device=device)
    started = time.perf_counter()
    send_or_receive(group, message, side == 0)
    send_or_receive(group, message, side == 1)
    if device != "cpu":
        torch.cuda.synchronize(device)
    return max(time.perf_counter() - started, 1e-9)


def send_or_receive(group: Any, message: Tensor, sends: bool) -> None:
    """Send to the other of the pair, or receive from it."""
    peer = 1 - group.rank()
    work = group.send([message], peer, 0) if sends else group.recv([message], peer, 0)
    work.wait()
