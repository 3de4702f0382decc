"""Documents on disk: the text as it was read, and side tables with the same rows.

    documents.parquet   id, source, locator, text        as read, never rewritten
    signals.parquet     what was measured on each        and its cleaned text, where that differs
    clusters.parquet    what each is a copy of
    selection.parquet   kept or why not, the split, and how much of it stands in train

Thresholds can change without reading or measuring again, and every dropped document has its reason.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from groundup.data.split import Split

SCHEMAS = {
    "documents": pa.schema(
        {"id": pa.string(), "source": pa.string(), "locator": pa.string(), "text": pa.string()}
    ),
    "signals": pa.schema(
        {
            "raw_bytes": pa.int64(),  # UTF-8, before cleaning; all others after
            "n_bytes": pa.int64(),
            "n_lines": pa.int64(),
            "n_words": pa.int64(),
            "letter_share": pa.float64(),
            "duplicate_line_share": pa.float64(),
            "mean_line_bytes": pa.float64(),
            "exact_hash": pa.string(),
            "cleaning": pa.list_(pa.string()),  # names of the steps that changed something
            "clean_text": pa.string(),  # null where cleaning changed nothing
        }
    ),
    "clusters": pa.schema({"cluster": pa.int64(), "similarity": pa.float64()}),
    "selection": pa.schema(
        {
            "kept": pa.bool_(),
            "reason": pa.string(),
            "split": pa.string(),
            "overlap": pa.float64(),  # of held-out documents: share of shingles found in train
        }
    ),
}
ROWS_AT_ONCE = 4096  # turned into dictionaries, each a kilobyte, on the way to and from disk
_TEXTS = {"text", "clean_text"}  # long and all different: a dictionary of them would be no gain


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it comes from."""

    id: str
    """128-bit hash (hex) of source and locator: the same wherever the project is moved."""
    source: str
    """The input as `data.input` names it (of an absolute path the end)."""
    locator: str
    """Path of the file inside the input."""
    text: str


@dataclass(slots=True)
class Row:
    """All that is known of one document but its text: a row of all four tables.

    The first fields are read from disk (`read_rows`); the others are decided later.
    """

    id: str
    source: str
    locator: str
    raw_bytes: int
    n_bytes: int
    n_lines: int
    n_words: int
    letter_share: float
    duplicate_line_share: float
    mean_line_bytes: float
    exact_hash: str
    cleaning: tuple[str, ...]
    cluster: int
    similarity: float = 1.0
    reason: str | None = None
    split: Split | None = None
    n_shingles: int = 0  # of a held-out document: long ones, and those that stand in train
    n_shingles_in_train: int = 0

    @property
    def name(self) -> str:
        """The document's place, for people."""
        return f"{self.source}/{self.locator}"

    @property
    def overlap(self) -> float | None:
        """Share of a held-out document's long shingles that stand in train."""
        return self.n_shingles_in_train / self.n_shingles if self.n_shingles else None


def document_id(source: str, locator: str) -> str:
    """The id of the document at a place."""
    return hashlib.blake2b(f"{source}\0{locator}".encode(), digest_size=16).hexdigest()


class TableWriter(AbstractContextManager["TableWriter"]):
    """Writes one of the tables; every call of `write` is a row group."""

    def __init__(self, folder: Path, name: str) -> None:
        self._schema = SCHEMAS[name]
        self._writer = pq.ParquetWriter(
            folder / f"{name}.parquet",
            self._schema,
            compression="zstd",
            use_dictionary=[column for column in self._schema.names if column not in _TEXTS],
        )

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows, given as mappings from column to value."""
        self._writer.write_table(pa.Table.from_pylist(rows, self._schema))

    def __exit__(self, *_: object) -> None:
        self._writer.close()


def read_columns(folder: Path, name: str) -> Any:
    """A table without its texts, as an Arrow table."""
    columns = [column for column in SCHEMAS[name].names if column not in _TEXTS]
    return pq.read_table(folder / f"{name}.parquet", columns=columns)


def read_rows(folder: Path) -> list[Row]:
    """All documents without their texts, nothing decided yet."""
    documents, signals = read_columns(folder, "documents"), read_columns(folder, "signals")
    rows: list[Row] = []
    while len(rows) < len(documents):  # some at a time: their dictionaries are larger than they
        first = len(rows), ROWS_AT_ONCE
        given, measured = documents.slice(*first).to_pylist(), signals.slice(*first).to_pylist()
        for document, signal in zip(given, measured, strict=True):
            document["source"] = sys.intern(document["source"])
            signal["cleaning"] = tuple(map(sys.intern, signal["cleaning"]))
            rows.append(Row(**document, **signal, cluster=len(rows)))
    return rows


def read_documents(folder: Path, rows: NDArray[np.int64]) -> Iterator[Document]:
    """The documents of some rows (ascending) with their cleaned text, a row group at a time."""
    with (
        pq.ParquetFile(folder / "documents.parquet") as documents,
        pq.ParquetFile(folder / "signals.parquet") as signals,
    ):
        first = 0
        for group in range(documents.num_row_groups):
            n_rows = documents.metadata.row_group(group).num_rows
            wanted = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + n_rows)]
            if len(wanted):
                given = documents.read_row_group(group).take(wanted - first).to_pylist()
                cleaned = signals.read_row_group(group, columns=["clean_text"])
                texts = cleaned.take(wanted - first)["clean_text"].to_pylist()
                for document, text in zip(given, texts, strict=True):
                    if text is not None:
                        document["text"] = text
                    yield Document(**document)
            first += n_rows
