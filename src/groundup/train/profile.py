"""A few steps of a run under torch's profiler: what they cost, in files and in words.

In the run's folder ``profile``:

    trace.json.gz    every operator, for chrome://tracing or ui.perfetto.dev, the parts among them
    breakdown.json   a step's seconds by part, by kind of work and by operator
    memory.json      bytes allocated over time, above those before the first of these steps
    memory.svg       the same as a picture
    summary.txt      the three biggest costs in words
    memory.pickle    on a GPU: torch's own snapshot of the allocator (pytorch.org/memory_viz)

The profiler watches and changes nothing: a profiled run has the bits of any other. Its steps are
slower, so shares are to be believed rather than milliseconds.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from groundup.files import write_atomic, write_json
from groundup.progress import say
from groundup.train.breakdown import OF_STEPS, Stopwatch
from groundup.train.costs import RANGE, Cost, costs_of, said

WARMUP_STEPS, STEPS = 3, 3  # the last of the former are taken with the profiler on, and dropped
# Kineto's marks, and torch's wonder at memory that was taken before the profiler began.
MARK = re.compile(rb"USDT:|\[W.*Memory block of unknown size")
MOST_POINTS = 1000  # of the memory's timeline
MOST_OPERATORS = 30
WIDTH, HEIGHT = 900, 240  # of the picture, pixels


@contextmanager
def profiled(
    folder: Path,
    timer: Stopwatch,
    device: str,
    *,
    wanted: bool,
    works: bool = True,
    steps_left: int | None = None,
) -> Iterator[Profile | None]:
    """Gives what the loop tells of each step; `STEPS` of them are profiled once, then no more.

    Args:
        folder: where the files go.
        timer: of the loop, which knows the parts.
        device: ``cpu`` or ``cuda``.
        wanted: False: nothing is done.
        works: False: another process of the run profiles; the steps are counted only.
        steps_left: of the run; too few are not begun with.
    """
    if wanted and steps_left is not None and steps_left < WARMUP_STEPS + STEPS:
        if works:
            say(
                f"profile: {WARMUP_STEPS + STEPS} steps are needed ({WARMUP_STEPS} to warm up), and"
                f" {steps_left} {'is' if steps_left == 1 else 'are'} left: nothing is profiled; "
                "give --profile to a longer run"
            )
        wanted = False
    if not wanted:
        yield None
        return
    profile = Profile(folder, timer, device, works=works)
    try:
        yield profile
    finally:
        profile.close()


class Profile:
    """Counts the steps, and switches the profiler on and off."""

    def __init__(self, folder: Path, timer: Stopwatch, device: str, *, works: bool = True) -> None:
        self.folder, self.timer, self.device, self.works = folder, timer, device, works
        self.n_steps = 0
        self.seconds: dict[str, float] = {}
        self.profiler: torch.profiler.profile | None = None
        self._range: AbstractContextManager[Any] | None = None
        self._quiet = ExitStack()

    @property
    def writes_next(self) -> bool:
        """Whether the files are written at the next step, which may take minutes."""
        return self.n_steps == WARMUP_STEPS + STEPS - 1

    def step(self) -> None:
        """A step of the run is done."""
        self.n_steps += 1
        if not self.works:
            return
        if self.n_steps == WARMUP_STEPS - 1:
            self.timer.at("profile")
            self._begin()
        elif self.profiler is not None:
            if self.n_steps == WARMUP_STEPS + STEPS:
                self._leave_range()
                self.timer.also = None
                self.timer.at("profile")
            with self._quiet:
                self._quiet.enter_context(without_marks())
                self.profiler.step()  # the last one writes
            if self.n_steps == WARMUP_STEPS + STEPS:
                self._end()

    def close(self) -> None:
        """End it where the run ends first."""
        if self.profiler is not None:
            self._end()
        if self.works and self.n_steps < WARMUP_STEPS + STEPS:
            say(f"profile: {WARMUP_STEPS + STEPS} steps are needed, {self.n_steps} were taken here")

    def _begin(self) -> None:
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self.device == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
            torch.cuda.memory._record_memory_history(max_entries=100_000)
        self.profiler = torch.profiler.profile(
            activities=activities,
            schedule=torch.profiler.schedule(wait=0, warmup=1, active=STEPS, repeat=1),
            on_trace_ready=self._write,
            record_shapes=True,
            profile_memory=True,
            acc_events=True,
        )
        with without_marks():
            self.profiler.start()
        self.timer.also = self._at

    def _end(self) -> None:
        assert self.profiler is not None
        self._leave_range()
        self.timer.also = None
        with self._quiet:
            self._quiet.enter_context(without_marks())
            self.profiler.stop()
        self.profiler = None
        if self.device == "cuda":
            torch.cuda.memory._record_memory_history(enabled=None)

    def _at(self, part: str) -> None:
        """The parts as ranges of the trace."""
        self._leave_range()
        self._range = torch.profiler.record_function(f"{RANGE}{part}")
        self._range.__enter__()

    def _leave_range(self) -> None:
        if self._range is not None:
            self._range.__exit__(None, None, None)
            self._range = None

    def _write(self, profiler: torch.profiler.profile) -> None:
        self._quiet.close()  # what follows speaks for itself
        if self.n_steps < WARMUP_STEPS + STEPS:
            return  # the run ended first: these are not whole
        on_gpu = self.device == "cuda"
        events = list(profiler.events() or ())
        costs = costs_of(
            events,
            STEPS,
            lambda event: event.self_device_time_total if on_gpu else event.self_cpu_time_total,
        )
        trace = trace_of(profiler)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / "trace.json.gz", gzip.compress(trace, 5))
        timeline = memory_timeline(json.loads(trace)["traceEvents"], on_gpu=on_gpu)
        write_json(self.folder / "memory.json", memory_record(timeline))
        write_atomic(self.folder / "memory.svg", picture(timeline))
        write_json(self.folder / "breakdown.json", breakdown_record(costs))
        words = "\n".join(["The three biggest costs of a training step:", *said(costs)])
        write_atomic(self.folder / "summary.txt", words + "\n")
        if on_gpu:
            torch.cuda.memory._dump_snapshot(str(self.folder / "memory.pickle"))
        for line in words.splitlines():
            say(line)
        say(f"profile: {self.folder}")


@contextmanager
def without_marks() -> Iterator[None]:
    """Standard error without the marks that kineto writes there for tools that trace the process.

    No level of its log leaves out them and not its errors. The rest comes when the block is left.
    """
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            with contextlib.suppress(OSError):
                os.write(2, b"".join(line for line in held if not MARK.match(line)))


def trace_of(profiler: torch.profiler.profile) -> bytes:
    """The chrome trace as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return path.read_bytes()


