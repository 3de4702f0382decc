"""A run's record: ``run.json``, ``metrics.jsonl``, ``events.jsonl`` and ``abandoned.jsonl``.

``run.json`` says what was run, from what, with which result. ``metrics.jsonl`` has one object a
step of the run as it is; ``events.jsonl`` all that happened; ``abandoned.jsonl`` the steps that the
guard went back before. The logs are only appended to: a torn last line is skipped by every reader.
After a crash they are cut back to the checkpoint that training goes on from, so that a step appears
once. ``run.json`` is replaced atomically and carries its own hash.

A log that cannot be written does not end a run (`lines`); each fails alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from groundup.artifacts import damage, is_sealed, now, seal
from groundup.errors import CorruptError, InputError, StorageError
from groundup.files import read_json, storage_errors, write_atomic, write_json
from groundup.progress import say
from groundup.track.lines import Lines

EMPTY_CHAIN = hashlib.sha256(b"").hexdigest()
METRICS, EVENTS, ABANDONED = "metrics.jsonl", "events.jsonl", "abandoned.jsonl"


class Run:
    """The files of one run, open for writing.

    Args:
        folder: ``runs/<name>``; made if absent.
        record: what is known before the first step. Of an existing ``run.json`` only the start is
            kept: what an earlier end wrote (hash, measurements, error) no longer holds.

    Attributes:
        n_events, n_abandoned: lines in these logs, those that still wait to be written among them.

    Raises:
        StorageError: at the start the folder cannot be written. Later only `finish` raises it.
    """

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.folder = folder
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        before = read_run(folder) or {}
        self.record: dict[str, Any] = {"started_at": before.get("started_at", now()), **record}
        if "lost_lines" in before:
            self.record["lost_lines"] = before["lost_lines"]
        self.record["status"] = "running"
        self._write_record()
        self._metrics = Lines(folder / METRICS)
        self._events = Lines(folder / EVENTS)
        self._abandoned: Lines | None = None  # most runs have none
        self.n_events = sum(1 for _ in read_lines(folder / EVENTS))
        self.n_abandoned = sum(1 for _ in read_lines(folder / ABANDONED))

    def update(self, **fields: Any) -> None:
        """Set fields of ``run.json`` and write it; a refusal is said, the end writes them again."""
        self.record.update(fields)
        try:
            self._write_record()
        except StorageError as error:
            say(f"{error.where}: {error.message}; training goes on")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step's metrics."""
        self._metrics.append(json.dumps({"step": step, **metrics}))

    def event(self, step: int, event: str, /, **details: Any) -> None:
        """Append something that happened: a sample, a checkpoint, a resume."""
        self._events.append(json.dumps({"step": step, "event": event, "at": now(), **details}))
        self.n_events += 1

    def abandon(self, after_step: int, rewind_number: int) -> int:
        """Move the metrics of the steps after ``after_step`` to ``abandoned.jsonl``.

        They are written there before they are cut off here. A crash between the two leaves them in
        both; going on from the checkpoint (`rewind`) then drops both.

        Args:
            rewind_number: which rewind of the run this is; stands in each line.

        Returns:
            how many lines ``abandoned.jsonl`` has now.
        """
        try:
            size, lines = _after(self._metrics.path, after_step)
        except OSError as error:
            say(f"{self._metrics.path}: {error.strerror}; its lines stay where they are")
            return self.n_abandoned
        lines += [line for line in map(_parsed, self._metrics.waiting) if line]
        if self._abandoned is None:
            try:
                self._abandoned = Lines(self.folder / ABANDONED)
            except StorageError as error:
                say(f"{error.where}: {error.message}; {len(lines)} lines are lost")
        if self._abandoned is not None:
            for line in lines:
                if line["step"] > after_step:
                    self._abandoned.append(json.dumps({"rewind": rewind_number, **line}))
                    self.n_abandoned += 1
            self._abandoned.flush()
        self._metrics.cut(size)
        for line in lines:
            if line["step"] <= after_step:  # it was waiting
                self._metrics.append(json.dumps(line))
        return self.n_abandoned

    def flush(self) -> None:
        """Make all lines so far survive a power loss; called at every checkpoint."""
        for lines in self._logs():
            lines.flush()

    def close(self) -> None:
        """Close the files; ``run.json`` stays as it is."""
        for lines in self._logs():
            lines.close()

    def finish(self, status: str, **fields: Any) -> None:
        """Close the files and write the final ``run.json``.

        Raises:
            StorageError: of a finished run the record or a line cannot be written; its last
                checkpoint is whole. An end that has an error of its own only says so.
        """
        refused = [log.why for log in self._logs() if not log.flush()]
        self.close()
        lost = {log.path.name: log.n_lost + len(log.waiting) for log in self._logs()}
        lost = {name: n for name, n in lost.items() if n}
        fields = {"status": status, "finished_at": now(), **fields}
        if lost:
            earlier = self.record.get("lost_lines", {})
            fields["lost_lines"] = {**earlier, **lost}
        if status != "finished":
            self.update(**fields)
            return
        if refused:
            raise StorageError(
                f"the run's last lines cannot be written: {refused[0]}",
                where=str(self.folder),
                fix="make room or make it writable, and give the same command again: it goes on "
                "from the last checkpoint",
            )
        self.record.update(fields)
        self._write_record()

    def _logs(self) -> list[Lines]:
        return [log for log in (self._metrics, self._events, self._abandoned) if log is not None]

    def _write_record(self) -> None:
        write_json(self.folder / "run.json", seal(self.record))


