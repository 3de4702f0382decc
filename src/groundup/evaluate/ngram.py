"""A token 5-gram model: the strongest yardstick that has no neural network in it.

Interpolated Kneser–Ney with one discount an order (Kneser & Ney 1995; interpolated as in Chen &
Goodman 1999, section 2.7), over the uniform distribution, so that every token has a probability
and they sum to one:

    P_k(w | h) = max(c(hw) - D_k, 0) / c(h·)  +  D_k · N(h·) / c(h·) · P_{k-1}(w | h')

h' is h without its first token. c counts occurrences at the highest order; below it, the different
left neighbours a run was seen with (but occurrences for runs at the start of a document, which have
none; SRILM and KenLM do the same). N(h·) is the number of different tokens after h, and
D_k = n1 / (n1 + 2·n2) from the counts of counts (Ney, Essen & Kneser 1994). Histories end at the
document's start. Counting is sorting, in numpy; histories are told apart by 64-bit hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from groundup.evaluate.runs import Hashes, RunHashes
from groundup.model.sampling import Sampling, choose
from groundup.model.stopping import Stop
from groundup.tokens.dataset import TokenDataset

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ORDER = 5  # beyond five, n-gram models of this size gain nothing (Chen & Goodman 1999, figure 7)
MOST_TOKENS = 10_000_000  # counted at most, to bound time and memory (about 200 bytes a token)
SCORED_AT_ONCE = 2**20  # tokens, in whole documents


def train_ngram(dataset: TokenDataset, order: int = ORDER) -> NGram:
    """Count all documents of ``dataset`` (`within_tokens` of ``MOST_TOKENS``)."""
    tokens = np.asarray(dataset.tokens, dtype=np.int64)
    return count(tokens, dataset.vocab_size, order, int(tokens[0]))  # first is a separator


def count(tokens: Ints, vocab_size: int, order: int = ORDER, bos_id: int = 0) -> NGram:
    """The model of ``tokens``: documents one after the other, each behind ``bos_id``."""
    orders: list[Order] = []
    hashes = RunHashes(tokens)
    starts = np.flatnonzero(_within_document(tokens, order, bos_id))
    for n in range(order, 0, -1):
        counted, firsts = _count_runs(tokens, hashes, starts, n, vocab_size)
        orders.insert(0, counted)
        starts = firsts + 1  # left neighbours: one for each different longer run that ends in a run
        if n > 2:
            runs = np.flatnonzero(_within_document(tokens, n - 1, bos_id))
            starts = np.concatenate([starts, runs[tokens[runs] == bos_id]])
    return NGram(orders, vocab_size, bos_id)


@dataclass(frozen=True)
class Order:
    """Counts of one order, histories and tokens sorted.

    Attributes:
        histories: ``[H] uint64``, hashes of the different histories.
        edges: ``[H+1] int64``, where each history's tokens start in ``words`` and ``counts``.
        keys: ``[R] int64``, ``history number * vocab_size + token`` of each run.
        counts: ``[R] float64``.
        totals: ``[H] float64``, sum of the counts of a history.
        discount: taken from every count.
    """

    histories: Hashes
    edges: Ints
    keys: Ints
    counts: Floats
    totals: Floats
    discount: float

    def find(self, hashes: Hashes) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Number of each history, and whether it was seen at all."""
        numbers = np.searchsorted(self.histories, hashes).clip(max=max(len(self.histories) - 1, 0))
        seen = (
            self.histories[numbers] == hashes
            if len(self.histories)
            else np.zeros(len(hashes), dtype=bool)
        )
        return numbers.astype(np.int64), seen


def _within_document(tokens: Ints, n: int, bos_id: int) -> npt.NDArray[np.bool_]:
    """Whether the run of ``n`` tokens at each place lies in one document.

    A separator may be its first token (the document's start) or its last (what ends a document).
    """
    within = np.ones(max(0, len(tokens) - n + 1), dtype=bool)
    for place in range(1, n - 1):
        within &= tokens[place : place + len(within)] != bos_id
    return within


