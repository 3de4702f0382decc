"""The largest micro-batch that fits in the memory, and the one with most tokens a second.

Each size takes real training steps (`trial`) in a child process: what it needs is a training
process's memory and nothing else, and a child that the system kills has said that its size does not
fit. On a GPU a size is tried until the allocator gives up. On a CPU nothing gives up, the machine
begins to swap: a size whose peak is above `USABLE` of the memory does not fit, and one that would
be by the line through the two before it is not even tried.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from groundup.errors import BudgetError, GroundupError, UserError
from groundup.plan.local.peak import USABLE
from groundup.train.resources import SMALLER, is_out_of_memory
from groundup.units import format_bytes

TIMED_SECONDS = 1.0  # of the steps of one size, after the first, which also allocates
LEAST_STEPS = 2
FINENESS = 8  # bisection ends where what fits and what does not differ by an eighth
LEVEL = 0.02  # rates that differ by less are one: the smaller leaves more memory


@dataclass(frozen=True)
class Trial:
    """One micro-batch size.

    Attributes:
        rows: of one forward and backward pass.
        fits: whether it does.
        tokens_per_second: of whole optimizer steps; None where it does not fit.
        batch_rows: of those steps: `pretrain.batch_size`, or ``rows`` where that is no divisor.
        peak_memory_bytes: of the process (CPU) or the allocator (GPU); expected where ``tried`` is
            false; None where it is not known.
        tried: whether a step was taken at all.
    """

    rows: int
    fits: bool
    tokens_per_second: float | None = None
    batch_rows: int | None = None
    peak_memory_bytes: int | None = None
    tried: bool = True


Attempt = Callable[[int], Trial]


def search(
    attempt: Attempt,
    batch_size: int,
    most: int,
    limit_bytes: int | None,
    *,
    seen: Callable[[Trial], None],
    stop: Callable[[], bool],
) -> list[Trial]:
    """Try sizes: doubled until one does not fit, bisected, then divisors near the fastest.

    Args:
        attempt: takes steps with so many rows.
        batch_size: of the project: only its divisors can be its micro-batch.
        most: no larger size is tried.
        limit_bytes: sizes that would need more are not tried; None: all are.
        seen: is told of each trial.
        stop: whether to end with those there are.

    Returns:
        the trials, by size.
    """
    trials: dict[int, Trial] = {}

    def fits(rows: int) -> bool:
        if rows not in trials:
            expected = expected_bytes([*trials.values()], rows)
            if limit_bytes is not None and expected is not None and expected > limit_bytes:
                trials[rows] = Trial(rows, False, peak_memory_bytes=expected, tried=False)
            else:
                trials[rows] = attempt(rows)
            seen(trials[rows])
        return trials[rows].fits

    good, bad, rows = 0, most + 1, 1
    while rows <= most and not stop():
        if not fits(rows):
            bad = rows
            break
        good = rows
        rows = min(2 * rows, most) if rows < most else most + 1
    while good and bad <= most and bad - good > max(1, good // FINENESS) and not stop():
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    fastest = fastest_of([*trials.values()])
    for rows in range(1, min(good, batch_size) + 1):
        if fastest is None or stop():
            break
        if batch_size % rows == 0 and fastest.rows <= 2 * rows and rows <= 2 * fastest.rows:
            fits(rows)
    return [trials[rows] for rows in sorted(trials)]


def expected_bytes(trials: list[Trial], rows: int) -> int | None:
    """The peak by the line through the two largest sizes that were tried and fit; None: unknown."""
    known = sorted(
        (trial.rows, trial.peak_memory_bytes)
        for trial in trials
        if trial.fits and trial.peak_memory_bytes is not None
    )
    if len(known) < 2:
        return None
    (few, less), (many, more) = known[-2:]
    return round(more + (rows - many) * max(0.0, (more - less) / (many - few)))


def fastest_of(trials: list[Trial], divide: int | None = None) -> Trial | None:
    """The trial with most tokens a second, the smallest of those that are level with it.

    Args:
        divide: only sizes that divide so many rows.
    """
    timed = [
        (trial.tokens_per_second, trial)
        for trial in trials
        if trial.tokens_per_second is not None and (divide is None or divide % trial.rows == 0)
    ]
    if not timed:
        return None
    enough = (1 - LEVEL) * max(rate for rate, _ in timed)
    return min((trial for rate, trial in timed if rate >= enough), key=lambda trial: trial.rows)


class Child:
    """A process that takes steps of the sizes it is asked for; a new one where the last was killed.

    Args:
        job: ``model``, ``settings`` and ``limit_bytes``, as JSON has them.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.job = job
        self.process: subprocess.Popen[str] | None = None

    def attempt(self, rows: int) -> Trial:
        """Take steps with ``rows`` in a micro-batch.

        Raises:
            GroundupError: the child failed otherwise than for want of memory.
        """
        process = self.process or self.start()
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it may have ended, and have said why
            process.stdin.write(f"{rows}\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            self.close()
            if code == -signal.SIGKILL:  # for want of memory, as far as one can tell
                return Trial(rows, False)
            raise GroundupError(f"trying a micro-batch of {rows} rows failed: exit code {code}")
        answer = json.loads(line)
        if "error" in answer:
            kind = UserError if answer["code"] == UserError.code else GroundupError
            raise kind(answer["error"], where=answer["where"], fix=answer["fix"])
        return Trial(**answer)

    def start(self) -> subprocess.Popen[str]:
        """A fresh process. Ctrl-C is for its parent, which decides when to end it."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "groundup.train.find.batch_size"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "GROUNDUP_FAULT": ""},
            text=True,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(self.job) + "\n")  # sent with the first size
        return self.process

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            with contextlib.suppress(BrokenPipeError):  # of what it did not read any more
                self.process.communicate()
            self.process = None


def find_batch_size(
    job: Mapping[str, Any],
    most: int,
    *,
    seen: Callable[[Trial], None],
    stop: Callable[[], bool],
) -> list[Trial]:
    """`search` with the steps of a real model.

    Args:
        job: ``model`` and ``settings`` as JSON, and ``limit_bytes``, None on a GPU.
        most: as in `search`.

    Raises:
        BudgetError: not even one row fits.
        GroundupError: a step failed.
    """
    limit = job["limit_bytes"]
    with closing(Child(job)) as child:
        trials = search(
            child.attempt, job["settings"]["batch_size"], most, limit, seen=seen, stop=stop
        )
    if trials and not trials[0].fits:
        room = f"{USABLE:.0%} of this machine's memory" if limit else "the device's memory"
        raise BudgetError(f"a training step with a single row does not fit in {room}", fix=SMALLER)
    return trials


def usable_bytes(device: str) -> int | None:
    """What a training process may take; None on a GPU, whose allocator says when it is full."""
    from groundup.train.resources import total_memory_bytes

    return None if device == "cuda" else int(USABLE * total_memory_bytes(device))


class Trials:
    """In the child: one model and its optimizers, and steps of any size.

    Args:
        job: as in `Child`.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        from groundup.architecture.config import ModelConfig
        from groundup.train.config import Settings
        from groundup.train.noise.config import ObjectiveConfig
        from groundup.train.objective import stand_in
        from groundup.train.resources import use
        from groundup.train.start import new_state

        self.settings = Settings(**job["settings"])
        self.limit_bytes: int | None = job["limit_bytes"]
        use(self.settings.n_threads, self.settings.float32_matmul_precision)
        self.config = ModelConfig.from_dict(job["model"])
        objective = ObjectiveConfig(**self.settings.objective)
        self.objective = stand_in(objective, self.config.vocab_size, self.settings.device)
        self.state = new_state(self.config, self.settings)

    def trial(self, rows: int) -> Trial:
        """Real steps with ``rows`` in a micro-batch, and what they took."""
        from groundup.train.resources import peak_memory_bytes, release_memory, reset_peak_memory
        from groundup.train.step import drop_gradients

        device = self.settings.device
        whole = self.settings.batch_size
        batch_rows = whole if whole % rows == 0 else rows
        reset_peak_memory(device)
        try:
            seconds = self.seconds_per_step(rows, batch_rows)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            seconds = None
        if seconds is None:  # outside the handler, whose error holds on to the tensors
            drop_gradients(self.state)
            release_memory()
            if device == "cuda":
                import torch

                torch.cuda.empty_cache()
            return Trial(rows, False)
        peak = peak_memory_bytes(device)
        if self.limit_bytes is not None and peak > self.limit_bytes:
            return Trial(rows, False, peak_memory_bytes=peak)
        n_tokens = batch_rows * self.settings.context_length
        return Trial(rows, True, n_tokens / seconds, batch_rows, peak)

    def seconds_per_step(self, rows: int, batch_rows: int) -> float:
        """Median seconds of an optimizer step."""
        from dataclasses import replace

        from groundup.train.measure import random_batch
        from groundup.train.step import train_step

        settings = replace(self.settings, batch_size=batch_rows, micro_batch_size=rows)
        batch = random_batch(self.objective, self.config.vocab_size, settings).to(settings.device)
        seconds: list[float] = []
        while len(seconds) <= LEAST_STEPS or sum(seconds[1:]) < TIMED_SECONDS:
            begin = time.perf_counter()
            loss, _ = train_step(self.state, settings, batch, self.objective.loss)
            loss.item()  # waits for the device
            seconds.append(time.perf_counter() - begin)
        return statistics.median(seconds[1:])


def main() -> int:
    """Read a job, then sizes; for each print its trial as one JSON line."""
    from groundup.train.measure import end_with

    threading.Thread(target=end_with, args=[os.getppid()], daemon=True).start()
    job = json.loads(sys.stdin.readline())
    try:
        trials = Trials(job)
        for line in sys.stdin:
            answer(asdict(trials.trial(int(line))))
    except GroundupError as error:
        answer({"error": error.message, "where": error.where, "fix": error.fix, "code": error.code})
        return error.code
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        answer({"error": "the model itself does not fit in the memory", "where": None,
                "fix": SMALLER, "code": BudgetError.code})  # fmt: skip
        return BudgetError.code
    return 0


def answer(record: Mapping[str, Any]) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def words(trial: Trial) -> str:
    """A trial for the progress line."""
    if trial.tokens_per_second is not None:
        return f"{trial.rows} rows: {trial.tokens_per_second:,.0f} tokens/s"
    peak = trial.peak_memory_bytes
    needs = "" if peak is None else f", {format_bytes(peak)}"
    return f"{trial.rows} rows: does not fit{needs}"


if __name__ == "__main__":
    sys.exit(main())
