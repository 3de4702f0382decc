"""A polite request to stop, and what counts as an impatient one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from groundup.errors import UserError
from groundup.train import signals
from groundup.train.signals import GRACE_SECONDS, grace_seconds, stop_requested
from tests.train.test_heartbeat import until


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Under nohup, which these tests may be run by, SIGHUP is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_for_a_stop_and_is_given_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_requested() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
    assert signal.getsignal(number) == before


def test_a_closing_terminal_may_say_so_twice_but_ctrl_c_twice_is_at_once() -> None:
    with stop_requested() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requested() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_same_sigterm_from_a_cluster_and_from_torchrun_is_one_request() -> None:
    with stop_requested() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()


def test_a_later_sigterm_is_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "ECHO_SECONDS", 0.0)
    request = signals.Request(60, [signal.SIGTERM])
    monkeypatch.setattr(signals, "Request", lambda *args: request)
    with stop_requested() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        until(lambda: request.first is not None)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_the_interpreter_s_own_way_to_wake_is_given_back() -> None:
    with stop_requested():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.set_wakeup_fd(-1) == -1


def test_in_another_thread_nothing_is_ever_asked() -> None:
    said: list[bool] = []

    def work() -> None:
        with stop_requested() as stop:
            said.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == [False]


def test_the_grace_is_less_than_what_torchrun_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.launcher.api import LaunchConfig

    monkeypatch.delenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", raising=False)
    given = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=1).shutdown_timeout
    assert given is not None
    assert given > GRACE_SECONDS + signals.LEAVING_SECONDS


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan", "inf"])
def test_what_is_no_grace_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GROUNDUP_GRACE", text)
    with pytest.raises(UserError, match="is not a number of seconds"), stop_requested():
        pass
    monkeypatch.setenv("GROUNDUP_GRACE", "120")
    assert grace_seconds() == 120


BUSY = """\
import sys, time
from groundup.train.signals import stop_requested
try:
    with stop_requested() as stop:
        print("ready", flush=True)
        while True:
            time.sleep(0.01)
except KeyboardInterrupt:
    print("tidied up", flush=True)
    sys.exit(3)
"""
# A lock taken twice, outside of Python: no handler of the main thread's will ever run again.
STUCK = """\
import ctypes
from groundup.train.signals import stop_requested
library, lock = ctypes.CDLL(None), ctypes.create_string_buffer(128)
with stop_requested() as stop:
    print("ready", flush=True)
    library.pthread_mutex_lock(lock)
    library.pthread_mutex_lock(lock)
"""


@pytest.mark.parametrize(
    ("program", "grace", "numbers", "code", "out"),
    [
        (BUSY, "0.2", [signal.SIGTERM], 3, "tidied up"),  # the step takes longer than there is time
        (STUCK, "0.2", [signal.SIGTERM], 130, ""),  # it waits in a collective for a dead rank
        pytest.param(
            STUCK, "600", [signal.SIGTERM, signal.SIGINT], 130, "", marks=pytest.mark.slow
        ),
    ],
)
def test_nothing_outlives_the_grace(
    program: str, grace: str, numbers: list[signal.Signals], code: int, out: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "GROUNDUP_GRACE": grace},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in numbers:
            process.send_signal(number)
        try:
            said, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code, errors
    assert said.strip() == out
    assert ("the grace is over" in errors) == (grace != "600")


@pytest.mark.parametrize(
    ("place", "is_said"),
    [
        ({}, True),
        ({"RANK": "0"}, True),
        ({"RANK": "1"}, False),
        ({"GROUNDUP_LAUNCHED": "1"}, False),
    ],
)
def test_of_many_processes_one_says_that_it_saves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    place: dict[str, str], is_said: bool,
) -> None:  # fmt: skip
    """The launcher and every rank said so, of one SIGTERM."""
    for name in ("RANK", "GROUNDUP_LAUNCHED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    with stop_requested() as asked:
        signal.raise_signal(signal.SIGTERM)
        assert asked()
    assert ("saving" in capsys.readouterr().err) == is_said
