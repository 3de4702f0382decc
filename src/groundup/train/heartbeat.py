"""Each rank's beat: a small file that says where the rank is, renewed every few seconds.

``<run folder>/ranks/00001.json``. A thread of its own writes it, so a process that waits in a
collective still beats, while its place stands; one that is stopped or gone does not beat. Whether
a beat is old is told by its count, not by any clock: who watches looks twice (`watchdog`). A disk
that fails never stops training: that beat is lost, the next one is tried.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from groundup.artifacts import now
from groundup.train.distributed import Ranks
from groundup.train.processes import machine, process_state

INTERVAL_SECONDS = 2.0  # a file of 500 bytes per rank; three of them decide that a rank is silent
LAST_BEAT_SECONDS = 2.0  # so long a process that ends waits for its disk
SAMPLE_SECONDS = 0.05  # between two looks at what the loop does: 20 a second, microseconds each
WINDOW_STEPS, WINDOW_SAMPLES = 20, 100  # what a rank's speed is measured over, at least

Phase = Literal[
    "start", "batch", "forward/backward", "all-reduce", "optimizer", "checkpoint", "evaluate"
]  # fmt: skip
STEP: frozenset[str] = frozenset({"batch", "forward/backward", "all-reduce", "optimizer"})


@dataclass(frozen=True)
class Beat:
    """One rank at one moment.

    Attributes:
        rank, size: its number, and of how many.
        host, machine, pid, pid_started, device: the process (`processes`); device is the local one.
        launch: number that all ranks of one start share; an older start's beats are not looked at.
        started: when the process began to beat (UTC, for people).
        count: beats so far.
        step, phase: where the training loop is.
        phase_seconds: since when, by the rank's own clock that never jumps.
        waiting: whether it is inside a collective: held up by others, not holding them up.
        step_seconds: a step from start to end, over the last window of steps.
        own_seconds: the part of it in which the rank did not wait for others (`Pace`).
        steady_own_seconds: the less of that in the last two windows: a single delay is not in it.
            All three are None until there are windows enough.
        ended: why it ended, None while it runs; "finished" if all went well.
        consequence: whether it ended because another rank had failed.
    """

    rank: int
    size: int
    host: str
    machine: str
    pid: int
    pid_started: int
    device: str
    launch: int
    started: str
    count: int
    step: int
    phase: str
    phase_seconds: float
    waiting: bool
    step_seconds: float | None
    own_seconds: float | None
    steady_own_seconds: float | None
    ended: str | None
    consequence: bool


class Heart:
    """The beat of this process. `at` is called by the loop; all else happens in the thread.

    Attributes:
        each_beat: what the thread calls after every beat.
        place: phase, step, and since when by `time.perf_counter`.
        news: what the thread found for the loop to write down, as events (`watch`).

    Args:
        folder: the run's; its ``ranks`` folder is made.
        launch: `Beat.launch`.
        device: ``cpu``, ``cuda:3``, for people.
        interval_seconds: between two beats.
    """

    def __init__(
        self,
        folder: Path,
        ranks: Ranks,
        *,
        launch: int = 0,
        device: str = "cpu",
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self.folder, self.ranks, self.launch = ranks_folder(folder), ranks, launch
        self.interval_seconds, self.pace = interval_seconds, Pace()
        self.each_beat: list[Callable[[], None]] = []
        self.news: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self.patient = False  # whether waiting long is as it should be
        own = process_state(os.getpid())
        self._fixed = {
            "rank": ranks.rank,
            "size": ranks.size,
            "host": socket.gethostname(),
            "machine": machine(),
            "pid": os.getpid(),
            "pid_started": own.started if own else 0,
            "device": device,
            "launch": launch,
            "started": now(),
        }
        self.place: tuple[Phase, int, float] = ("start", 0, time.perf_counter())
        self._steps_done = 0
        self._count = 0
        self._ended: tuple[str | None, bool] = (None, False)
        self._held_up = False
        self._over = threading.Event()
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beat once, and go on in the thread."""
        self.beat()
        self._thread.start()

    def at(self, phase: Phase, step: int) -> None:
        """Say where the loop is now. Costs less than a microsecond and touches no disk."""
        before, last_step, _ = self.place
        self.place = (phase, step, time.perf_counter())  # one tuple: the thread sees it whole
        if step != last_step and before != "start":
            self._steps_done += 1

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """While checkpoints are written or read: the others wait for the slowest disk."""
        self.patient = True
        try:
            yield
        finally:
            self.patient = False

    @property
    def warm(self) -> bool:
        """Whether a step is done: the next will not take much longer than it."""
        return self._steps_done > 0

    @property
    def hurried(self) -> bool:
        """Whether nothing that the loop waits for may take long."""
        return self.warm and not self.patient

    def standing_seconds(self) -> float:
        """For how long the loop has been where it is."""
        return time.perf_counter() - self.place[2]

    def held_up(self) -> None:
        """Say that a collective failed here: from now on this rank is one that waits."""
        self._held_up = True

    def end(self, why: str, *, consequence: bool = False) -> None:
        """Let the thread beat a last time, with the reason (see `Beat`); no disk can hold us up."""
        self._ended = (why, consequence)
        self._over.set()
        self._thread.join(LAST_BEAT_SECONDS)

    def beat(self) -> None:
        """Write the file, or not: a disk that refuses is no reason to stop."""
        with contextlib.suppress(OSError):
            self._count += 1
            self.folder.mkdir(parents=True, exist_ok=True)
            path = beat_path(self.folder, self.ranks.rank)
            unfinished = path.with_suffix(".new")
            # Not fsynced: after a power loss nobody asks, and during a save an fsync takes long.
            unfinished.write_text(json.dumps(asdict(self.now())))
            os.replace(unfinished, path)

    def now(self) -> Beat:
        """Where this rank is."""
        phase, step, since = self.place
        ended, consequence = self._ended
        return Beat(
            **self._fixed,  # type: ignore[arg-type]
            count=self._count,
            step=step,
            phase=phase,
            phase_seconds=round(time.perf_counter() - since, 3),
            waiting=self.waiting(),
            step_seconds=self.pace.step_seconds,
            own_seconds=self.pace.own_seconds,
            steady_own_seconds=self.pace.steady_own_seconds,
            ended=ended,
            consequence=consequence,
        )

    def waiting(self) -> bool:
        """Whether the loop waits for other ranks, or for the device that does."""
        return self._held_up or self.place[0] == "all-reduce" or in_collective(self._main)

    def _run(self) -> None:
        next_beat = time.monotonic() + self.interval_seconds
        while not self._over.wait(min(SAMPLE_SECONDS, self.interval_seconds)):
            in_step = self.place[0] in STEP
            self.pace.sample(self._steps_done, in_step, in_step and not self.waiting())
            if time.monotonic() < next_beat:
                continue
            next_beat = time.monotonic() + self.interval_seconds
            self.beat()
            for call in tuple(self.each_beat):
                with contextlib.suppress(OSError, ValueError):  # ValueError: of a closed file
                    call()
        self.beat()


