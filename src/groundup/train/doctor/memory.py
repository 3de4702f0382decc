"""Memory patterns: written over a share of the free memory, read back, compared.

Zeros, ones, both chequers and a one bit walking through the word find cells that are stuck or
coupled; the word's own address finds address lines that are. A whole pass is written before it is
read, so that the caches hold none of it.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from groundup.train.doctor import faults
from groundup.train.doctor.config import Limits
from groundup.train.doctor.result import Result

CHEQUERS = (0, -1, 0x5555555555555555, -0x5555555555555556)  # …, 0xAAAAAAAAAAAAAAAA as int64
ADDRESS = None  # the pattern in which each word holds its own number
BLOCK = 2**21  # words of 8 bytes: compared at a time, so that the comparison itself stays small


def check_memory(
    device: str, host: str, seconds: float, limits: Limits, free_bytes: int
) -> list[Result]:
    """Walk the patterns until the time is used; the first two passes are always done."""
    n_words = max(BLOCK, int(min(limits.memory_bytes, limits.memory_share * free_bytes)) // 8)
    words = torch.empty(n_words, dtype=torch.int64, device=device)
    started, n_passes, n_wrong = time.monotonic(), 0, 0
    first_wrong: int | None = None
    passes: list[int | None] = [ADDRESS, *CHEQUERS, *(1 << bit for bit in range(63))]
    for pattern in passes:
        write(words, pattern)
        if n_passes == 0 and faults.asked("memory", host):
            words[n_words // 2] ^= 1 << 40
        wrong, place = compare(words, pattern)
        n_wrong += wrong
        first_wrong = place if first_wrong is None else first_wrong
        n_passes += 1
        if n_passes >= 2 and time.monotonic() - started > seconds:
            break
    rate = 16 * n_words * n_passes / max(time.monotonic() - started, 1e-9)
    return [
        Result(
            f"memory {device}",
            "fail" if n_wrong else "ok",
            n_wrong,
            "wrong words",
            f"0 in {8 * n_words / 2**20:,.0f} MiB × {n_passes} patterns",
            f"{n_wrong} words came back changed, the first at word {first_wrong}"
            if n_wrong
            else "",
        ),
        Result(f"memory speed {device}", "ok", rate / 1e9, "GB/s"),
    ]


def write(words: Tensor, pattern: int | None) -> None:
    """Fill ``words`` with a pattern."""
    if pattern is ADDRESS:
        torch.arange(len(words), out=words)
    else:
        words.fill_(pattern)


def compare(words: Tensor, pattern: int | None) -> tuple[int, int | None]:
    """How many words are not what was written, and where the first one is."""
    n_wrong, first = 0, None
    for start in range(0, len(words), BLOCK):
        block = words[start : start + BLOCK]
        bad = block.ne(
            torch.arange(start, start + len(block), device=words.device)
            if pattern is None
            else pattern
        )
        count = int(bad.sum())
        if count and first is None:
            first = start + int(bad.nonzero()[0])
        n_wrong += count
    return n_wrong, first
