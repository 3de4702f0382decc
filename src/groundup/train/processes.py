"""What the kernel says about a process of this machine (proc(5)), and its environment to it."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from groundup.errors import InputError

STOPPED = "Tt"  # by a signal, or by a debugger
ENDED = "ZXx"


@dataclass(frozen=True)
class ProcessState:
    """A process that is there.

    Attributes:
        letter: R running, S and D waiting, T stopped, Z ended but not yet collected, …; empty where
            the system has no ``/proc``.
        started: clock ticks from the start of the machine to its start: with the pid, a name that
            is never given twice.
        ended_by: the signal that ended it, of an ended one whose parent has not asked yet.
    """

    letter: str
    started: int
    ended_by: str | None = None


@cache
def machine() -> str:
    """A name for where pids mean the same: this start of the kernel, this pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def process_state(pid: int) -> ProcessState | None:
    """The state of a process of this machine; None if there is none of this number."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None if Path("/proc/self/stat").exists() else asked_by_signal(pid)
    fields = text.rpartition(")")[2].split()  # field 2, the name, may hold spaces and brackets
    letter, started = fields[0], int(fields[19])
    ended_by = signal_name(int(fields[49])) if letter in ENDED and len(fields) > 49 else None
    return ProcessState(letter, started, ended_by)


def asked_by_signal(pid: int) -> ProcessState | None:
    """The same where there is no ``/proc``: whether a signal could be sent is all that is known."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ProcessState("", 0)


def signal_name(wait_status: int) -> str | None:
    """The signal in the status that wait(2) gives, or None if the process exited."""
    if not os.WIFSIGNALED(wait_status):
        return None
    try:
        return signal.Signals(os.WTERMSIG(wait_status)).name
    except ValueError:  # a real-time signal
        return f"signal {os.WTERMSIG(wait_status)}"


def told_number(name: str, default: int | None = None) -> int:
    """A whole number that the environment tells this process, torchrun's for example.

    Raises:
        InputError: it is none, or is not there and has no ``default``.
    """
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise InputError(
            f"{name} is {text!r}, which is no number",
            where="environment",
            fix="start several processes by torchrun; for one alone unset WORLD_SIZE",
        )
    return int(text)
