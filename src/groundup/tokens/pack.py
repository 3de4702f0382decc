"""Documents to one long row of numbers a split, which training reads at any place without parsing.

``<split>.bin`` holds the tokens (little endian, two bytes each while the vocabulary allows),
``<split>.npz`` where each document starts, its row in the corpus and its bytes, so that every token
has a way back to its source. Every document is its separator, then its text; nothing is padded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from groundup.data.corpus import Corpus
from groundup.data.document import Document
from groundup.data.split import SPLITS
from groundup.files import storage_errors, write_json
from groundup.progress import Progress, progress
from groundup.tokenizer.load import Tokenizer

CHUNK_CHARACTERS = 4_000_000  # encoded at a time: enough to keep all cores busy, little memory


def pack(corpus: Corpus, tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
    """Write the tokens of all three splits to ``folder`` (made whole or not at all by the caller).

    Returns:
        the content of ``index.json``: ``dtype``, ``vocab_size``, ``tokenizer_hash`` and, a split,
        ``n_tokens``, ``n_documents``, ``n_bytes``.

    Raises:
        StorageError: the disk is full or the folder is not writable.
    """
    dtype = "uint16" if tokenizer.vocab_size <= 1 << 16 else "uint32"
    n_bytes = sum(corpus.n_bytes(split) for split in SPLITS)
    with storage_errors(folder), progress("tokens", n_bytes, "bytes") as job:
        folder.mkdir(parents=True, exist_ok=True)
        index: dict[str, Any] = {
            "dtype": dtype,
            "vocab_size": tokenizer.vocab_size,
            "tokenizer_hash": tokenizer.hash,
            "splits": {
                split: _pack_split(corpus.documents(split), tokenizer, folder / split, dtype, job)
                for split in SPLITS
            },
        }
        lengths = [len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size)]
        np.save(folder / "token_lengths.npy", np.array(lengths, dtype=np.int64))
        write_json(folder / "index.json", index)
    return index


def _pack_split(
    documents: Iterable[Document], tokenizer: Tokenizer, path: Path, dtype: str, job: Progress
) -> dict[str, int]:
    """Write ``<path>.bin`` and ``<path>.npz``."""
    starts, n_bytes, n_tokens = [], [], 0
    stored = np.dtype(dtype).newbyteorder("<")
    with path.with_suffix(".bin").open("wb") as file:
        for texts in _chunks(document.text for document in documents):
            for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
                file.write(np.array([tokenizer.bos_id, *ids], dtype=stored).tobytes())
                starts.append(n_tokens)
                n_bytes.append(len(text.encode()))
                n_tokens += 1 + len(ids)
                job.advance(n_bytes[-1])
    np.savez(
        path.with_suffix(".npz"),
        document_starts=np.array(starts, dtype=np.int64),
        document_rows=np.arange(len(starts), dtype=np.int64),
        document_bytes=np.array(n_bytes, dtype=np.int64),
    )
    return {"n_tokens": n_tokens, "n_documents": len(starts), "n_bytes": sum(n_bytes)}


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size >= CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
