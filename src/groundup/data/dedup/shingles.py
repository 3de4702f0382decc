"""Shingles: one number for each run of n words, from one prefix hash over the bytes.

With C[i] = Σ_{j<i} byte_j · base^j (mod 2^64) the polynomial hash of any word is
(C[end] - C[start]) · base^-start: a word costs one subtraction and one multiplication, whatever
its length, and no string is ever split (Karp and Rabin 1987 made plain array arithmetic). Splitting
into words is where other tools spend nine tenths of their time.

A word is a run of ASCII letters, digits and underscores (case ignored) and of bytes beyond ASCII;
a character from U+3000 on (Chinese, Japanese, Korean) is a word of its own, whatever follows it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_PIECE = 1 << 16  # bytes hashed at a time: the arrays stay in the second-level cache
_MASK = (1 << 64) - 1
_BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2^64 (2^64 / golden ratio)
_WORD_BASE = np.uint64(0xD1342543DE82EF95)  # odd; Steele and Vigna 2021, table 6
_WIDE = 0xE3  # first byte of U+3000 and everything above
_FOUR_BYTES = 0xF0  # first byte of U+10000 and above; those between take three
_CODES = bytes(  # byte → lower case, 0 where it separates words
    ord(chr(byte).lower()) if chr(byte).isascii() and (chr(byte).isalnum() or byte == 0x5F) else
    byte if byte >= 0x80 else 0
    for byte in range(256)
)  # fmt: skip


def _powers(base: int) -> Hashes:
    factors = np.full(_PIECE, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


_POWERS = _powers(_BASE)
_INVERSE_POWERS = _powers(pow(_BASE, -1, _MASK + 1))


def hash_words(data: bytes) -> Hashes:
    """Hash of each word of a UTF-8 text, [n_words].

    A word on the border of two pieces of 64 KiB counts as two.
    """
    codes = np.frombuffer(data.translate(_CODES), dtype=np.uint8)
    pieces = [_hash_piece(codes[i : i + _PIECE]) for i in range(0, len(codes), _PIECE)]
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.uint64)


def _hash_piece(codes: NDArray[np.uint8]) -> Hashes:
    in_word = codes != 0
    is_wide = codes >= _WIDE
    is_start = is_wide.copy()
    is_start[0] |= in_word[0]
    is_start[1:] |= in_word[1:] & ~in_word[:-1]
    if is_wide.any():
        after = np.flatnonzero(is_wide)
        after += np.where(codes[after] < _FOUR_BYTES, 3, 4)  # what follows a wide character
        after = after[after < len(codes)]
        is_start[after] = in_word[after]
    is_end = in_word.copy()  # the last byte of each word
    is_end[:-1] &= ~in_word[1:] | is_start[1:]
    starts, ends = np.flatnonzero(is_start), np.flatnonzero(is_end) + 1
    prefix = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes * _POWERS[: len(codes)], out=prefix[1:])
    return _mix((prefix[ends] - prefix[starts]) * _INVERSE_POWERS[starts])


def shingles(words: Hashes, n: int) -> Hashes:
    """Hash of each run of ``n`` words, in order, repeats kept; a shorter text is one shingle.

    Args:
        words: hashes of the words. [n_words]
        n: words in a shingle.
    """
    n = min(n, len(words))
    if n == 0:
        return words
    runs = words[: len(words) - n + 1].copy()
    for offset in range(1, n):
        runs *= _WORD_BASE
        runs += words[offset : len(words) - n + 1 + offset]
    return _mix(runs)


def hash_rows(rows: NDArray[np.uint32]) -> Hashes:
    """One hash for each row of a matrix: [n_rows, n_columns] → [n_rows]."""
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for column in rows.T:
        hashes = hashes * _WORD_BASE + column
    return _mix(hashes)


def _mix(values: Hashes) -> Hashes:
    """The finaliser of MurmurHash3: every bit of the input reaches every bit of the output."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values ^= values >> np.uint64(33)
        values *= np.uint64(factor)
    values ^= values >> np.uint64(33)
    return values


def jaccard(first: Hashes, second: Hashes) -> float:
    """|A ∩ B| / |A ∪ B| of two sorted arrays without repeats; 0 where both are empty."""
    n_common = len(np.intersect1d(first, second, assume_unique=True))
    return n_common / max(len(first) + len(second) - n_common, 1)
