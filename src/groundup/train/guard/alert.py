"""Who is told of an alarm: a program that is started, or an address that is posted to.

Telling never holds up training nor ends it. Events go through a queue of one to a thread: while one
is being told only the newest waits, and those between are left out (all stand in ``events.jsonl``).
The first failure is said, later ones are not. Of an address no more than the host is ever written:
its path and query are where secrets are.
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
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from groundup.errors import ConfigError
from groundup.progress import say
from groundup.train.guard.config import GuardConfig

COMMAND_SECONDS = 60.0  # after which a program is ended
WEBHOOK_SECONDS = 10.0
LAST_SECONDS = 10.0  # at the end of a run, for what is still being told

Event = Mapping[str, Any]
Tell = Callable[[str], str | None]  # event as JSON → what went wrong


class Alert:
    """Tells every event it is called with, in a thread of its own.

    Args:
        ways: all of them are gone.
    """

    def __init__(self, ways: list[Tell]) -> None:
        self.ways = ways
        self._waiting: queue.Queue[str | None] = queue.Queue(maxsize=1)
        self._thread: threading.Thread | None = None
        self._has_complained = False

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
        """Give what is under way, and what is waiting, some time to get out."""
        if self._thread is None:
            return
        until = time.monotonic() + seconds
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=seconds)
            self._thread.join(max(0.0, until - time.monotonic()))
        if not self._thread.is_alive():
            self._thread = None

    def _work(self) -> None:
        while (text := self._waiting.get()) is not None:
            for tell in self.ways:
                problem = tell(text)
                if problem is not None and not self._has_complained:
                    self._has_complained = True
                    say(f"{problem}; training goes on, and further failures are not said")


def alert_of(config: GuardConfig) -> Alert:
    """What a configuration asks for; nothing, mostly.

    Raises:
        ConfigError: the address is not one of http or https.
    """
    ways: list[Tell] = []
    if config.alert_command is not None:
        command = config.alert_command
        ways.append(lambda text: start(command, text))
    if config.alert_webhook is not None:
        address, host = config.alert_webhook, host_of(config.alert_webhook)
        ways.append(lambda text: post(address, host, text))
    return Alert(ways)


def host_of(address: str) -> str:
    """The part of an address that may be written down.

    Raises:
        ConfigError: it is not one of http or https.
    """
    with contextlib.suppress(ValueError, httpx2.InvalidURL):
        parts = urlsplit(address)
        httpx2.URL(address)  # refuses what it could not ask
        if parts.scheme in ("http", "https") and parts.hostname:
            return parts.hostname
    raise ConfigError(
        "alert_webhook is no address of http or https (it is not shown: it may hold a secret)",
        where="pretrain.guard.alert_webhook",
        fix="write it like https://hooks.example.org/path",
    )


def start(command: list[str], text: str) -> str | None:
    """Run a program with ``text`` on its standard input; no shell, and no part of our terminal.

    Returns:
        what went wrong.
    """
    name = os.path.basename(command[0])
    with (
        tempfile.TemporaryFile() as told
    ):  # not a pipe: nobody waits for a program that never reads
        told.write(text.encode())
        told.seek(0)
        try:
            process = subprocess.Popen(
                command,
                stdin=told,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at the run is not meant for it
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return f"the alert command {name} could not be started: {reason}"
    try:
        code = process.wait(COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"the alert command {name} was ended after {COMMAND_SECONDS:.0f} s"
    return f"the alert command {name} ended with code {code}" if code else None


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
