"""What simple means reach on the same bytes: a model is only as good as its lead over them.

- ``uniform``: every byte equally likely: 8 bits.
- ``byte unigram``: the training text's byte frequencies, add-one smoothed.
- ``xz -9e``: the held-out text through the strongest common compressor. It knows no training text,
  but sees the held-out documents as one and learns from those before, which a model does not.

The token n-gram model and the untrained network, the other two, are models like the trained one.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from groundup.tokenizer.load import Tokenizer
from groundup.tokens.dataset import TokenDataset

UNIFORM_BITS_PER_BYTE = 8.0
COUNTED_AT_ONCE = 2**24  # tokens
SPELT_AT_ONCE = 2**18  # tokens, some MB as Python's integers


def byte_unigram_bits(train: TokenDataset, held_out: TokenDataset, tokenizer: Tokenizer) -> float:
    """Bits per byte of the held-out text under the byte frequencies of the training text."""
    seen = byte_counts(train, tokenizer) + 1.0
    found = byte_counts(held_out, tokenizer)
    return float(-(found * np.log2(seen / seen.sum())).sum() / found.sum())


def byte_counts(dataset: TokenDataset, tokenizer: Tokenizer) -> npt.NDArray[np.float64]:
    """How often each byte occurs in the text, ``[256]``; counted through the tokens, exactly."""
    uses = np.zeros(dataset.vocab_size)
    for start in range(0, dataset.n_tokens, COUNTED_AT_ONCE):
        part = dataset.tokens[start : start + COUNTED_AT_ONCE]
        uses += np.bincount(part, minlength=dataset.vocab_size)
    counts = np.zeros(256)
    for id in np.flatnonzero(uses):
        for byte in tokenizer.token_bytes(int(id)):
            counts[byte] += uses[id]
    return counts


def xz_bits(text: Iterable[bytes]) -> float:
    """Bits per byte of the parts of a text, one after the other, as ``xz -9e`` writes it."""
    xz = lzma.LZMACompressor(preset=9 | lzma.PRESET_EXTREME)
    n_bytes = n_written = 0
    for part in text:
        n_bytes += len(part)
        n_written += len(xz.compress(part))
    return 8 * (n_written + len(xz.flush())) / n_bytes


def text_of(dataset: TokenDataset, tokenizer: Tokenizer) -> Iterator[bytes]:
    """All documents' text, one after the other, in UTF-8 (cut anywhere)."""
    for start in range(0, dataset.n_tokens, SPELT_AT_ONCE):
        part = dataset.tokens[start : start + SPELT_AT_ONCE].tolist()
        yield b"".join(map(tokenizer.token_bytes, part))
