"""The stage ``data`` from end to end: files in, a corpus of kept documents with splits out.

list → read, clean, measure (a document at a time) → rules → exact copies → near copies → split
→ near copies of held-out text → report. Texts are held a row group at a time. What grows with the
corpus are names, signals and MinHash signatures: two kilobytes a document, measured on 8,000 short
ones. No file holds a time or a path of this machine: the same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
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
from groundup.data.dedup.held_out import Sets, copies_of_held_out, overlaps
from groundup.data.dedup.minhash import MinHash, near_copies
from groundup.data.dedup.shingles import Hashes, hash_words, shingles
from groundup.data.dedup.spill import SpilledSets
from groundup.data.document import (
    ROWS_AT_ONCE,
    Document,
    Row,
    TableWriter,
    document_id,
    read_columns,
    read_documents,
    read_rows,
)
from groundup.data.readers.folder import Listing, Quarantined, read_text
from groundup.data.readers.hashes import hash_contents
from groundup.data.readers.inputs import list_inputs
from groundup.data.report import OVERLAP_WORDS, corpus_report
from groundup.data.select import broken_rules
from groundup.data.split import HELD_OUT, SPLITS, Split, assign_splits
from groundup.errors import InputError
from groundup.files import read_json, storage_errors, write_atomic, write_json
from groundup.progress import progress, say

MARKDOWN = (".md", ".markdown")  # endings of files where two trailing spaces break a line
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
        rows = read_rows(folder)
        for row, reason in zip(rows, broken_rules(rows, config), strict=True):
            row.reason = reason
        _find_copies(rows, signatures, config, folder)
        _split(rows, config, seed, folder)
        n_kept = sum(row.reason is None for row in rows)
        if not any(row.split == "train" for row in rows):
            raise _too_few(n_kept, config, root, rows, quarantined)

        report = corpus_report(rows, quarantined)
        with TableWriter(folder, "clusters") as clusters, TableWriter(folder, "selection") as table:
            for first in range(0, len(rows), ROWS_AT_ONCE):
                some = rows[first : first + ROWS_AT_ONCE]
                clusters.write([{"cluster": r.cluster, "similarity": r.similarity} for r in some])
                table.write(
                    [
                        {
                            "kept": row.reason is None,
                            "reason": row.reason,
                            "split": row.split,
                            "overlap": row.overlap,
                        }
                        for row in some
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
    signatures = np.empty((len(listing.files), config.n_hashes), dtype=np.uint32)
    n_documents = 0
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
            signal, words = _measure(text, file.path.suffix.lower() in MARKDOWN)
            measured.append(signal)
            signatures[n_documents] = minhash.signature(shingles(words, config.shingle_words))
            n_documents += 1
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
    return signatures[:n_documents], quarantined


def _measure(text: str, markdown: bool) -> tuple[dict[str, Any], Hashes]:
    """The signals of one document, and the hashes of its words."""
    raw_bytes = len(text.encode())
    cleaned, changes = clean(text, markdown)
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
    rows: list[Row], signatures: NDArray[np.uint32], config: DataConfig, folder: Path
) -> None:
    """Note the copies among the rows without a reason: of what, how similar, and the reason.

    Of several the longest is kept, the first where lengths are equal.
    """
    passed = _numbers(rows, lambda row: row.reason is None)
    n_bytes = np.array([row.n_bytes for row in rows], dtype=np.int64)
    order = passed[np.argsort(-n_bytes[passed], kind="stable")]
    exact = exact_copies([row.exact_hash for row in rows], order)
    order = order[exact[order] == order]
    with ExitStack() as stack:

        def on_disk(numbers: NDArray[np.int64]) -> SpilledSets:
            sets = _shingle_sets(folder, numbers, config.shingle_words)
            return stack.enter_context(SpilledSets(folder, sets))

        near, similarities = near_copies(
            signatures, order, config.bands, config.near_duplicate_threshold, on_disk
        )
    heads, likes = near[exact].tolist(), similarities[exact].tolist()
    for number, (row, head, like) in enumerate(zip(rows, heads, likes, strict=True)):
        row.cluster, row.similarity = head, like
        if head != number:
            row.reason = "near_copy" if exact[number] == number else "exact_copy"


def _split(rows: list[Row], config: DataConfig, seed: int, folder: Path) -> None:
    """Split what is left; drop from train what is like held-out text; measure what they share.

    Nothing is done where fewer are left than there are splits.
    """
    kept = [row for row in rows if row.reason is None]
    if len(kept) < len(SPLITS):
        return
    fractions = config.validation_fraction, config.test_fraction
    splits = assign_splits([row.id for row in kept], seed, *fractions)
    for row, split in zip(kept, splits, strict=True):
        row.split = split

    def sets(n_words: int, *splits: Split) -> Sets:
        numbers = _numbers(rows, lambda row: row.split in splits)
        return _shingle_sets(folder, numbers, n_words)

    words = config.shingle_words
    copies = copies_of_held_out(
        sets(words, *HELD_OUT), lambda: sets(words, "train"), config.near_duplicate_threshold
    )
    for number, (twin, similarity) in copies.items():
        row = rows[number]
        row.cluster, row.similarity, row.split = twin, similarity, None
        row.reason = "near_copy_of_held_out"
    counts = overlaps(sets(OVERLAP_WORDS, *HELD_OUT), lambda: sets(OVERLAP_WORDS, "train"))
    for number, (n_seen, n_shingles) in counts.items():
        rows[number].n_shingles_in_train, rows[number].n_shingles = n_seen, n_shingles


def _numbers(rows: list[Row], wanted: Callable[[Row], bool]) -> NDArray[np.int64]:
    return np.array([number for number, row in enumerate(rows) if wanted(row)], dtype=np.int64)


def _shingle_sets(folder: Path, numbers: NDArray[np.int64], n_words: int) -> Sets:
    """The shingles of some rows (ascending), each sorted and without repeats."""
    documents = read_documents(folder, numbers)
    for number, document in zip(numbers.tolist(), documents, strict=True):
        yield number, np.unique(shingles(hash_words(document.text.encode()), n_words))


def _too_few(
    n_kept: int,
    config: DataConfig,
    root: Path,
    rows: list[Row],
    quarantined: list[Quarantined],
) -> InputError:
    lost = Counter(row.reason for row in rows if row.reason is not None)
    lost.update(file.reason for file in quarantined)
    why = ", ".join(f"{n} {reason}" for reason, n in lost.most_common())
    n_files = len(rows) + len(quarantined)
    return InputError(
        f"{n_kept} of {n_files} files are left as documents, and a corpus needs three, one for "
        "each split" + (f" ({why})" if why else ""),
        where=f"data.input: {config.input}, below {root}",
        fix="add files of text" + (", or loosen the rules in the section data" if why else ""),
    )


def fingerprint(config: DataConfig, root: Path, cache: Path | None = None) -> str:
    """SHA-256 (hex) over the names and contents of all input files: equal input, equal corpus.

    Args:
        config: the section ``data``.
        root: the project folder, to which inputs are relative.
        cache: a file that remembers the hashes of files that have not changed since.

    Raises:
        InputError: an input is missing or empty.
    """
    listing = list_inputs(config, root)
    digest = hashlib.sha256()
    contents = hash_contents(listing.files, config.max_file_bytes, cache)
    for file, content in zip(listing.files, contents, strict=True):
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
