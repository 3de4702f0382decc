"""Exact copies: the same text but for white space."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ONE_SPACE = bytes.maketrans(b"\t\n\r\v\f", b"     ")


def exact_hash(data: bytes) -> str:
    """128-bit hash (hex) of ``b" ".join(data.split())``, without a million small strings."""
    codes = np.frombuffer(data.translate(_ONE_SPACE).strip(), dtype=np.uint8)
    is_space = codes == ord(" ")
    is_kept = np.ones(len(codes), dtype=np.bool_)
    is_kept[:-1] = ~(is_space[:-1] & is_space[1:])  # of a run of spaces the last
    return hashlib.blake2b(codes[is_kept].tobytes(), digest_size=16).hexdigest()


def exact_copies(hashes: Sequence[str], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every row the row it copies, itself where it copies none.

    Args:
        hashes: one per row.
        order: the rows to look at, the one to keep of several first.
    """
    head = np.arange(len(hashes))
    first: dict[str, int] = {}
    for row in order.tolist():
        head[row] = first.setdefault(hashes[row], row)
    return head
