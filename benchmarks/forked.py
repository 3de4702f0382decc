"""Commands of ours in forked processes: Python and torch are imported once, not at every start.

A start costs a fork instead of seconds of imports, so that hundreds of kills and restarts are
affordable. What a process does afterwards is the same: own group, own output, own signals.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.01
PRELOADED = ("groundup.stages", "groundup.stages_training", "groundup.train.pretrain")


def preload() -> None:
    """Import what the processes will need. Nothing of it may start a thread."""
    for name in PRELOADED:
        __import__(name)


class Forked:
    """One command line of groundup in a child of this process.

    Args:
        log: gets what it says, from the start.
    """

    def __init__(
        self, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log, self.returncode = log, None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            run_and_exit(arguments, log, environment or {})

    returncode: int | None

    def poll(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code, or None if it still runs after ``seconds``."""
        end = None if seconds is None else time.monotonic() + seconds
        while self.poll() is None and (end is None or time.monotonic() < end):
            time.sleep(POLL_SECONDS)
        return self.returncode

    def kill(self) -> None:
        """SIGKILL to it and all that it started."""
        os.killpg(self.pid, signal.SIGKILL)


def run_and_exit(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    """In the child: become a process of its own, run the command line, end."""
    code = 1
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.environ.pop("GROUNDUP_FAULT", None)
        os.environ.update(environment)
        from groundup.cli.frame import run

        code = run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def start_ranks(arguments: Sequence[str], folder: Path, n_ranks: int) -> list[Forked]:
    """The same command as so many ranks of one machine, as torchrun would start them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(n_ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        Forked(
            arguments,
            folder / f"log-{rank}",
            {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(n_ranks)
    ]