def breakdown_record(costs: Sequence[Cost]) -> dict[str, Any]:
    """``breakdown.json``: seconds of one step, the mean of `STEPS`."""
    total = sum(cost.seconds for cost in costs)
    parts = {part: sum(cost.parts.get(part, 0.0) for cost in costs) for part in OF_STEPS}
    operators: dict[str, float] = {}
    for cost in costs:
        for name, seconds in cost.operators.items():
            operators[name] = operators.get(name, 0.0) + seconds
    dearest = sorted(operators.items(), key=lambda item: -item[1])[:MOST_OPERATORS]
    return {
        "steps": STEPS,
        "seconds_per_step": total,
        "parts": parts,
        "kinds": [
            {
                "kind": cost.kind,
                "seconds": cost.seconds,
                "share": cost.seconds / total if total else 0.0,
                "parts": dict(cost.parts),
            }
            for cost in costs
        ],
        "operators": [{"name": name, "seconds": seconds} for name, seconds in dearest],
    }


def memory_timeline(events: Sequence[dict[str, Any]], *, on_gpu: bool) -> list[tuple[float, int]]:
    """(milliseconds, bytes allocated above the least that there was) in order of time.

    Args:
        events: of a chrome trace; torch writes one named ``[memory]`` at every allocation.
    """
    wanted = 1 if on_gpu else 0  # DeviceType of c10
    points = sorted(
        (float(event["ts"]), int(event["args"]["Total Allocated"]))
        for event in events
        if event.get("name") == "[memory]" and event["args"].get("Device Type") == wanted
    )
    if not points:
        return []
    begin, least = points[0][0], 0 if on_gpu else min(size for _, size in points)
    return [((when - begin) / 1000, size - least) for when, size in points]


def memory_record(timeline: Sequence[tuple[float, int]]) -> dict[str, Any]:
    """``memory.json``: at most `MOST_POINTS` points, of each stretch the highest."""
    each = -(-len(timeline) // MOST_POINTS) or 1
    stretches = [timeline[start : start + each] for start in range(0, len(timeline), each)]
    highest = [max(stretch, key=lambda point: point[1]) for stretch in stretches]
    return {
        "peak_bytes": max((size for _, size in timeline), default=0),
        "milliseconds": [round(when, 3) for when, _ in highest],
        "bytes": [size for _, size in highest],
    }


def picture(timeline: Sequence[tuple[float, int]]) -> str:
    """The timeline as SVG: bytes over milliseconds, its peak written beside it."""
    from groundup.units import format_bytes

    record = memory_record(timeline)
    longest, peak = max(record["milliseconds"], default=0) or 1, record["peak_bytes"] or 1
    points = " ".join(
        f"{when / longest * WIDTH:.1f},{HEIGHT - size / peak * (HEIGHT - 30):.1f}"
        for when, size in zip(record["milliseconds"], record["bytes"], strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + 24}" '
        'font-family="sans-serif" font-size="13">'
        f'<polygon fill="#9db8d9" stroke="#27568b" points="0,{HEIGHT} {points} {WIDTH},{HEIGHT}"/>'
        f'<text x="4" y="18">peak {format_bytes(record["peak_bytes"])}</text>'
        f'<text x="4" y="{HEIGHT + 18}">0 ms</text>'
        f'<text x="{WIDTH - 4}" y="{HEIGHT + 18}" text-anchor="end">{longest:,.0f} ms, '
        f"{STEPS} steps</text></svg>\n"
    )
