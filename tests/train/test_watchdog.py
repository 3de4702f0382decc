"""Who is named for what: real processes where the kernel is asked, written beats elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundup.errors import DivergedError, RankFailedError
from groundup.train import failures, watchdog
from groundup.train.distributed import ALONE
from groundup.train.failures import find_failures, standing
from groundup.train.heartbeat import Heart, ranks_folder, read_beats
from groundup.train.stacks import Stacks, answering, ask_for_stacks, request_path, stack_path
from groundup.train.watch import SlowWatch, rank_table, slow_ranks
from groundup.train.watchdog import Patience, is_collective_error, watched
from tests.train.beats import LAUNCH, beat_of, heart_of, process_of, write
from tests.train.test_heartbeat import until

WAITED = 30.0


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(failures, "STOPPED_SECONDS", 0.2)


@pytest.fixture
def heart(tmp_path: Path) -> Iterator[Heart]:
    """Of rank 0 of two, beating."""
    heart = heart_of(tmp_path)
    heart.at("all-reduce", 10)
    heart.start()
    yield heart
    heart.end("finished")


# --- who it is ------------------------------------------------------------------------------------


def named(folder: Path, heart: Heart, waited: float = WAITED) -> list[tuple[int, str, str]]:
    return [(each.rank, each.kind, each.details) for each in find_failures(folder, heart, waited)]


def test_a_killed_process_is_dead_by_its_signal(tmp_path: Path, heart: Heart) -> None:
    with process_of(tmp_path, 1) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet collected
        assert named(tmp_path, heart) == [(1, "dead", "SIGKILL")]
        process.wait()
        assert named(tmp_path, heart) == [(1, "dead", "")]


def test_another_process_with_the_same_number_is_not_the_rank(tmp_path: Path, heart: Heart) -> None:
    with process_of(tmp_path, 1):
        write(tmp_path, replace(read_beats(tmp_path)[1], pid_started=1))
        assert named(tmp_path, heart) == [(1, "dead", "")]


def test_a_stopped_process_is_named_as_such(tmp_path: Path, heart: Heart) -> None:
    with process_of(tmp_path, 1) as process:
        process.send_signal(signal.SIGSTOP)
        assert named(tmp_path, heart) == [(1, "stopped", "")]


def test_a_rank_elsewhere_whose_beat_stands_is_silent(tmp_path: Path, heart: Heart) -> None:
    write(tmp_path, beat_of(tmp_path, 1, machine="another"))
    ((rank, kind, details),) = named(tmp_path, heart)
    assert (rank, kind) == (1, "silent")
    assert "no beat for" in details


@pytest.mark.parametrize("jump", [-86400, 365 * 86400])
def test_a_rank_that_beats_is_nobody_s_failure_whatever_the_clocks(
    tmp_path: Path, heart: Heart, jump: int
) -> None:
    """The times of its files are a day behind or a year ahead: only the count is looked at."""
    other, over = heart_of(tmp_path, rank=1, interval=0.01), threading.Event()
    other._fixed["machine"] = "another"
    other.at("all-reduce", 10)

    def beat() -> None:
        while not over.wait(0.01):
            other.beat()
            path = ranks_folder(tmp_path) / "00001.json"
            moment = path.stat().st_mtime + jump
            os.utime(path, (moment, moment))

    thread = threading.Thread(target=beat)
    thread.start()
    until(lambda: 1 in read_beats(tmp_path))
    try:
        assert named(tmp_path, heart) == []
    finally:
        over.set()
        thread.join()


def test_a_rank_that_never_beat_is_missing(tmp_path: Path, heart: Heart) -> None:
    assert named(tmp_path, heart) == [(1, "missing", "")]


def test_the_cause_is_named_and_not_who_left_because_of_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        beat_of(tmp_path, 1, ended="ValueError: bad data"),
        beat_of(tmp_path, 2, ended="RankFailedError: rank 1 has ended", consequence=True),
        beat_of(tmp_path, 3),
    )
    heart = heart_of(tmp_path, 0, 4)
    assert named(tmp_path, heart) == [(1, "ended", "ValueError: bad data")]
    write(tmp_path, beat_of(tmp_path, 1))
    assert [rank for rank, kind, _ in named(tmp_path, heart) if kind == "ended"] == []


def test_who_left_because_of_another_is_named_where_that_one_cannot_be(tmp_path: Path) -> None:
    why = "RankFailedError: rank 1 is stopped"
    write(tmp_path, beat_of(tmp_path, 1, ended=why, consequence=True))
    assert named(tmp_path, heart_of(tmp_path)) == [(1, "ended", why)]


def test_hung_is_who_stands_in_its_own_work_while_others_wait(tmp_path: Path) -> None:
    waits = [beat_of(tmp_path, rank, phase_seconds=61.0) for rank in (0, 2, 3)]
    works = beat_of(tmp_path, 1, phase="batch", waiting=False, phase_seconds=61.0)
    (found,) = standing([*waits, works], 60.0)
    assert (found.rank, found.kind, found.details) == (1, "hung", "in batch for 61 s")
    arrived = replace(works, phase_seconds=2.0)  # it came while we looked
    assert standing([*waits, arrived], 60.0) == []
    ended = replace(works, ended="finished")
    assert standing([*waits, ended], 60.0) == []


def test_nobody_is_hung_if_all_are(tmp_path: Path) -> None:
    """On a GPU all ranks wait for their device, wherever it is."""
    everyone = [
        beat_of(tmp_path, rank, phase="optimizer", waiting=False, phase_seconds=61.0)
        for rank in range(4)
    ]
    assert standing(everyone, 60.0) == []


def test_behind_is_who_waits_at_an_earlier_step(tmp_path: Path) -> None:
    beats = [beat_of(tmp_path, rank) for rank in range(3)]
    late = beat_of(tmp_path, 3, step=9)
    (found,) = standing([*beats, late], 60.0)
    assert (found.rank, found.kind, found.details) == (3, "behind", "in step 9, others in 10")


# --- what is said ---------------------------------------------------------------------------------


@pytest.fixture
def no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other ranks of these tests are not there to be met."""
    monkeypatch.setattr(watchdog, "barrier", lambda ranks: None)
    monkeypatch.setattr(watchdog, "clear_beats", lambda folder: None)


