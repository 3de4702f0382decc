"""Where every thread of every rank stands, on request: ``<run folder>/ranks/00001.stack.txt``.

The request is a file in the same folder: each rank's heartbeat sees it and writes its stacks, on
whatever machine it is. Ranks of this machine that stay silent (a thread that keeps Python's lock)
get SIGUSR1, which `faulthandler` answers below Python. A stopped process answers neither: the
kernel's view of it is written instead.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from groundup.progress import say
from groundup.train.heartbeat import Beat, Heart
from groundup.train.processes import STOPPED, machine, process_state

SIGNAL = signal.SIGUSR1


class Stacks:
    """The file of one rank's stacks, open all the time: nothing is left to do when it is needed.

    Args:
        folder: the run's ``ranks`` folder.
    """

    def __init__(self, folder: Path, rank: int, launch: int) -> None:
        self.request = request_path(folder, launch)
        self.file = stack_path(folder, rank).open("a")
        self.written = False
        faulthandler.register(SIGNAL, file=self.file, all_threads=True)

    def answer(self) -> None:
        """Write the stacks once, if somebody asked; called with every beat."""
        if not self.written and self.request.exists():
            self.written = True
            faulthandler.dump_traceback(self.file, all_threads=True)

    def close(self) -> None:
        """Stop listening; a file without stacks goes away."""
        faulthandler.unregister(SIGNAL)
        self.file.flush()
        empty = os.fstat(self.file.fileno()).st_size == 0
        self.file.close()
        if empty:
            with contextlib.suppress(OSError):
                Path(self.file.name).unlink()


@contextmanager
def answering(heart: Heart) -> Iterator[None]:
    """Answer requests for stacks while the block runs; not at all where the disk refuses."""
    try:
        stacks = Stacks(heart.folder, heart.ranks.rank, heart.launch)
    except OSError as error:
        say(f"no stacks of rank {heart.ranks.rank} will be written: {error}")
        yield
        return
    heart.each_beat.append(stacks.answer)
    try:
        yield
    finally:
        heart.each_beat.remove(stacks.answer)
        stacks.close()


def ask_for_stacks(heart: Heart, beats: Iterable[Beat]) -> None:
    """Ask all ranks for their stacks, once for all who ask, and wait for two beats.

    Args:
        beats: the last known of each rank.
    """
    with contextlib.suppress(OSError):
        try:
            request_path(heart.folder, heart.launch).open("x").close()
        except FileExistsError:
            time.sleep(2 * heart.interval_seconds)
            return
        time.sleep(2 * heart.interval_seconds)
        for beat in beats:
            path = stack_path(heart.folder, beat.rank)
            if beat.machine == machine() and path.exists() and path.stat().st_size == 0:
                below_python(beat, path)


def below_python(beat: Beat, path: Path) -> None:
    """Get the stacks of a process of this machine that did not answer, or say why there are none.

    Raises:
        OSError: the disk refuses.
    """
    state = process_state(beat.pid)
    if state is None or state.started != beat.pid_started:
        return
    if state.letter in STOPPED:
        path.write_text(f"process {beat.pid} is stopped; the kernel says:\n{kernel_view(beat.pid)}")
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(beat.pid, SIGNAL)


def kernel_view(pid: int) -> str:
    """State, place and system call of a process, as far as the kernel tells us."""
    lines = []
    for name in ("status", "wchan", "syscall", "stack"):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/{name}").read_text()
            lines += (
                [
                    line
                    for line in text.splitlines()
                    if line.startswith(("Name", "State", "Threads"))
                ]
                if name == "status"
                else [f"{name}: {text.strip()}"]
            )
    return "\n".join(lines) + "\n"


def request_path(folder: Path, launch: int) -> Path:
    """The file whose presence is the request of one start."""
    return folder / f"stacks-{launch}.asked"


def stack_path(folder: Path, rank: int) -> Path:
    """The stacks of one rank."""
    return folder / f"{rank:05d}.stack.txt"
