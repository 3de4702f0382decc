"""The stage ``data`` from end to end: files in, a corpus of kept documents with splits out.

list → read, clean, measure (a document at a time) → rules → exact copies → near copies → split
→ report. Texts are held a row group at a time; what grows with the corpus are the signals and the
MinHash signatures, half a kilobyte a document. No file holds a time or a path of this machine: the
same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundup.data.annotate.clean import clean
from groundup.data.annotate.quality import measure_quality
from groundup.data.config import DataConfig
from groundup.data.dedup.exact import exact_copies, exact_hash
from groundup.data.dedup.minhash import MinHash, near_copies
from groundup.data.dedup.shingles import Hashes, hash_words, shingles
from groundup.data.document import (
    Document,
    TableWriter,
    document_id,
    read_columns,
    read_documents,
)
from groundup.data.readers.folder import Listing, Quarantined, read_bytes, read_text
from groundup.data.readers.inputs import list_inputs
from groundup.data.report import Row, corpus_report
from groundup.data.select import broken_rules
from groundup.data.split import SPLITS, Split, assign_splits
from groundup.errors import InputError
from groundup.files import read_json, storage_errors, write_atomic, write_json
from groundup.progress import progress, say

_ROW_GROUP_BYTES = 8 * 2**20  # of text


def build_corpus(config: DataConfig, folder: Path, seed: int, root: Path) -> dict[str, Any]:
    """Build the corpus of a project and return its report (also ``report.json``).

    Args:
        config: the section ``data``.
        folder: where the files go.
        seed: of the project; it decides the split.
        root: the project folder, to which inputs are relative.

    Raises:
        InputError: an input is missing or empty, or fewer than three documents are left.
        StorageError: the disk is full or the folder is not writable.
    """
    listing = list_inputs(config, root)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        signatures, quarantined = _annotate(listing, config, folder)
        documents = read_columns(folder, "documents").to_pylist()
        signals = read_columns(folder, "signals").to_pylist()

        reasons = broken_rules(signals, config)
        passed = np.array([row for row, reason in enumerate(reasons) if reason is None], np.int64)
        heads, similarities = _find_copies(passed, signals, signatures, reasons, config, folder)

        kept = [row for row, reason in enumerate(reasons) if reason is None]
        if len(kept) < len(SPLITS):
            raise _too_few(len(kept), config, root, reasons, quarantined)
        splits: list[Split | None] = [None] * len(documents)
        ids = [documents[row]["id"] for row in kept]
        fractions = config.validation_fraction, config.test_fraction
        for row, split in zip(kept, assign_splits(ids, seed, *fractions), strict=True):
            splits[row] = split

        rows = [
            Row(**document, **signal, reason=reason, split=split, cluster=head, similarity=like)
            for document, signal, reason, split, head, like in zip(
                documents, signals, reasons, splits, heads, similarities, strict=True
            )
        ]
        report = corpus_report(rows, quarantined)
        with TableWriter(folder, "clusters") as clusters, TableWriter(folder, "selection") as table:
            clusters.write([{"cluster": row.cluster, "similarity": row.similarity} for row in rows])
            table.write(
                [
                    {"kept": row.reason is None, "reason": row.reason, "split": row.split}
                    for row in rows
                ]
            )
        lines = (json.dumps(asdict(file), ensure_ascii=False) + "\n" for file in quarantined)
        write_atomic(folder / "quarantine.jsonl", "".join(lines))
        write_json(folder / "report.json", report)
    return report


def _annotate(
    listing: Listing, config: DataConfig, folder: Path
) -> tuple[NDArray[np.uint32], list[Quarantined]]:
    """Write ``documents`` and ``signals``; return the MinHash signatures and all files refused."""
    minhash = MinHash(config.n_hashes)
    signatures: list[NDArray[np.uint32]] = []
    quarantined = list(listing.quarantined)
    with (
        TableWriter(folder, "documents") as documents,
        TableWriter(folder, "signals") as signals,
        progress("data", len(listing.files), "files") as bar,
    ):
        texts: list[dict[str, Any]] = []
        measured: list[dict[str, Any]] = []
        n_bytes = 0
        for file in listing.files:
            bar.advance(1, file.locator)
            text = read_text(file, config.max_file_bytes, config.max_line_bytes)
            if isinstance(text, Quarantined):
                quarantined.append(text)
                continue
            place = {"source": file.source, "locator": file.locator}
            texts.append({"id": document_id(**place), **place, "text": text})
            signal, words = _measure(text)
            measured.append(signal)
            signatures.append(minhash.signature(shingles(words, config.shingle_words)))
            n_bytes += signal["raw_bytes"]
            if n_bytes >= _ROW_GROUP_BYTES:
                documents.write(texts)
                signals.write(measured)
                texts, measured, n_bytes = [], [], 0
        documents.write(texts)
        signals.write(measured)
    if listing.other_endings:
        others = (f"{n} {ending}" for ending, n in listing.other_endings.most_common(5))
        say(f"not read for their ending (data.extensions): {', '.join(others)}")
    return np.array(signatures, dtype=np.uint32).reshape(-1, config.n_hashes), quarantined


def _measure(text: str) -> tuple[dict[str, Any], Hashes]:
    """The signals of one document, and the hashes of its words."""
    raw_bytes = len(text.encode())
    cleaned, changes = clean(text)
    data = cleaned.encode()
    words = hash_words(data)
    signal = {
        "raw_bytes": raw_bytes,
        **asdict(measure_quality(data)),
        "n_words": len(words),
        "exact_hash": exact_hash(data),
        "cleaning": list(changes),
        "clean_text": cleaned if changes else None,
    }
    return signal, words


def _find_copies(
    passed: NDArray[np.int64],
    signals: list[dict[str, Any]],
    signatures: NDArray[np.uint32],
    reasons: list[str | None],
    config: DataConfig,
    folder: Path,
) -> tuple[list[int], list[float]]:
    """Enter the copies among the rows that ``passed`` in ``reasons``.

    Of several the longest is kept, the first where lengths are equal.

    Returns:
        For each row the row it copies in the end (itself where none), and how similar they are.
    """

    def shingle_sets(rows: NDArray[np.int64]) -> dict[int, Hashes]:
        texts = (document.text.encode() for document in read_documents(folder, rows))
        return {
            row: np.unique(shingles(hash_words(text), config.shingle_words))
            for row, text in zip(rows.tolist(), texts, strict=True)
        }

    n_bytes = np.array([signal["n_bytes"] for signal in signals], dtype=np.int64)
    order = passed[np.argsort(-n_bytes[passed], kind="stable")]
    exact = exact_copies([signal["exact_hash"] for signal in signals], order)
    order = order[exact[order] == order]
    near, similarities = near_copies(
        signatures, order, config.bands, config.near_duplicate_threshold, shingle_sets
    )
    for row in passed.tolist():
        if exact[row] != row:
            reasons[row] = "exact_copy"
        elif near[row] != row:
            reasons[row] = "near_copy"
    return near[exact].tolist(), similarities[exact].tolist()


def _too_few(
    n_kept: int,
    config: DataConfig,
    root: Path,
    reasons: list[str | None],
    quarantined: list[Quarantined],
) -> InputError:
    lost = Counter(reason for reason in reasons if reason is not None)
    lost.update(file.reason for file in quarantined)
    why = ", ".join(f"{n} {reason}" for reason, n in lost.most_common())
    n_files = len(reasons) + len(quarantined)
    return InputError(
        f"{n_kept} of {n_files} files are left as documents, and a corpus needs three, one for "
        "each split" + (f" ({why})" if why else ""),
        where=f"data.input: {config.input}, below {root}",
        fix="add files of text" + (", or loosen the rules in the section data" if why else ""),
    )


def fingerprint(config: DataConfig, root: Path) -> str:
    """SHA-256 (hex) over the names and contents of all input files: equal input, equal corpus.

    Raises:
        InputError: an input is missing or empty.
    """
    listing = list_inputs(config, root)
    digest = hashlib.sha256()
    for file in listing.files:
        data = read_bytes(file, config.max_file_bytes)
        if isinstance(data, Quarantined):
            content = f"{data.reason} {data.n_bytes}"
        else:
            content = hashlib.sha256(data).hexdigest()
        digest.update(f"{file.source}\0{file.locator}\0{content}\n".encode())
    for refused in listing.quarantined:
        digest.update(f"{refused.source}\0{refused.locator}\0{refused.reason}\n".encode())
    return digest.hexdigest()


class Corpus:
    """A finished corpus in a folder; texts are read when asked for.

    Raises:
        InputError: there is no corpus in the folder.
    """

    splits = SPLITS

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "selection.parquet").is_file():
            raise InputError(
                "no corpus here", where=str(folder), fix="build it with: groundup data"
            )

    def documents(self, split: str) -> Iterator[Document]:
        """The kept documents of a split, cleaned, in the order they were read."""
        return read_documents(self.folder, self._rows(split))

    def n_bytes(self, split: str) -> int:
        """UTF-8 bytes of the texts of a split."""
        sizes = read_columns(self.folder, "signals")["n_bytes"].to_numpy()
        return int(sizes[self._rows(split)].sum())

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """What came in, what each step removed and why (``report.json``)."""
        report: Mapping[str, Any] = read_json(self.folder / "report.json")
        return report

    def _rows(self, split: str) -> NDArray[np.int64]:
        if split not in SPLITS:
            raise ValueError(f"no split {split!r}; there are {', '.join(SPLITS)}")
        return np.flatnonzero(self._split_of_row == split)

    @cached_property
    def _split_of_row(self) -> NDArray[np.object_]:
        column: NDArray[np.object_] = read_columns(self.folder, "selection")["split"].to_numpy()
        return column