@pytest.mark.usefixtures("no_group")
def test_a_broken_collective_becomes_an_error_that_names_the_rank(tmp_path: Path) -> None:
    heart = heart_of(tmp_path)

    def all_reduce(process: subprocess.Popen[bytes]) -> None:
        with watched(tmp_path, heart.ranks, launch=LAUNCH, timeout_seconds=60, heart=heart):
            heart.at("all-reduce", 37)
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")

    with process_of(tmp_path, 1) as process, pytest.raises(RankFailedError) as caught:
        all_reduce(process)
    error = caught.value
    assert error.message == "rank 1 is dead (SIGKILL), of 2 ranks"
    assert error.code == 75
    assert error.where is not None
    assert f"pid {process.pid}, cpu, step 10, all-reduce" in error.where
    assert error.fix is not None
    assert "groundup doctor" in error.fix
    own = read_beats(tmp_path)[0]
    assert own.ended == f"RankFailedError: {error.message}"
    assert own.consequence


@pytest.mark.usefixtures("no_group")
def test_errors_of_our_own_pass_through_and_stand_in_the_last_beat(tmp_path: Path) -> None:
    heart = heart_of(tmp_path)
    error = DivergedError("loss nan at step 3")
    with (
        pytest.raises(DivergedError),
        watched(tmp_path, heart.ranks, launch=LAUNCH, timeout_seconds=60, heart=heart),
    ):
        raise error
    own = read_beats(tmp_path)[0]
    assert (own.ended, own.consequence) == ("DivergedError: loss nan at step 3", False)


