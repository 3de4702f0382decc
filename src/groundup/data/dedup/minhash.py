"""Near copies: MinHash and locality-sensitive hashing, every pair verified.

The least value of a random hash over two sets is the same with probability equal to their Jaccard
similarity (Broder 1997). A signature is the least value under each of many hashes; documents that
agree in all rows of some band are compared, by their true Jaccard similarity.

Notable: there is no union of pairs. Joining everything that is connected is the classic failure
(A is like B, B like C, and in the end half a library is one cluster). Here documents are looked at
from the longest to the shortest and one is dropped only if it is a verified copy of one that is
kept. So every dropped document has its kept twin, and no two kept ones that were compared are
copies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from groundup.data.dedup.shingles import Hashes, hash_rows, jaccard

_NONE = np.empty(0, dtype=np.uint64)
_BLOCK = 512  # shingles hashed at a time: 112 × 512 × 4 bytes stay in the second-level cache


class MinHash:
    """``n_hashes`` functions x → a·x + b (mod 2^32) with odd a; the least value of each is kept."""

    def __init__(self, n_hashes: int) -> None:
        noise = hashlib.shake_256(b"groundup minhash").digest(8 * n_hashes)
        a, b = np.frombuffer(noise, dtype="<u4").astype(np.uint32).reshape(2, n_hashes, 1)
        self._a, self._b = a | np.uint32(1), b
        self._products = np.empty((n_hashes, _BLOCK), dtype=np.uint32)

    def signature(self, shingles: Hashes) -> NDArray[np.uint32]:
        """Least value of each hash over a set of shingles, [n_hashes]; repeats do not matter."""
        values = (shingles >> np.uint64(32)).astype(np.uint32)
        least = np.full(len(self._a), 2**32 - 1, dtype=np.uint32)
        for start in range(0, len(values), _BLOCK):
            block = values[start : start + _BLOCK]
            products = self._products[:, : len(block)]
            np.multiply(self._a, block, out=products)
            np.add(products, self._b, out=products)
            np.minimum(least, products.min(axis=1), out=least)
        return least


def near_copies(
    signatures: NDArray[np.uint32],
    order: NDArray[np.int64],
    bands: int,
    threshold: float,
    shingle_sets: Callable[[NDArray[np.int64]], Mapping[int, Hashes]],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For every row the kept row it is a near copy of (itself where none) and how similar.

    Args:
        signatures: one per row. [n_rows, n_hashes]
        order: the rows to look at, those to keep first.
        bands: number of bands; it divides n_hashes.
        threshold: least Jaccard similarity of a copy.
        shingle_sets: asked once, for the rows that share a band with another; gives the sorted
            shingles of each without repeats, which are looked up a pair at a time.
    """
    heads, similarities = np.arange(len(signatures)), np.ones(len(signatures))
    buckets = _buckets(signatures[order], bands)
    is_shared = (buckets >= 0).any(axis=1)
    rows, buckets = order[is_shared], buckets[is_shared]
    sets = shingle_sets(np.sort(rows))
    # Far below the threshold by the signatures alone (3 standard errors): not worth a comparison.
    n_hashes = signatures.shape[1]
    worth_it = threshold - 3 * np.sqrt(threshold * (1 - threshold) / n_hashes)

    kept: dict[int, list[int]] = {}  # bucket → the kept rows in it
    for row, row_buckets in zip(rows.tolist(), buckets.tolist(), strict=True):
        shared = [bucket for bucket in row_buckets if bucket >= 0]
        candidates = np.array(_union(kept.get(bucket, ()) for bucket in shared), dtype=np.int64)
        estimates = (signatures[candidates] == signatures[row]).mean(axis=1)
        best, head = 0.0, row
        likely = candidates[estimates >= worth_it].tolist()
        own = sets[row] if likely else _NONE
        for candidate in likely:
            similarity = jaccard(own, sets[candidate])
            if similarity >= threshold and similarity > best:
                best, head = similarity, candidate
        if head == row:
            for bucket in shared:
                kept.setdefault(bucket, []).append(row)
        else:
            heads[row], similarities[row] = head, best
    return heads, similarities


def _buckets(signatures: NDArray[np.uint32], bands: int) -> NDArray[np.int64]:
    """Bucket of each row in each band, [n_rows, bands]; -1 where a row is alone in it."""
    n_rows, n_hashes = signatures.shape
    buckets = np.full((n_rows, bands), -1, dtype=np.int64)
    for band, rows in enumerate(np.split(np.arange(n_hashes), bands)):
        keys = hash_rows(signatures[:, rows])
        _, number, size = np.unique(keys, return_inverse=True, return_counts=True)
        buckets[:, band] = np.where(size[number] > 1, number + band * n_rows, -1)
    return buckets


def _union(groups: Iterable[Iterable[int]]) -> list[int]:
    return sorted(set().union(*groups))
