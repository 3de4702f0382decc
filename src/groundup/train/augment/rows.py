"""Noise on training rows: words replaced, spans shuffled, tokens left out.

The noise of easy data augmentation (Wei & Zou 2019, arXiv:1901.11196: synonym replacement, random
deletion) and of the local shuffle of Lample et al. 2018 (arXiv:1711.00043, section 2.3), on tokens.
It changes the text itself, before it is known what is to be predicted: inputs and targets stay one
text.

In a row, target k-1 and input k are the same token, wherever one text goes on (`linked`). What is
done to inputs i … j, all linked, is done to targets i-1 … j-1. Separators are never touched, so
documents stay apart.

    n places of a row that are no padding
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from groundup.tokenizer.load import Tokenizer
from groundup.tokens.samples import IGNORED
from groundup.train.augment.config import AugmentConfig
from groundup.train.augment.synonyms import Synonyms, read_synonyms

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Row = tuple[Int64, Int64]  # inputs and targets, both [n]

STREAM = 0x617567  # a row's draws of another kind come from (seed, sample) too


@dataclass(frozen=True)
class Augmentation:
    """What is done to training rows.

    Attributes:
        config: how often.
        separator_id: starts every document; rows that get shorter end in it.
        synonyms: words to replace; None: none.
    """

    config: AugmentConfig
    separator_id: int
    synonyms: Synonyms | None = None

    def of_rows(self, inputs: Int64, targets: Int64, seed: int, first: int) -> Row:
        """The rows of the samples from ``first`` on with their noise; all [B, T].

        A row's noise is a function of the seed and the sample's number.
        """
        noisy_inputs = np.full_like(inputs, self.separator_id)
        noisy_targets = np.full_like(targets, IGNORED)
        for number, (row, wanted) in enumerate(zip(inputs, targets, strict=True)):
            n = int(np.count_nonzero(wanted != IGNORED))
            rng = np.random.default_rng([seed, first + number, STREAM])
            found = self.of_row(row[:n].copy(), wanted[:n].copy(), rng)
            n = min(len(found[0]), inputs.shape[1])  # synonyms may be longer
            noisy_inputs[number, :n], noisy_targets[number, :n] = found[0][:n], found[1][:n]
        return noisy_inputs, noisy_targets

    def of_row(self, inputs: Int64, targets: Int64, rng: np.random.Generator) -> Row:
        """One row with its noise."""
        config, row = self.config, (inputs, targets)
        if self.synonyms is not None:
            allowed = linked(*row, self.separator_id)
            row = self.synonyms.replaced(*row, allowed, config.synonym_rate, rng)
        if config.span_shuffle:
            allowed = linked(*row, self.separator_id)
            row = shuffled(*row, allowed, config.span_shuffle, config.span_length, rng)
        if config.token_drop:
            row = dropped(*row, linked(*row, self.separator_id), config.token_drop, rng)
        return row


def augmentation_of(config: AugmentConfig, tokenizer: Tokenizer) -> Augmentation | None:
    """What the section does to rows of a tokenizer's tokens; None for nothing.

    Raises:
        InputError: a table of synonyms cannot be read.
    """
    if config.is_off:
        return None
    table = None if config.synonyms is None else read_synonyms(Path(config.synonyms), tokenizer)
    return Augmentation(config, tokenizer.bos_id, table)


def linked(inputs: Int64, targets: Int64, separator_id: int) -> Bool:
    """Which inputs go on the text of the one before: [n] → [n]; the first does not."""
    found = np.zeros(len(inputs), dtype=np.bool_)
    found[1:] = (inputs[1:] == targets[:-1]) & (inputs[1:] != separator_id)
    return found


def shuffled(
    inputs: Int64,
    targets: Int64,
    allowed: Bool,
    rate: float,
    length: int,
    rng: np.random.Generator,
) -> Row:
    """A share of the spans of ``length`` tokens, each put in an order at random."""
    first = 1 + int(rng.integers(length))
    n_spans = max(0, (len(inputs) - first) // length)
    spans = first + np.arange(n_spans)[:, None] * length + np.arange(length)  # [spans, length]
    orders = rng.random(spans.shape).argsort(1)
    chosen = allowed[spans].all(1) & (rng.random(n_spans) < rate)
    spans, orders = spans[chosen], orders[chosen]
    mixed = np.take_along_axis(inputs[spans], orders, 1)
    inputs[spans], targets[spans - 1] = mixed, mixed
    return inputs, targets


def dropped(
    inputs: Int64, targets: Int64, allowed: Bool, rate: float, rng: np.random.Generator
) -> Row:
    """The row without a share of its tokens; each token's target is what now follows it."""
    kept = np.flatnonzero(~(allowed & (rng.random(len(inputs)) < rate)))
    before_next = np.append(kept[1:], len(inputs)) - 1
    return inputs[kept], targets[before_next]