def test_a_process_alone_writes_nothing(tmp_path: Path) -> None:
    with watched(tmp_path, ALONE, launch=LAUNCH, timeout_seconds=60) as heart:
        heart.at("batch", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_group")
def test_a_collective_that_never_returns_is_ended_from_outside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name is said first, while there is time; the stopped rank's stack is the kernel's."""
    heart, stuck = heart_of(tmp_path), threading.Event()
    errors: list[RankFailedError] = []

    def on_stuck(error: RankFailedError) -> None:
        errors.append(error)
        stuck.set()

    with process_of(tmp_path, 1) as process:
        process.send_signal(signal.SIGSTOP)
        until(lambda: "stopped" in Path(f"/proc/{process.pid}/status").read_text())
        stack_path(ranks_folder(tmp_path), 1).touch()
        with watched(
            tmp_path, heart.ranks, launch=LAUNCH, timeout_seconds=2.4, device="cuda:0",
            heart=heart, on_stuck=on_stuck,
        ):  # fmt: skip
            heart.at("batch", 10)
            heart.at("all-reduce", 11)
            assert stuck.wait(60)
    assert errors[0].message == "rank 1 is stopped, of 2 ranks"
    assert "in all-reduce of step 11: rank 1 is stopped" in capsys.readouterr().err
    assert "State:\tT (stopped)" in stack_path(ranks_folder(tmp_path), 1).read_text()


@pytest.mark.usefixtures("no_group")
def test_a_loop_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    heart = heart_of(tmp_path)
    errors: list[RankFailedError] = []
    with (
        process_of(tmp_path, 1),
        watched(
            tmp_path, heart.ranks, launch=LAUNCH, timeout_seconds=0.4, device="cuda:0",
            heart=heart, on_stuck=errors.append,
        ),
    ):  # fmt: skip
        write(tmp_path, replace(read_beats(tmp_path)[1], ended="ValueError: bad"))
        before = heart._count
        for step in range(1, 10**6):
            heart.at("all-reduce", step)
            if heart._count > before + 20:
                break
    assert errors == []


def test_patience_ends_after_gloo_and_before_nccl() -> None:
    gloo = Patience.with_timeouts(60, 600, "cpu")
    nccl = Patience.with_timeouts(60, 600, "cuda:3")
    assert gloo.look < 60 < gloo.end < 600 < gloo.first_end
    assert nccl.look < nccl.end < 60 < nccl.first_end < 600


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]"), True),
        (RuntimeError("[gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 5000ms"), True),
        (torch.distributed.DistBackendError("NCCL error: remote process exited"), True),
        (torch.distributed.DistNetworkError("the client socket has failed to connect"), True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ValueError("connection closed"), False),
        (DivergedError("connection closed"), False),
    ],
)
def test_which_errors_are_of_a_collective(error: Exception, is_one: bool) -> None:
    assert is_collective_error(error) == is_one


# --- stacks ---------------------------------------------------------------------------------------


def test_a_request_is_answered_with_every_thread_s_stack_once(tmp_path: Path) -> None:
    folder = ranks_folder(tmp_path)
    folder.mkdir()
    stacks = Stacks(folder, 1, LAUNCH)
    stacks.answer()
    request_path(folder, LAUNCH).touch()
    stacks.answer()
    once = stack_path(folder, 1).stat().st_size
    stacks.answer()
    stacks.close()
    text = stack_path(folder, 1).read_text()
    assert "test_a_request_is_answered_with_every_thread_s_stack_once" in text
    assert len(text) == once


def test_no_request_leaves_no_file(tmp_path: Path) -> None:
    ranks_folder(tmp_path).mkdir()
    with answering(heart_of(tmp_path, rank=1)):
        assert stack_path(ranks_folder(tmp_path), 1).exists()
    assert list(ranks_folder(tmp_path).iterdir()) == []


def test_without_a_disk_there_are_no_stacks_and_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(heart_of(tmp_path / "absent", rank=1)):
        pass
    assert "no stacks of rank 1" in capsys.readouterr().err


def test_a_rank_that_keeps_python_s_lock_is_asked_below_python(tmp_path: Path) -> None:
    """Here: one whose heart does not beat. The signal finds the main thread where it is."""
    folder = ranks_folder(tmp_path)
    folder.mkdir()
    stacks = Stacks(folder, 0, LAUNCH)
    ask_for_stacks(heart_of(tmp_path, rank=1), [beat_of(tmp_path, 0)])
    stacks.close()
    text = stack_path(folder, 0).read_text()
    assert "below_python" in text


# --- slow -----------------------------------------------------------------------------------------


def paces(folder: Path, *own: float, step: float = 1.0) -> None:
    write(
        folder,
        *(
            beat_of(folder, rank, own_seconds=each, steady_own_seconds=each, step_seconds=step)
            for rank, each in enumerate(own)
        ),
    )


@pytest.mark.parametrize(
    ("own", "slow"),
    [
        ((0.2, 0.2, 0.2, 0.31), {3: pytest.approx(1.55)}),
        ((0.2, 0.2, 0.2, 0.29), {}),
        ((0.2, 0.9), {1: pytest.approx(4.5)}),  # of two, one is the other's measure
        ((0.02, 0.02, 0.06), {}),  # three times as long, and four hundredths of the step
        ((0.5,), {}),
    ],
)
def test_slow_is_half_as_much_again_as_the_others(
    tmp_path: Path, own: tuple[float, ...], slow: dict[int, float]
) -> None:
    paces(tmp_path, *own)
    assert slow_ranks(read_beats(tmp_path).values()) == slow


def test_a_slow_rank_is_said_once_an_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heart = heart_of(tmp_path)
    watch = SlowWatch(tmp_path, heart)
    for own in (0.2, 0.4, 0.4, 0.2, 0.4):
        paces(tmp_path, 0.2, own)
        for _ in range(5):
            watch.look()
    assert capsys.readouterr().err.count("rank 1 is slow: its own work takes 2.0 times") == 2
    news = [heart.news.get_nowait(), heart.news.get_nowait()]
    assert heart.news.empty()
    assert [(each["kind"], each["rank"], each["times_the_others"]) for each in news] == [
        ("slow_rank", 1, 2.0)
    ] * 2


def test_the_table_has_a_row_a_rank_of_the_last_start(tmp_path: Path) -> None:
    paces(tmp_path, 0.2, 0.5)
    write(tmp_path, beat_of(tmp_path, 2, launch=1, started="2020-01-01T00:00:00+00:00"))
    rows = rank_table(tmp_path).rows
    assert [row[0] for row in rows] == ["0", "1"]
    assert [row[8] for row in rows] == ["", "2.5× the others"]
    assert rank_table(tmp_path / "absent").rows == []
