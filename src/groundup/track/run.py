"""A run's record: ``run.json``, ``metrics.jsonl`` and ``events.jsonl``.

``run.json`` says what was run, from what, with which result. ``metrics.jsonl`` has one object a
step and is only appended to: a torn last line is skipped by every reader. After a crash it is cut
back to the checkpoint that training goes on from, so that a step appears once. ``run.json`` is
replaced atomically and carries its own hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from groundup.artifacts import damage, is_sealed, now, seal
from groundup.errors import CorruptError, InputError
from groundup.files import read_json, storage_errors, write_atomic, write_json
from groundup.progress import say

EMPTY_CHAIN = hashlib.sha256(b"").hexdigest()


class Run:
    """The files of one run, open for writing.

    Args:
        folder: ``runs/<name>``; made if absent.
        record: what is known before the first step. Of an existing ``run.json`` only the start is
            kept: what an earlier end wrote (hash, measurements, error) no longer holds.
    """

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.folder = folder
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        before = read_run(folder) or {}
        self.record: dict[str, Any] = {"started_at": before.get("started_at", now()), **record}
        self.update(status="running")
        with storage_errors(folder):
            self._metrics = (folder / "metrics.jsonl").open("a", encoding="utf-8")
            self._events = (folder / "events.jsonl").open("a", encoding="utf-8")

    def update(self, **fields: Any) -> None:
        """Set fields of ``run.json`` and write it."""
        self.record.update(fields)
        write_json(self.folder / "run.json", seal(self.record))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step's metrics."""
        self._append(self._metrics, {"step": step, **metrics})

    def event(self, step: int, kind: str, **details: Any) -> None:
        """Append something that happened: a sample, a checkpoint, a resume."""
        self._append(self._events, {"step": step, "event": kind, "at": now(), **details})

    def flush(self) -> None:
        """Make all lines so far survive a power loss; called at every checkpoint."""
        with storage_errors(self.folder):
            for file in (self._metrics, self._events):
                file.flush()
                os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files; ``run.json`` stays as it is."""
        for file in (self._metrics, self._events):
            with contextlib.suppress(OSError):  # the full disk was said when the line was written
                file.close()

    def finish(self, status: str, **fields: Any) -> None:
        """Close the files and write the final ``run.json``."""
        self.flush()
        self.close()
        self.update(status=status, finished_at=now(), **fields)

    def _append(self, file: Any, line: Mapping[str, Any]) -> None:
        with storage_errors(self.folder):
            file.write(json.dumps(line) + "\n")
            file.flush()


def amend(folder: Path, **fields: Any) -> dict[str, Any]:
    """Set fields of a closed run's ``run.json``, and return the whole record.

    Raises:
        CorruptError: there is no record that its own hash vouches for.
        StorageError: it cannot be written.
    """
    record = read_run(folder)
    if record is None:
        raise CorruptError("no readable record of this run", where=str(folder))
    amended = seal({**record, **fields})
    write_json(folder / "run.json", amended)
    return amended


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; one that is torn (a killed writer) or damaged is skipped."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and isinstance(value.get("step"), int):
                yield value


def chain_loss(chain: str, step: int, loss: float) -> str:
    """The chain with one more step's loss (hexadecimal: every bit of it)."""
    return hashlib.sha256(f"{chain} {step} {loss.hex()}".encode()).hexdigest()


def loss_chain(metrics: Path) -> str | None:
    """The chain of all losses in a log; None if a line has no loss."""
    chain = EMPTY_CHAIN
    for line in read_lines(metrics):
        loss = line.get("loss")
        if not isinstance(loss, float):
            return None
        chain = chain_loss(chain, line["step"], loss)
    return chain


def rewind(folder: Path, step: int) -> None:
    """Drop the metrics and events of steps after ``step``: training goes on from there."""
    for name in ("metrics.jsonl", "events.jsonl"):
        path = folder / name
        if path.exists():
            kept = [json.dumps(line) + "\n" for line in read_lines(path) if line["step"] <= step]
            write_atomic(path, "".join(kept))


def checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints in a run's ``checkpoints`` folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def newest_good_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint whose every hash matches; damaged ones are named on the way."""
    for path in reversed(checkpoints(folder)):
        problems = damage(path)
        if not problems:
            return path
        say(f"checkpoint {path.name} is damaged and not used: {'; '.join(problems)}")
    return None


def checkpoint_name(step: int) -> str:
    """The folder of the checkpoint after ``step`` steps."""
    return f"step-{step:08d}"


def read_run(folder: Path) -> dict[str, Any] | None:
    """The run's record, or None where there is none that its own hash vouches for."""
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        record = read_json(path)
    except InputError:
        record = None
    if not isinstance(record, dict) or not is_sealed(record):
        say(f"{path} is not as it was written; the run is taken up from its checkpoints")
        return None
    return record
