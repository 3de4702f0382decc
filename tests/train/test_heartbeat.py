"""What a rank says of itself, and what its beats never do: stop it, or believe a clock."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from groundup.train.heartbeat import (
    Pace,
    beat_path,
    clear_beats,
    in_collective,
    ranks_folder,
    read_beats,
)
from groundup.train.processes import machine, process_state, signal_name
from tests.train.beats import LAUNCH, beat_of, heart_of, write


def test_a_beat_says_who_and_where(tmp_path: Path) -> None:
    heart = heart_of(tmp_path, rank=1)
    heart.at("forward/backward", 12)
    heart.beat()
    beat = read_beats(tmp_path)[1]
    assert (beat.rank, beat.size, beat.pid, beat.device) == (1, 2, os.getpid(), "cpu")
    assert (beat.step, beat.phase, beat.waiting, beat.ended) == (
        12,
        "forward/backward",
        False,
        None,
    )
    assert beat.machine == machine()
    state = process_state(os.getpid())
    assert state is not None
    assert (beat.pid_started, state.letter) == (state.started, "R")


def test_the_thread_beats_by_itself_and_says_how_it_ended(tmp_path: Path) -> None:
    heart = heart_of(tmp_path)
    heart.start()
    until(lambda: read_beats(tmp_path)[0].count > 2)
    heart.end("finished")
    last = read_beats(tmp_path)[0]
    assert last.ended == "finished"
    assert not heart._thread.is_alive()


def test_a_disk_that_refuses_never_stops_training(tmp_path: Path) -> None:
    (tmp_path / "ranks").write_text("a file where the folder should be")
    heart = heart_of(tmp_path)
    heart.start()
    heart.at("batch", 1)
    until(lambda: heart._count > 2)
    heart.end("finished")
    assert read_beats(tmp_path) == {}


def test_beats_of_another_start_and_torn_ones_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, beat_of(tmp_path, 0), beat_of(tmp_path, 1, launch=3), beat_of(tmp_path, 2))
    path = beat_path(ranks_folder(tmp_path), 2)
    path.write_text(path.read_text()[:-20])
    beat_path(ranks_folder(tmp_path), 3).write_text(json.dumps({"rank": 3}))
    assert list(read_beats(tmp_path, LAUNCH)) == [0]
    assert list(read_beats(tmp_path)) == [0, 1]
    clear_beats(tmp_path)
    assert list(ranks_folder(tmp_path).iterdir()) == []
    clear_beats(tmp_path / "absent")


def test_pace_tells_own_work_from_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 0.4 s in ten samples: three at work, six in a collective, one an evaluation."""
    moment = 0.0
    monkeypatch.setattr("groundup.train.heartbeat.time.perf_counter", lambda: moment)
    pace = Pace()
    for step in range(1, 51):
        for part in range(10):
            moment += 0.04
            pace.sample(step - 1 + (part == 9), in_step=part != 5, own=part < 3)
        if step == 25:
            assert pace.steady_own_seconds is None  # one window says nothing about the next
    assert pace.own_seconds == pytest.approx(3 * 0.04, rel=0.05)
    assert pace.step_seconds == pytest.approx(9 * 0.04, rel=0.05)
    assert pace.steady_own_seconds == pytest.approx(3 * 0.04, rel=0.05)


def test_one_long_delay_is_not_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 0.0
    monkeypatch.setattr("groundup.train.heartbeat.time.perf_counter", lambda: moment)
    pace = Pace()
    steady = []
    for sample in range(1, 501):
        moment += 100.0 if sample == 250 else 0.05
        pace.sample(sample, in_step=True, own=True)
        steady.append(pace.steady_own_seconds)
    assert max(value for value in steady if value is not None) == pytest.approx(0.05)


def test_a_thread_inside_torch_distributed_waits_for_others() -> None:
    lock, inside = threading.Lock(), threading.Event()
    lock.acquire()
    code = compile("inside.set(); lock.acquire()", "/x/torch/distributed/fsdp/y.py", "exec")
    thread = threading.Thread(target=exec, args=(code, {"lock": lock, "inside": inside}))
    thread.start()
    inside.wait()
    try:
        until(lambda: in_collective(thread.ident or 0))
        assert not in_collective(threading.get_ident())
    finally:
        lock.release()
        thread.join()


def test_signals_have_names() -> None:
    assert signal_name(9) == "SIGKILL"
    assert signal_name(11 | 0x80) == "SIGSEGV"  # with a core file
    assert signal_name(1 << 8) is None  # exit code 1
    assert signal_name(40) == "signal 40"


def test_a_process_that_is_not_there_has_no_state() -> None:
    assert process_state(2**22 + 1) is None


def until(so: object) -> None:
    """Wait for it; a minute is never reached unless it is broken."""
    end = time.monotonic() + 60
    while not so():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)