class Pace:
    """How long a rank's steps take, and how much of that is its own work, by samples in time.

    Every rank waits for the slowest in each collective, so whole steps take equally long
    everywhere, and collectives are anywhere in a step (FSDP gathers weights layer by layer). What
    differs is the share of samples that find the loop at work of its own.
    """

    def __init__(self) -> None:
        self.step_seconds: float | None = None
        self.own_seconds: float | None = None
        self.steady_own_seconds: float | None = None
        self._last = time.perf_counter()
        self._begin(0)

    def sample(self, steps_done: int, in_step: bool, own: bool) -> None:
        """Give the time since the last sample to what is seen now."""
        moment = time.perf_counter()
        passed, self._last = moment - self._last, moment
        self._samples += in_step
        self._whole += passed * in_step
        self._own += passed * own
        n_steps = steps_done - self._first_step
        if n_steps >= WINDOW_STEPS and self._samples >= WINDOW_SAMPLES:
            before, now = self.own_seconds, self._own / n_steps
            self.step_seconds, self.own_seconds = self._whole / n_steps, now
            self.steady_own_seconds = None if before is None else min(before, now)
            self._begin(steps_done)

    def _begin(self, step: int) -> None:
        self._first_step, self._samples, self._whole, self._own = step, 0, 0.0, 0.0


def in_collective(thread: int) -> bool:
    """Whether the innermost Python frame of a thread belongs to torch.distributed.

    FSDP's waits inside forward and backward are seen this way.
    """
    frame = sys._current_frames().get(thread)
    return frame is not None and "/torch/distributed/" in frame.f_code.co_filename


def ranks_folder(folder: Path) -> Path:
    """Where the ranks of a run keep beats and stacks."""
    return folder / "ranks"


def beat_path(ranks: Path, rank: int) -> Path:
    """The file of one rank."""
    return ranks / f"{rank:05d}.json"


def clear_beats(folder: Path) -> None:
    """Remove what an earlier start left. One rank calls it, before any of them beats."""
    with contextlib.suppress(OSError):
        for path in ranks_folder(folder).iterdir():
            path.unlink(missing_ok=True)


def read_beats(folder: Path, launch: int | None = None) -> dict[int, Beat]:
    """The last beat of every rank by its number; those of other starts and torn ones are left out.

    Args:
        folder: the run's.
        launch: only beats of this start; None: of any.
    """
    beats: dict[int, Beat] = {}
    for path in sorted(ranks_folder(folder).glob("[0-9]*.json")):
        beat = read_beat(path)
        if beat is not None and launch in (None, beat.launch):
            beats[beat.rank] = beat
    return beats


def read_beat(path: Path) -> Beat | None:
    """One rank's beat, or None where the file cannot be read as one."""
    try:
        value: Any = json.loads(path.read_bytes())
        return Beat(**{field.name: value[field.name] for field in fields(Beat)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
