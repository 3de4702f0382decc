"""Hashes of runs of tokens, of any length at any place: behind n-gram counts and the copy search.

A polynomial in 64 bits (Karp & Rabin 1987) over scrambled tokens, kept as prefix sums: a run's hash
is a difference of two sums, moved to place 0 by a power of the multiplier. Odd numbers have an
inverse modulo 2**64, so all of it is additions and multiplications that may overflow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

MULTIPLIER = 0x9E3779B97F4A7C15  # odd, from the golden ratio (Knuth, TAOCP 3, 6.4)
INVERSE = pow(MULTIPLIER, -1, 1 << 64)


class RunHashes:
    """Prefix sums of ``tokens``; equal runs have equal hashes wherever they are, in any array."""

    def __init__(self, tokens: npt.NDArray[np.integer[Any]]) -> None:
        self._powers = _powers(MULTIPLIER, len(tokens) + 1)
        terms = scrambled(tokens) * _powers(INVERSE, len(tokens))
        self._sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])

    def at(self, places: npt.NDArray[np.int64], n: int) -> Hashes:
        """Hash of the run of ``n`` tokens from each of ``places``."""
        hashes: Hashes = (self._sums[places + n] - self._sums[places]) * self._powers[places]
        return hashes


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, dtype=np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)


def scrambled(tokens: npt.NDArray[np.integer[Any]]) -> Hashes:
    """Spread small numbers over 64 bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    values = (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(MULTIPLIER)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
