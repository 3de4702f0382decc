"""Pairs of texts and what is asked of them: does the second follow, are they in order.

next: BERT (Devlin et al. 2019, section 3.1): half of the second parts are from another sample.
order: ALBERT (Lan et al. 2020, section 3.1): half of the pairs are swapped. A pair is written
``<cls> first <sep> second <sep>`` and then masked like any row. Label 0: as in the text; 1: not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from groundup.errors import InputError
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.noise.example import Example, checked_row
from groundup.train.noise.masked import masked
from groundup.train.noise.special import CLS, SEP, SpecialTokens

Int64 = npt.NDArray[np.int64]

N_MARKS = 3  # <cls> and twice <sep>


def masked_pair(
    tokens: Int64,
    rng: np.random.Generator,
    config: ObjectiveConfig,
    special: SpecialTokens,
    other: Int64 | None = None,
) -> Example:
    """``[n]`` tokens to a masked pair of at most n + 3, its token types and its label.

    Both parts are of one document: the longest in the row, cut at a uniform place. What else is in
    the row is left out, so that parts of two documents never count as neighbours.

    Args:
        other: ``[n]`` tokens of another sample; task next takes its random second parts from it.

    Raises:
        InputError: no other sample for task next.
    """
    pair, types, label = paired(tokens, rng, config, special, other)
    return replace(masked(pair, rng, config, special), token_types=types, sentence_label=label)


def paired(
    tokens: Int64,
    rng: np.random.Generator,
    config: ObjectiveConfig,
    special: SpecialTokens,
    other: Int64 | None = None,
) -> tuple[Int64, Int64, int]:
    """The pair before it is masked: tokens and token types, both ``[m] int64``, and the label."""
    row = checked_row(tokens, special.vocab_size, 2, f"{config.kind} with pairs")
    text = longest_document(row, special.separator)
    if len(text) < 2:
        text = row  # no document has the two tokens of a pair: a run does not end for one such row
    first, second = np.split(text, [int(rng.integers(1, len(text)))])
    label = int(rng.random() < 0.5)
    if label and config.sentence == "order":
        first, second = second, first
    elif label:
        second = _random_piece(other, len(second), rng, special)
    cls, sep = [special.ids[CLS]], [special.ids[SEP]]
    pair = np.concatenate([cls, first, sep, second, sep]).astype(np.int64)
    return pair, np.repeat([0, 1], [len(first) + 2, len(second) + 1]), label


def longest_document(row: Int64, separator: int) -> Int64:
    """The longest run of tokens without a separator; the first of several."""
    runs = np.split(row, np.flatnonzero(row == separator))
    return max((run[run != separator] for run in runs), key=len)


def _random_piece(
    other: Int64 | None, n_tokens: int, rng: np.random.Generator, special: SpecialTokens
) -> Int64:
    """``n_tokens`` from a random place of the other sample's longest document, or all it has."""
    if other is None:
        raise InputError("next sentence prediction needs another sample for its random parts")
    row = checked_row(other, special.vocab_size, 1, "next sentence")
    text = longest_document(row, special.separator)
    if not len(text):
        text = row
    start = int(rng.integers(max(1, len(text) - n_tokens + 1)))
    return text[start : start + n_tokens]
