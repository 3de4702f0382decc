"""Sets of shingles on disk: of all candidates for a comparison, only the two compared in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from groundup.data.dedup.shingles import Hashes


class SpilledSets(Mapping[int, Hashes]):
    """Row → its shingles, each read when it is asked for.

    They lie in a file without a name, which is gone when this is closed or the process ends.
    """

    def __init__(self, folder: Path, sets: Iterable[tuple[int, Hashes]]) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `__exit__`)
        self._places: dict[int, tuple[int, int]] = {}
        for row, shingles in sets:
            self._places[row] = self._file.tell(), shingles.nbytes
            self._file.write(shingles.tobytes())

    def __getitem__(self, row: int) -> Hashes:
        offset, n_bytes = self._places[row]
        self._file.seek(offset)
        return np.frombuffer(self._file.read(n_bytes), dtype=np.uint64)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __enter__(self) -> SpilledSets:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
