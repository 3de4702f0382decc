"""Saving beside training: a copy into host memory, and a thread that brings it to the disk."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundup.errors import GroundupError
from groundup.track.run import checkpoint_name
from groundup.train.commit import begin, commit
from groundup.train.distributed import ALONE, Ranks
from groundup.train.retention import Retention
from groundup.train.snapshot import HostMemory, Snapshot
from groundup.train.state import RunState


class Saver:
    """The checkpoints of one run, written one after the other.

    What goes wrong is kept for `failed`: a run with an older good checkpoint need not end for it.

    Args:
        folder: ``runs/<run>/checkpoints``, on a disk that all ranks share.
        keep: which of them stay.
    """

    def __init__(self, folder: Path, keep: Retention, ranks: Ranks = ALONE) -> None:
        self.folder, self.keep, self.ranks = folder, keep, ranks
        self._memory = HostMemory()
        self._thread: threading.Thread | None = None
        self._error: GroundupError | None = None

    def save(self, state: RunState, fingerprint: Mapping[str, Any]) -> None:
        """Copy ``state`` and begin to write it; every rank calls it at the same step.

        Waits for an earlier save first, then for the copy alone.
        """
        self.wait()
        snapshot = self._memory.snapshot(state, fingerprint, self.ranks)
        path = self.folder / checkpoint_name(snapshot.step)
        try:
            temporary = begin(path, snapshot, self.ranks)
        except GroundupError as error:
            self._error = error
            return
        self._thread = threading.Thread(
            target=self._write, args=(path, temporary, snapshot), name=f"writer of {path.name}"
        )
        self._thread.start()

    def wait(self) -> None:
        """Wait until what was begun is on the disk, or has failed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def is_writing(self) -> bool:
        """Whether the last save is still under way."""
        return self._thread is not None and self._thread.is_alive()

    def failed(self) -> GroundupError | None:
        """The error of the last save that failed; asked once, it is forgotten."""
        error, self._error = self._error, None
        return error

    def close(self) -> None:
        """Wait, and let go of the memory."""
        self.wait()
        self._memory = HostMemory()

    def _write(self, path: Path, temporary: Path, snapshot: Snapshot) -> None:
        try:
            commit(path, temporary, snapshot, self.keep, self.ranks)
        except GroundupError as error:
            self._error = error
        except Exception as error:  # in a thread nobody else would hear of it
            self._error = GroundupError(
                f"the checkpoint could not be written: {error!r}", where=str(path)
            )
            self._error.__cause__ = error
