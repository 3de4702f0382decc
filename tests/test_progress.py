"""Progress: on standard error only; a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import io

import pytest

from groundup import progress as module
from groundup.progress import progress, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_nothing_of_it_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    say("hello")
    with progress("training", 10, "tokens") as job:
        job.say("above")
        job.advance(5)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err == "hello\nabove\n"


def test_without_a_terminal_a_line_comes_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with progress("training", 1000, "tokens") as job:
        for _ in range(40):
            clock[0] += 1
            job.advance(10, "loss 2.5")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    # 100 of 1,000 tokens in 10 seconds: 90 seconds are left
    assert lines[0] == "training:  10.0 %  100/1k tokens  loss 2.5  1 min 30 s left"


def test_time_left_of_a_resumed_job_counts_only_this_process(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with progress("training", 1000, "tokens", done=800) as job:
        clock[0] += 10
        job.advance(100)
    assert capsys.readouterr().err.endswith("10.0 s left\n")


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    with progress("training", 10, "tokens") as job:
        job.advance(10, "loss [2.5]")
        job.say("a sample: [/red] {x}")
    seen = terminal.getvalue()
    assert "training" in seen
    assert "100.0 %" in seen
    assert "a sample: [/red] {x}" in seen


class Broken(Terminal):
    def write(self, text: str) -> int:
        raise BrokenPipeError

    def isatty(self) -> bool:
        return self.terminal

    terminal = False


@pytest.mark.parametrize("terminal", [False, True])
def test_work_goes_on_where_nobody_listens(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    stream = Broken()
    stream.terminal = terminal
    closed = io.StringIO()
    closed.close()
    monkeypatch.setenv("TERM", "xterm-256color")
    for listener in (stream, closed, None):
        monkeypatch.setattr("sys.stderr", listener)
        say("hello")
        with progress("training", 10, "tokens") as job:
            clock[0] += 60
            job.advance(10)
            job.say("above")
