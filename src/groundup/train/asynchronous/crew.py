"""The workers that the server starts on its own machine, and what becomes of them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from groundup.errors import ConfigError, RankFailedError, UserError
from groundup.files import storage_errors
from groundup.progress import say

TOKEN_VARIABLE = "GROUNDUP_WORKER_TOKEN"
MAX_RESTARTS = 3  # of one worker, with no update by it between them
LEAVE_SECONDS = 10.0  # from the request to end to the end
LOG_FOLDER = "workers"  # in a run's


@dataclass
class Member:
    """A worker process of this machine.

    Attributes:
        begins: byte of ``log`` at which what this process says begins.
        n_restarts: since its last update.
        n_updates: by it, when last looked at.
    """

    number: int
    log: Path
    begins: int
    process: subprocess.Popen[bytes]
    n_restarts: int = 0
    n_updates: int = 0

    @property
    def name(self) -> str:
        """As the server knows it."""
        return name_of(self.number)

    def last_words(self) -> str:
        """The error that its process ended with."""
        return last_words(self.log, self.begins)


class Crew:
    """The local workers of a run.

    Args:
        command: starts one; address, name and threads are appended.
        folder: the run's, for their logs.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        n_workers: int,
        address: str,
        token: str,
        n_threads: int,
    ) -> None:
        self.command, self.folder = list(command), folder / LOG_FOLDER
        self.address, self.n_threads = address, max(1, n_threads // max(1, n_workers))
        self.environment = {
            **os.environ,
            TOKEN_VARIABLE: token,
            "OMP_NUM_THREADS": str(self.n_threads),
        }
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.members: list[Member] = []
        try:
            for number in range(1, n_workers + 1):
                log = self.folder / f"{number}.log"
                self.members.append(Member(number, log, begun(log), self.start(number, log)))
        except BaseException:
            self.end()
            raise

    def start(self, number: int, log: Path) -> subprocess.Popen[bytes]:
        """One worker; what it says goes to its log."""
        words = [
            *self.command, "--server", self.address, "--name", name_of(number),
            "--threads", str(self.n_threads),
        ]  # fmt: skip
        with storage_errors(log), log.open("ab") as file:
            # In a session of its own: Ctrl-C is the server's, which lets the workers go.
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=self.environment,
                start_new_session=True,
            )

    def look(self, *, connected: int, updates: Mapping[str, int]) -> None:
        """Start those again that have died.

        Args:
            connected: workers that are connected.
            updates: made so far with the gradients of each worker, by name.

        Raises:
            ConfigError: one of them was refused, or found its project wrong.
            RankFailedError: none is left, here or elsewhere.
        """
        for member in list(self.members):
            n_updates = updates.get(member.name, 0)
            if n_updates != member.n_updates:
                member.n_updates, member.n_restarts = n_updates, 0
            code = member.process.poll()
            if code is None:
                continue
            if code == UserError.code:
                raise ConfigError(
                    f"worker {member.number} cannot work: {member.last_words()}",
                    where=str(member.log),
                )
            if member.n_restarts == MAX_RESTARTS:
                self.members.remove(member)
                say(f"worker {member.number} ended {MAX_RESTARTS + 1} times: given up")
                if not self.members and not connected:
                    raise RankFailedError(
                        f"no worker is left: {member.last_words()}",
                        where=str(self.folder),
                        fix="see their logs; the same command goes on from the last checkpoint",
                    )
                continue
            member.n_restarts += 1
            how = f"signal {-code}" if code < 0 else f"code {code}"
            say(f"worker {member.number} ended with {how}: its samples go to others; restarted")
            member.begins = begun(member.log, f"ended with {how}")
            member.process = self.start(member.number, member.log)

    def are_gone(self) -> bool:
        """Whether all of them have ended."""
        return all(member.process.poll() is not None for member in self.members)

    def end(self) -> None:
        """Let them go, and end those that do not."""
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                member.process.terminate()
        until = time.monotonic() + LEAVE_SECONDS
        for member in self.members:
            try:
                member.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()


def name_of(number: int) -> str:
    """What a worker of this machine is called."""
    return f"local {number}"


def begun(log: Path, why: str = "a new start of the run") -> int:
    """Keep what a log says, with a line behind it; the byte at which the next process begins."""
    with storage_errors(log), log.open("ab") as file:
        if file.tell():
            file.write(f"--- {why}; started again ---\n".encode())
        return file.tell()


def last_words(log: Path, begins: int = 0) -> str:
    """The error that a worker ended with: the last message of its log, on one line.

    Args:
        begins: the byte from which on the log is looked at.
    """
    try:
        lines = log.read_bytes()[begins:].decode(errors="replace").splitlines()
    except OSError:
        return "no log"
    starts = [n for n, line in enumerate(lines) if line.startswith("error:")]
    said = lines[starts[-1] :] if starts else lines[-1:]
    return " ".join(line.strip() for line in said).removeprefix("error: ") or "it said nothing"


@contextmanager
def crew_of(
    command: Sequence[str], folder: Path, n_workers: int, address: str, token: str, n_threads: int
) -> Iterator[Crew]:
    """A `Crew` that is gone after the block."""
    crew = Crew(command, folder, n_workers, address, token, n_threads)
    try:
        yield crew
    finally:
        crew.end()