def _count_runs(
    tokens: Ints, hashes: RunHashes, starts: Ints, n: int, vocab_size: int
) -> tuple[Order, Ints]:
    """Count the runs of ``n`` tokens at ``starts``; also the first place of each different run."""
    histories, numbers = np.unique(hashes.at(starts, n - 1), return_inverse=True)
    keys, firsts, counts = np.unique(
        numbers * vocab_size + tokens[starts + n - 1], return_index=True, return_counts=True
    )
    edges = np.searchsorted(keys, np.arange(len(histories) + 1) * vocab_size)
    totals = np.diff(np.concatenate([[0], np.cumsum(counts)])[edges])
    once, twice = (counts == 1).sum(), (counts == 2).sum()
    discount = float(once / (once + 2 * twice)) if once and twice else 0.5
    counted = Order(
        histories, edges, keys, counts.astype(np.float64), totals.astype(np.float64), discount
    )
    return counted, starts[firsts]


class NGram:
    """Probabilities of a counted model (made by `count` or `train_ngram`)."""

    def __init__(self, orders: list[Order], vocab_size: int, bos_id: int) -> None:
        self.orders, self.vocab_size, self.bos_id = orders, vocab_size, bos_id

    def distribution(self, history: list[int]) -> Floats:
        """Probability of every token after ``history`` (the document from its separator on)."""
        result = np.full(self.vocab_size, 1 / self.vocab_size)
        known = history[max(0, len(history) - len(self.orders) + 1) :]
        hashes, end = RunHashes(np.array(known, dtype=np.int64)), np.array([len(known)])
        for n, order in enumerate(self.orders, start=1):
            if n - 1 > len(known):
                break
            (number,), (seen,) = order.find(hashes.at(end - n + 1, n - 1))
            if not seen:
                break  # a longer history cannot have been seen either
            here = slice(order.edges[number], order.edges[number + 1])
            total = order.totals[number]
            result *= order.discount * (here.stop - here.start) / total
            words = order.keys[here] - number * self.vocab_size
            result[words] += (order.counts[here] - order.discount) / total
        return result

    def nats(self, dataset: TokenDataset) -> Floats:
        """Negative log likelihood of each document, ``[n_documents]``, some documents at a time."""
        edges = np.append(dataset.document_starts, dataset.n_tokens)
        parts, first = [], 0
        while first < dataset.n_documents:
            beyond = int(np.searchsorted(edges, edges[first] + SCORED_AT_ONCE, "right")) - 1
            last = max(first + 1, beyond)
            tokens = np.asarray(dataset.tokens[edges[first] : edges[last]], dtype=np.int64)
            nats = -np.log(self.probabilities(tokens))
            parts.append(np.add.reduceat(nats, edges[first:last] - edges[first]))
            first = last
        return np.concatenate([*parts, np.empty(0)])

    def probabilities(self, tokens: Ints) -> Floats:
        """Probability of each token of documents one after the other, given those before it.

        ``[n] int64 -> [n] float64``; separators, which are given, have probability 1.
        """
        result = np.full(len(tokens), 1 / self.vocab_size)
        places, hashes = np.arange(len(tokens)), RunHashes(tokens)
        is_start = tokens == self.bos_id
        since_start = places - np.maximum.accumulate(np.where(is_start, places, -1))
        for n, order in enumerate(self.orders, start=1):
            here = np.flatnonzero((since_start >= n - 1) & ~is_start)
            numbers, seen = order.find(hashes.at(here - n + 1, n - 1))
            here, numbers = here[seen], numbers[seen]
            totals = order.totals[numbers]
            different = order.edges[numbers + 1] - order.edges[numbers]
            keys = numbers * self.vocab_size + tokens[here]
            runs = np.searchsorted(order.keys, keys).clip(max=max(len(order.keys) - 1, 0))
            counted = np.where(order.keys[runs] == keys, order.counts[runs] - order.discount, 0.0)
            result[here] = (counted + order.discount * different * result[here]) / totals
        result[is_start] = 1.0
        return result


def generate_ngram(
    model: NGram,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    stop: Stop | None,
    seed: int,
) -> list[list[int]]:
    """What `groundup.model.generate.generate_batch` gives for a network: drawn the same way."""
    results = []
    for index, prompt in enumerate(prompts):
        text = _Text(list(prompt), len(prompt), torch.Generator().manual_seed(seed + index))
        for _ in range(max_new_tokens):
            logits = torch.from_numpy(np.log(model.distribution(text.ids)))[None]
            (token,) = choose(logits, sampling, [text])
            if token in stop_ids:
                break
            text.ids.append(token)
            if stop is not None and stop(text.ids[len(prompt) :]):
                break
        results.append(text.ids[len(prompt) :])
    return results


@dataclass
class _Text:
    """What the sampler looks at: the ids so far, and where random numbers come from."""

    ids: list[int]
    n_prompt: int
    generator: torch.Generator