class Bystander:
    """A `Run` of a process that writes nothing: all ranks but the first."""

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.folder, self.record = folder, dict(record)
        self.n_events = self.n_abandoned = 0

    def update(self, **fields: Any) -> None:
        """Set fields of the record."""
        self.record.update(fields)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Nothing: the first rank logs."""

    def event(self, step: int, event: str, /, **details: Any) -> None:
        """Nothing: the first rank logs."""

    def abandon(self, after_step: int, rewind_number: int) -> int:
        """Nothing: the first rank moves the lines."""
        return self.n_abandoned

    def flush(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""

    def finish(self, status: str, **fields: Any) -> None:
        """Set the fields of the record."""
        self.update(status=status, **fields)


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
        yield from filter(None, map(_parsed, file))


def _parsed(line: str | bytes) -> dict[str, Any] | None:
    """A line of a log; None where it is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("step"), int) else None


def _after(path: Path, step: int) -> tuple[int, list[dict[str, Any]]]:
    """Bytes of a log up to the last line of ``step`` or before, and the lines behind them."""
    size = 0
    lines: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for text in file:
            line = _parsed(text)
            if lines or (line and line["step"] > step):
                lines += [line] if line else []
            else:
                size += len(text)
    return size, lines


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


def rewind(
    folder: Path, step: int, n_events: int | None = None, n_abandoned: int | None = None
) -> None:
    """Cut a closed run's logs back to a checkpoint: training goes on from there.

    Args:
        step: of the checkpoint; metrics of later steps are dropped.
        n_events, n_abandoned: lines that these logs had at the checkpoint; null: lines of later
            steps are dropped here too.

    Raises:
        StorageError: the disk is full or the folder is not writable.
    """
    for name, n_lines in ((METRICS, None), (EVENTS, n_events), (ABANDONED, n_abandoned)):
        path = folder / name
        if path.exists():
            lines = list(read_lines(path))
            kept = (
                lines[:n_lines]
                if n_lines is not None
                else [line for line in lines if line["step"] <= step]
            )
            write_atomic(path, "".join(json.dumps(line) + "\n" for line in kept))


def checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints in a run's ``checkpoints`` folder, oldest first."""
    return sorted(
        path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdecimal()
    )


def step_of(path: Path) -> int:
    """The step a checkpoint's folder is named after."""
    return int(path.name.removeprefix("step-"))


def newest_good_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint whose every hash matches; damaged ones are named on the way."""
    return next((path for path in reversed(checkpoints(folder)) if is_whole(path)), None)


def is_whole(checkpoint: Path) -> bool:
    """Whether every hash matches; if not, it is said."""
    problems = damage(checkpoint)
    if problems:
        say(f"checkpoint {checkpoint.name} is damaged and not used: {'; '.join(problems)}")
    return not problems


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
