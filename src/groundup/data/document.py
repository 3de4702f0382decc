"""Documents on disk: the text as it was read, and side tables with the same rows.

    documents.parquet   id, source, locator, text        as read, never rewritten
    signals.parquet     what was measured on each        and its cleaned text, where that differs
    clusters.parquet    what each is a copy of
    selection.parquet   kept or why not, and the split

Thresholds can change without reading or measuring again, and every dropped document has its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

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
    "selection": pa.schema({"kept": pa.bool_(), "reason": pa.string(), "split": pa.string()}),
}
_TEXTS = {"text", "clean_text"}  # long and all different: a dictionary of them would be no gain


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it comes from."""

    id: str
    """128-bit hash (hex) of source and locator: the same file has the same id in every corpus."""
    source: str
    """Name of the input."""
    locator: str
    """Path of the file inside the input."""
    text: str


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
