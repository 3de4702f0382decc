"""Ctrl-C, SIGTERM and a closed terminal (SIGHUP) as a polite request: finish the step, save.

It has `GRACE_SECONDS`, or ``GROUNDUP_GRACE``: who sent the signal kills soon (torchrun, Slurm and
Kubernetes after 30 s unless told otherwise), and an end of our own leaves a tidy record. What does
not end in time, and what is asked a second time, stops at once; the last checkpoint is whole.

A terminal that closes may send SIGHUP more than once, so that one never counts as impatience; where
it is ignored (``nohup``) it stays ignored. Nor does a SIGTERM right after the first signal: a
cluster sends it to all processes, and torchrun passes its own on to each of them.

Notable: Python runs handlers between two of its instructions, so not inside a collective that
waits. A thread that the interpreter wakes at once (`signal.set_wakeup_fd`) keeps the time.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from groundup.errors import Interrupted, UserError
from groundup.progress import is_first_process, say

LAUNCHED = "GROUNDUP_LAUNCHED"  # set for ranks whose launcher says that it was asked to stop
GRACE_SECONDS = 25.0  # five less than the usual time between SIGTERM and SIGKILL
ECHO_SECONDS = 2.0  # a SIGTERM so soon after the first signal is the same request
LEAVING_SECONDS = 3.0  # from "at once" to the end of a process whose main thread does not come back


def grace_seconds() -> float:
    """The time between a request to stop and its end, ``GROUNDUP_GRACE`` or `GRACE_SECONDS`.

    Raises:
        UserError: the variable holds something else than a positive number.
    """
    text = os.environ.get("GROUNDUP_GRACE", "")
    try:
        seconds = float(text or GRACE_SECONDS)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UserError(
            f"GROUNDUP_GRACE={text!r} is not a number of seconds",
            fix=f"set it to the seconds between SIGTERM and SIGKILL here, less five, or unset it "
            f"for {GRACE_SECONDS:.0f}",
        )
    return seconds


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether a stop was asked for. A second request stops at once.

    Raises:
        KeyboardInterrupt: asked again, or the grace is over.
        UserError: GROUNDUP_GRACE is no number of seconds.
    """
    grace = grace_seconds()
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # Python delivers signals to the main thread only
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    request = Request(grace, numbers)
    before = {number: signal.signal(number, request.on_signal) for number in numbers}
    try:
        with request.timed():
            yield lambda: request.asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Request:
    """One request to stop, and the thread that keeps its time."""

    def __init__(self, grace: float, numbers: list[signal.Signals]) -> None:
        self.grace, self.numbers = grace, numbers
        self.asked = False
        self.first: float | None = None  # when the thread saw the first signal
        self.at_once = False
        self.over = threading.Event()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, between two instructions of Python."""
        if self.asked and self.impatient(number):
            raise KeyboardInterrupt
        if self.asked:
            return
        self.asked = True
        if is_first_process() and LAUNCHED not in os.environ:  # of many, one says it
            say(
                f"{signal.Signals(number).name}: saving after this step, within {self.grace:.0f} s "
                "(again to stop at once)"
            )

    def impatient(self, number: int) -> bool:
        """Whether a further signal means "at once"."""
        if self.at_once or number == signal.SIGINT:
            return True
        echo = self.first is None or time.monotonic() - self.first < ECHO_SECONDS
        return number == signal.SIGTERM and not echo

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Let the thread see every signal, even while the main thread is held up."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        thread = threading.Thread(target=self.keep_time, args=[reading], daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            signal.set_wakeup_fd(before)
            os.close(writing)  # ends the thread's read
            thread.join()
            os.close(reading)

    def keep_time(self, reading: int) -> None:
        """In the thread: wait for the first signal, then for the second or the end of the grace."""
        while (byte := os.read(reading, 1)) and byte[0] not in self.numbers:
            pass  # a signal that is handled elsewhere
        if not byte:
            return
        self.first = time.monotonic()
        end = threading.Timer(self.grace, self.stop_at_once, ["the grace is over"])
        end.daemon = True
        end.start()
        while byte := os.read(reading, 1):
            if byte[0] in self.numbers and not self.at_once and self.impatient(byte[0]):
                threading.Thread(target=self.leave, daemon=True).start()
                break
        end.cancel()

    def stop_at_once(self, why: str) -> None:
        """Interrupt the main thread wherever it is."""
        self.at_once = True
        say(f"{why}: stopping at once, without saving; the last checkpoint is whole")
        with contextlib.suppress(ProcessLookupError):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self.leave()

    def leave(self) -> None:
        """End the process from outside if its main thread does not come back to do so."""
        if not self.over.wait(LEAVING_SECONDS):
            os._exit(Interrupted.code)
