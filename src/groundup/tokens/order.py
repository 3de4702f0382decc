"""The order of the training samples, as a function of the seed and of how many were used.

No state, no shuffle buffer: resume is exact, skipping a batch is a number, and every machine knows
every batch. Epoch *e* visits the samples in the order of a permutation of ``0 … n-1`` that can be
asked for any place at once: a Feistel network (Luby & Rackoff 1988) over the next power of four,
keyed by seed and epoch, walked until it lands below n (cycle walking: Black & Rogaway 2002).
With a mixture sample *k* belongs to the source of slot *k* (`tokens.slots`), and each source has
epochs of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from groundup.tokens.dataset import TokenDataset
from groundup.tokens.samples import Cut, cuts, read, too_short
from groundup.tokens.slots import slots_of

Int64 = npt.NDArray[np.int64]
Uint64 = npt.NDArray[np.uint64]

Later = Sequence[tuple[int, Mapping[str, float]]]

ROUNDS = 8  # 4 are enough for a large domain (Luby & Rackoff); small ones need more
# Places permuted at once and kept: a call costs some 14 walks of numpy's overhead, whatever its
# size, so 64 places take 2 ms and 4,096 take 4.
BLOCK, N_BLOCKS = 4096, 256  # 32 KiB each: enough for the sources of a mixture


def batch_of_step(
    dataset: TokenDataset, seed: int, step: int, batch_size: int, context_length: int
) -> tuple[Int64, Int64]:
    """`batch_at` of a run whose batches all have one size, at ``step`` (from 0)."""
    return batch_at(dataset, seed, step * batch_size, batch_size, context_length)


def batch_at(
    dataset: TokenDataset,
    seed: int,
    cursor: int,
    batch_size: int,
    context_length: int,
    later: Later = (),
) -> tuple[Int64, Int64]:
    """Inputs and targets of the samples ``cursor … cursor + B`` of a run, both ``[B, T] int64``.

    A target is the next token. ``later`` has mixtures that took the place of the dataset's own:
    (sample from which one holds, its shares).

    Without a mixture and with documents concatenated, window *i* is ``tokens[i*T : i*T + T + 1]``:
    windows share one token and leave none out but the tail. Documents follow one another in a
    window, each behind its separator. For the other packings see `tokens.samples`.

    Raises:
        InputError: the split, or a source of its mixture, is shorter than one window.
    """
    if dataset.mixture is None and dataset.packing == "concat":
        n_samples = dataset.n_windows(context_length)
        if n_samples < 1:
            raise too_short(dataset, f"split {dataset.split!r}", dataset.n_tokens, context_length)
        numbers = samples_at(seed, cursor, batch_size, n_samples)
        windows = dataset.windows(numbers, context_length)
        return windows[:, :-1], windows[:, 1:]
    sources, numbers = draws_at(dataset, seed, cursor, batch_size, context_length, later)
    segments = []
    for source, cut in enumerate(cuts(dataset, context_length)):
        rows = np.flatnonzero(sources == source)
        here, starts, lengths = cut.segments(numbers[rows])
        segments.append((rows[here], starts, lengths))
    here, starts, lengths = (np.concatenate(each) for each in zip(*segments, strict=True))
    by_row = np.argsort(here, kind="stable")
    if dataset.packing == "concat":  # one segment a sample, and its target behind it
        windows = dataset.windows_at(starts[by_row], context_length)
        return windows[:, :-1], windows[:, 1:]
    shape = (batch_size, context_length)
    return read(dataset, here[by_row], starts[by_row], lengths[by_row], shape)


def draws_at(
    dataset: TokenDataset,
    seed: int,
    cursor: int,
    batch_size: int,
    context_length: int,
    later: Later = (),
) -> tuple[Int64, Int64]:
    """Which cut of `tokens.samples.cuts` each sample of a batch comes from, and its number there.

    Both ``[B] int64``. Sample *k* of a run (whatever the batch size) takes slot *k* of
    `tokens.slots`; the samples of a source come in a new permutation every epoch of that source.
    Under a later mixture the slots are counted anew, and a source goes on where it was.
    """
    drawn_from = cuts(dataset, context_length)
    if dataset.mixture is None:
        numbers = samples_at(seed, cursor, batch_size, drawn_from[0].n_samples)
        return np.zeros(batch_size, dtype=np.int64), numbers
    wanted = np.arange(cursor, cursor + batch_size, dtype=np.int64)
    sources, places = drawn(dataset.mixture, drawn_from, later, wanted)
    numbers = np.empty(batch_size, dtype=np.int64)
    for source, (name, cut) in enumerate(zip(dataset.mixture, drawn_from, strict=True)):
        here = sources == source
        numbers[here] = _in_epochs(places[here], cut.n_samples, seed, name)
    return sources, numbers


def drawn(
    mixture: Mapping[str, float], drawn_from: Sequence[Cut], later: Later, wanted: Int64
) -> tuple[Int64, Int64]:
    """Source of each sample number in ``wanted``, and how many earlier ones had the same source."""
    stretches = [(0, mixture), *later]
    ends = [begin for begin, _ in stretches[1:]] + [None]
    before = np.zeros(len(mixture), dtype=np.int64)
    sources, places = np.empty_like(wanted), np.empty_like(wanted)
    for (begin, shares), end in zip(stretches, ends, strict=True):
        slots = slots_of(row_shares({name: shares[name] for name in mixture}, drawn_from))
        here = wanted >= begin if end is None else (wanted >= begin) & (wanted < end)
        sources[here], within = slots.draw(wanted[here] - begin)
        places[here] = before[sources[here]] + within
        if end is not None:
            before += slots.count(end - begin)
    return sources, places


def row_shares(mixture: Mapping[str, float], drawn_from: Sequence[Cut]) -> tuple[float, ...]:
    """Shares of the samples, from shares of the tokens: rows with more padding come oftener."""
    wanted = [share / cut.fill for share, cut in zip(mixture.values(), drawn_from, strict=True)]
    total = sum(wanted)
    return tuple(each / total for each in wanted)


def samples_at(seed: int, cursor: int, batch_size: int, n_samples: int) -> Int64:
    """The samples from ``cursor`` on, ``[batch_size] int64`` in ``0 … n_samples-1``.

    Batch after batch runs through every sample once an epoch, whatever the batch size; a batch may
    lie across the edge of two epochs.
    """
    places = np.arange(cursor, cursor + batch_size, dtype=np.int64)
    return _in_epochs(places, n_samples, seed)


def _in_epochs(places: Int64, n_samples: int, seed: int, source: str = "") -> Int64:
    """The samples at ``places`` of an endless sequence, epoch after epoch in another order."""
    epochs, within = np.divmod(places, n_samples)
    blocks = within // BLOCK
    samples = np.empty(len(places), dtype=np.int64)
    edges = np.flatnonzero((np.diff(epochs) != 0) | (np.diff(blocks) != 0)) + 1
    for first, last in pairwise([0, *edges.tolist(), len(places)]):
        if first == last:  # no places at all
            continue
        epoch, block = int(epochs[first]), int(blocks[first])
        order = _block(block, n_samples, seed, epoch, source)
        samples[first:last] = order[within[first:last] - block * BLOCK]
    return samples


@lru_cache(maxsize=N_BLOCKS)
def _block(block: int, n: int, seed: int, epoch: int, source: str) -> Int64:
    places = np.arange(block * BLOCK, min((block + 1) * BLOCK, n), dtype=np.int64)
    return permuted(places, n, seed, epoch, source)


def permuted(places: Int64, n: int, seed: int, epoch: int, source: str = "") -> Int64:
    """Where the permutation of ``0 … n-1`` of this seed, epoch and source sends ``places``."""
    half_bits = max(1, ((n - 1).bit_length() + 1) // 2)  # n <= 4**half_bits < 4n: few walks
    keys = _round_keys(seed, epoch, source)
    result = _feistel(places.astype(np.uint64), half_bits, keys)
    walking = np.flatnonzero(result >= n)
    while len(walking):
        walked = _feistel(result[walking], half_bits, keys)
        result[walking] = walked
        walking = walking[walked >= n]
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


def _round_keys(seed: int, epoch: int, source: str) -> Uint64:
    """64 bits a round from a cryptographic hash: neighbouring seeds and epochs differ wholly."""
    name = f"order {seed} {epoch}" + (f" {source}" if source else "")
    digest = hashlib.blake2b(name.encode(), digest_size=8 * ROUNDS).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)
