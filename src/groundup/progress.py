"""The one progress display: a bar on a terminal, plain lines elsewhere, always on standard error.

Progress never shares a stream with results: standard output belongs to tables and ``--json``. Nor
does it ever end a run: where nobody listens any more (a closed terminal, ``| head``), it is silent.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, cast

from groundup.units import format_count, format_duration

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PLAIN_LINE_SECONDS = 10.0  # between two lines where there is no terminal


def say(text: str) -> None:
    """Print one line for people (standard error)."""
    Listener(sys.stderr).write(text + "\n")


def is_first_process() -> bool:
    """Whether this process speaks for all: of several that torchrun started, the first."""
    return os.environ.get("RANK", "0") == "0"


class Listener(io.TextIOBase):
    """A stream that may be closed, broken or on a full disk without anybody being told."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write and flush ``text`` if that is possible."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: of a closed file
            if self.stream is not None:
                self.stream.write(text)
                self.stream.flush()
        return len(text)

    def isatty(self) -> bool:
        """Whether a bar can be drawn."""
        with contextlib.suppress(OSError, ValueError):
            return self.stream is not None and self.stream.isatty()
        return False

    def fileno(self) -> int:
        """Of the stream: its width is asked for."""
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream: what can be drawn depends on it."""
        return getattr(self.stream, "encoding", None) or "utf-8"


class Progress:
    """One running job: how far, how fast, how long still.

    Args:
        title: what is being done.
        total: amount of work in ``unit``; the time left is derived from it. None: not known.
        unit: what is counted, for example ``"tokens"``.
        done: amount already done by an earlier process (a resumed run).
    """

    def __init__(self, title: str, total: float | None, unit: str, done: float = 0) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self._done_before = done, done
        self._started = self._last_line = time.monotonic()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def advance(self, amount: float, note: str = "") -> None:
        """Count ``amount`` more work; ``note`` is shown beside it (loss, rate, …)."""
        self.done += amount
        if not is_first_process():
            return
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, note=note)
        elif time.monotonic() - self._last_line >= PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            say(self._line(note))

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if not is_first_process():
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            say(text)

    def _line(self, note: str) -> str:
        if self.total is None:
            return f"{self.title}: {format_count(self.done)} {self.unit}  {note}"
        elapsed = time.monotonic() - self._started
        rate = (self.done - self._done_before) / max(elapsed, 1e-9)
        left = format_duration((self.total - self.done) / rate) if rate > 0 else "?"
        share = 100 * self.done / max(self.total, 1)
        return (
            f"{self.title}: {share:5.1f} %  {format_count(self.done)}/{format_count(self.total)} "
            f"{self.unit}  {note}  {left} left"
        )


@contextmanager
def progress(title: str, total: float, unit: str, done: float = 0) -> Iterator[Progress]:
    """Show a `Progress` while the block runs."""
    job = Progress(title, total, unit, done)
    stream = Listener(sys.stderr)
    if not (stream.isatty() and is_first_process()):
        yield job
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.percentage:>5.1f} %"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(compact=True),
    )
    console = Console(file=cast(TextIO, stream))
    # Standard output stays what it is: results never go where the bar is.
    with RichProgress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        job._bar = bar
        job._task = bar.add_task(title, total=total, completed=int(done), note="")
        yield job
