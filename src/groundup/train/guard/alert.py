"""Who is told of an alarm: a program that is started, or an address that is posted to.

Telling never holds up training nor ends it. Events go through a queue of one to a thread: while one
is being told only the newest waits, and those between are left out (all stand in ``events.jsonl``).
The first failure of each way is said, later ones are not. Of an address no more than the host is
ever written: its path and query are where secrets are.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx2

from groundup.errors import ConfigError
from groundup.progress import say
from groundup.train.guard.config import GuardConfig, host_of

COMMAND_SECONDS = 60.0  # after which a program is ended
WEBHOOK_SECONDS = 10.0
LAST_SECONDS = 10.0  # at the end of a run, for what is still being told
GRACE_SECONDS = 2.0  # between the request to end and the kill of a program

Event = Mapping[str, Any]
Tell = Callable[[str], str | None]  # event as JSON → what went wrong


class Alert:
    """Tells every event it is called with, in a thread of its own.

    Args:
        ways: all of them are gone.
        ends: called where the end of the run finds one of them still under way.
    """

    def __init__(self, ways: list[Tell], ends: Sequence[Callable[[], None]] = ()) -> None:
        self.ways, self.ends = ways, ends
        self._waiting: queue.Queue[str | None] = queue.Queue(maxsize=1)
        self._thread: threading.Thread | None = None
        self._has_complained: set[int] = set()  # numbers of the ways

    def __call__(self, event: Event) -> None:
        """Hand over an event; returns at once."""
        if not self.ways:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="alert", daemon=True)
            self._thread.start()
        with contextlib.suppress(queue.Empty):
            self._waiting.get_nowait()
        self._waiting.put_nowait(json.dumps(event, default=str))

    def close(self, seconds: float = LAST_SECONDS) -> None:
        """Give what is under way, and what is waiting, some time to get out; then end it."""
        if self._thread is None:
            return
        until = time.monotonic() + seconds
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=seconds)
            self._thread.join(max(0.0, until - time.monotonic()))
        if not self._thread.is_alive():
            self._thread = None
            return
        with contextlib.suppress(queue.Empty):
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)
        for end in self.ends:
            end()

    def _work(self) -> None:
        while (text := self._waiting.get()) is not None:
            for number, tell in enumerate(self.ways):
                problem = tell(text)
                if problem is not None and number not in self._has_complained:
                    self._has_complained.add(number)
                    say(f"{problem}; training goes on, and further failures are not said")


def alert_of(config: GuardConfig) -> Alert:
    """What a configuration asks for; nothing, mostly.

    Raises:
        ConfigError: an address that cannot be posted to.
    """
    ways: list[Tell] = []
    ends: list[Callable[[], None]] = []
    if config.alert_command is not None:
        program = Program(config.alert_command)
        ways.append(program.start)
        ends.append(program.end)
    if config.alert_webhook is not None:
        address, host = config.alert_webhook, host_of(config.alert_webhook)
        require_url(address)
        ways.append(lambda text: post(address, host, text))
    return Alert(ways, ends)


def require_url(address: str) -> None:
    """Refuse what httpx2 could not ask: it knows more of host names than the configuration.

    Raises:
        ConfigError: it is such an address.
    """
    try:
        httpx2.URL(address)
    except (httpx2.InvalidURL, ValueError):
        raise ConfigError(
            "alert_webhook cannot be posted to (it is not shown: it may hold a secret)",
            where="pretrain.guard.alert_webhook",
            fix="write it like https://hooks.example.org/path",
        ) from None


class Program:
    """A program that is started for every event, in one thread, and ended from another.

    Args:
        command: the program and its arguments; no shell reads them.
    """

    def __init__(self, command: list[str]) -> None:
        self.command, self.name = command, os.path.basename(command[0])
        self._is_over = threading.Event()
        self._is_idle = threading.Event()
        self._is_idle.set()

    def start(self, text: str) -> str | None:
        """Run it with ``text`` on its standard input, and no part of our terminal.

        Returns:
            what went wrong.
        """
        self._is_idle.clear()  # before the look at `_is_over`: `end` sets that, then looks here
        try:
            return None if self._is_over.is_set() else self._run(text)
        finally:
            self._is_idle.set()

    def end(self) -> None:
        """End it where it is at work, with all it has started, and start it no more."""
        self._is_over.set()
        if not self._is_idle.is_set():
            say(f"the alert command {self.name} is still at work at the end of the run: ending it")
            self._is_idle.wait(2 * GRACE_SECONDS)

    def _run(self, text: str) -> str | None:
        with tempfile.TemporaryFile() as told:  # no pipe: a program that never reads is no matter
            told.write(text.encode())
            told.seek(0)
            try:
                process = subprocess.Popen(
                    self.command,
                    stdin=told,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C at the run is not meant for it
                )
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                return f"the alert command {self.name} could not be started: {reason}"
        until = time.monotonic() + COMMAND_SECONDS
        while not self._is_over.is_set() and time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(0.1)
                return f"the alert command {self.name} ended with code {code}" if code else None
        end_group(process)
        if self._is_over.is_set():
            return None  # said by `end`
        return f"the alert command {self.name} was ended after {COMMAND_SECONDS:.0f} s"


def end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to a program and all it has started in its session, then SIGKILL to who is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def post(address: str, host: str, text: str) -> str | None:
    """Post ``text`` as JSON; nobody is followed elsewhere.

    Returns:
        what went wrong, without the address.
    """
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it writes whole addresses
    try:
        reply = httpx2.post(
            address,
            content=text.encode(),
            headers={"content-type": "application/json"},
            timeout=WEBHOOK_SECONDS,
            follow_redirects=False,
        )
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        return f"the alert webhook at {host} failed: {type(error).__name__}"
    if not 200 <= reply.status_code < 300:
        return f"the alert webhook at {host} answered {reply.status_code}"
    return None
