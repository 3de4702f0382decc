"""The order of the training samples, as a function of the seed and the step.

No state, no shuffle buffer: resume is exact, skipping a batch is a number, and every machine knows
every batch. Epoch *e* visits the samples in the order of a permutation of ``0 … n-1`` that can be
asked for any place at once: a Feistel network (Luby & Rackoff 1988) over the next power of four,
keyed by seed and epoch, walked until it lands below n (cycle walking: Black & Rogaway 2002).
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from groundup.errors import InputError
from groundup.tokens.dataset import TokenDataset

Int64 = npt.NDArray[np.int64]
Uint64 = npt.NDArray[np.uint64]

ROUNDS = 8  # 4 are enough for a large domain (Luby & Rackoff); small ones need more


def batch_of_step(
    dataset: TokenDataset, seed: int, step: int, batch_size: int, context_length: int
) -> tuple[Int64, Int64]:
    """Inputs and targets of ``step`` (from 0), both ``[B, T] int64``; a target is the next token.

    Window *i* is ``tokens[i*T : i*T + T + 1]``: windows share one token and leave none out but the
    tail. Documents follow one another in a window, each behind its separator.

    Raises:
        InputError: the split is shorter than one window.
    """
    n_samples = dataset.n_windows(context_length)
    if n_samples < 1:
        raise InputError(
            f"split {dataset.split!r} has {dataset.n_tokens:,} tokens, "
            f"fewer than one window of {context_length:,} and its target",
            where=str(dataset.folder),
            fix="give more text, or a shorter context_length",
        )
    samples = samples_of_step(seed, step, batch_size, n_samples)
    windows = dataset.windows(samples, context_length)
    return windows[:, :-1], windows[:, 1:]


def samples_of_step(seed: int, step: int, batch_size: int, n_samples: int) -> Int64:
    """The samples of batch ``step`` (from 0), ``[batch_size] int64`` in ``0 … n_samples-1``.

    Batch after batch runs through every sample once an epoch, whatever the batch size; a batch may
    lie across the edge of two epochs.
    """
    epochs, places = np.divmod(
        np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64), n_samples
    )
    samples = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        samples[here] = permuted(places[here], n_samples, seed, int(epoch))
    return samples


def permuted(places: Int64, n: int, seed: int, epoch: int) -> Int64:
    """Where the permutation of ``0 … n-1`` of this seed and epoch sends ``places``."""
    half_bits = max(1, ((n - 1).bit_length() + 1) // 2)  # n <= 4**half_bits < 4n: few walks
    keys = _round_keys(seed, epoch)
    result = _feistel(places.astype(np.uint64), half_bits, keys)
    while (outside := result >= n).any():
        result[outside] = _feistel(result[outside], half_bits, keys)
    return result.astype(np.int64)


def _feistel(values: Uint64, half_bits: int, keys: Uint64) -> Uint64:
    """A permutation of ``0 … 4**half_bits - 1``: a round can be undone, whatever ``_mix`` does."""
    mask, shift = np.uint64((1 << half_bits) - 1), np.uint64(half_bits)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << shift) | right


def _mix(values: Uint64) -> Uint64:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014): every bit depends on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _round_keys(seed: int, epoch: int) -> Uint64:
    """64 bits a round from a cryptographic hash: neighbouring seeds and epochs differ wholly."""
    digest = hashlib.blake2b(f"order {seed} {epoch}".encode(), digest_size=8 * ROUNDS).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)
