"""What becomes of the server's own workers: started again, given up, or named as unfit."""

from __future__ import annotations

import errno
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groundup.errors import ConfigError, RankFailedError
from groundup.train.asynchronous.crew import MAX_RESTARTS, Crew, crew_of, last_words

WAIT_SECONDS = 20.0


def looked(
    crew: Crew,
    connected: int,
    until: Callable[[], bool],
    updates: Callable[[], dict[str, int]] = dict,
) -> None:
    """Look after the crew, as the server does, until something is so."""
    end = time.monotonic() + WAIT_SECONDS
    while not until():
        assert time.monotonic() < end, "it never came to that"
        crew.look(connected=connected, updates=updates())
        time.sleep(0.01)


def crew(folder: Path, script: str, n_workers: int = 1) -> Crew:
    """Workers that run a shell script; the server's own words are its arguments."""
    return Crew(["sh", "-c", script, "worker"], folder, n_workers, "127.0.0.1:1", "secret", 8)


def test_a_worker_is_told_where_who_and_how_many_threads(tmp_path: Path) -> None:
    script = 'echo "$@ $GROUNDUP_WORKER_TOKEN $OMP_NUM_THREADS"'
    members = crew(tmp_path, script, 2).members
    for member in members:
        member.process.wait(WAIT_SECONDS)
    assert [member.log.read_text() for member in members] == [
        f"--server 127.0.0.1:1 --name local {number} --threads 4 secret 4\n" for number in (1, 2)
    ]


def test_a_killed_worker_is_started_again(tmp_path: Path) -> None:
    script = f"test -e {tmp_path}/died || {{ touch {tmp_path}/died; kill -9 $$; }}; exec sleep 60"
    with crew_of(["sh", "-c", script], tmp_path, 1, "h:1", "t", 1) as made:
        (member,) = made.members
        first = member.process.pid
        looked(made, 0, lambda: member.n_restarts == 1)
        assert member.process.pid != first
        assert member.process.poll() is None
    assert made.are_gone()


def test_a_worker_that_has_made_updates_may_die_again_and_its_log_keeps_why(tmp_path: Path) -> None:
    failing = crew(tmp_path, "echo error: alas >&2; exit 1")
    (member,) = failing.members
    starts, first = [member.process.pid], member.process

    def often() -> bool:
        if member.process.pid != starts[-1]:
            starts.append(member.process.pid)
        return len(starts) == MAX_RESTARTS + 3

    looked(failing, 1, often, lambda: {"local 1": len(starts)})
    member.process.wait(WAIT_SECONDS)
    assert first.returncode == 1
    words = "error: alas\n"
    between = "--- ended with code 1; started again ---\n"
    assert member.log.read_text() == words + (between + words) * (MAX_RESTARTS + 2)
    looked(failing, 1, lambda: not failing.members, lambda: {"local 1": len(starts)})


def test_words_are_those_of_the_last_process(tmp_path: Path) -> None:
    script = f"test -e {tmp_path}/once && exit 3; touch {tmp_path}/once; echo error: first; exit 1"
    failing = crew(tmp_path, script)
    with pytest.raises(RankFailedError, match="no worker is left: it said nothing"):
        looked(failing, 0, lambda: False)


def test_no_worker_is_left_behind_where_another_cannot_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, popen = [], subprocess.Popen

    def second_fails(*words: Any, **how: Any) -> subprocess.Popen[bytes]:
        if started:
            raise OSError(errno.EAGAIN, "no more processes")
        started.append(popen(*words, **how))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", second_fails)
    with pytest.raises(OSError, match="no more processes"):
        crew(tmp_path, "exec sleep 60", 2)
    assert started[0].poll() is not None


def test_a_worker_that_is_refused_ends_the_run_with_its_words(tmp_path: Path) -> None:
    refused = crew(
        tmp_path, "printf 'error: the tokens are others\\n  fix:   copy them\\n'; exit 2"
    )
    with pytest.raises(ConfigError) as error:
        looked(refused, 0, lambda: False)
    assert error.value.message == "worker 1 cannot work: the tokens are others fix:   copy them"


def test_workers_that_always_fail_are_given_up_and_others_go_on(tmp_path: Path) -> None:
    failing = crew(tmp_path, "echo out of luck; exit 1")
    looked(failing, 1, lambda: not failing.members)  # somebody else is connected
    failing = crew(tmp_path, "echo out of luck; exit 1")
    with pytest.raises(RankFailedError, match="no worker is left: out of luck"):
        looked(failing, 0, lambda: False)
    assert MAX_RESTARTS > 0


def test_a_log_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert last_words(tmp_path / "empty") == "it said nothing"
    assert last_words(tmp_path / "missing") == "no log"
