"""A log that cannot be written: training goes on, the lines wait, in their order."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.errors import StorageError
from groundup.track import lines as module
from groundup.track.lines import Lines
from groundup.track.run import Run, read_lines, read_run
from groundup.track.verify import verify

NO_FULL_DISK = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@pytest.fixture
def disk(monkeypatch):
    """A disk with so many free bytes, for the logs only; None: without end."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    return Disk(monkeypatch)


class Disk:
    def __init__(self, monkeypatch):
        self.free = None
        self.write = os.write
        monkeypatch.setattr(module.os, "write", self.limited)

    def limited(self, descriptor, data):
        if self.free is None:
            return self.write(descriptor, data)
        if not self.free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        n_bytes = self.write(descriptor, data[: self.free])
        self.free -= n_bytes
        return n_bytes


@given(st.lists(st.one_of(st.none(), st.integers(0, 40)), max_size=30), st.integers(0, 9))
def test_every_line_comes_in_its_order_however_the_room_comes_and_goes(
    tmp_path_factory, rooms, length
):
    path = tmp_path_factory.mktemp("lines") / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RETRY_SECONDS", 0.0)
        disk = Disk(patch)
        log = Lines(path)
        texts = [f"{number}{'x' * length}" for number in range(len(rooms))]
        for text, room in zip(texts, rooms, strict=True):
            disk.free = room
            log.append(text)
            # What is on the disk is whole: the first lines, each with its end.
            assert path.read_text() in ("".join(f"{t}\n" for t in texts[:n])
                                        for n in range(len(texts) + 1))  # fmt: skip
        disk.free = None
        assert log.flush()
        log.close()
    assert path.read_text() == "".join(f"{text}\n" for text in texts)
    assert log.n_lost == 0


def test_a_refusal_is_said_once_and_so_is_its_end(tmp_path, disk, capsys):
    log = Lines(tmp_path / "log")
    for room in (None, 0, 0, 3, 0, None, None):
        disk.free = room
        log.append("line")
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{tmp_path / 'log'}: No space left on device; training goes on, its lines " \
        "wait in memory"  # fmt: skip
    assert second == f"{tmp_path / 'log'} can be written again (5 lines waited)"
    log.close()


def test_more_than_can_wait_loses_the_oldest_and_counts_them(tmp_path, disk, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    log = Lines(tmp_path / "log")
    disk.free = 0
    for number in range(5):
        log.append(str(number))
    disk.free = None
    log.flush()
    log.close()
    assert (tmp_path / "log").read_text() == "2\n3\n4\n"
    assert log.n_lost == 2


def test_a_refused_line_is_not_tried_again_at_every_step(tmp_path, disk, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 1e9)
    log = Lines(tmp_path / "log")
    disk.free = 0
    log.append("0")
    disk.free = None
    log.append("1")
    assert (tmp_path / "log").read_text() == ""
    log.flush()  # a checkpoint asks again
    assert (tmp_path / "log").read_text() == "0\n1\n"
    log.close()


def test_a_folder_that_is_gone_and_comes_back_gets_the_lines_since(tmp_path, disk):
    folder = tmp_path / "run"
    folder.mkdir()
    log = Lines(folder / "log")
    log.append("before")
    shutil.rmtree(folder)
    log.append("without")
    folder.mkdir()
    log.append("after")
    log.close()
    assert (folder / "log").read_text() == "without\nafter\n"


def test_a_torn_last_line_stays_alone(tmp_path):
    (tmp_path / "log").write_text('{"step": 1}\n{"ste')
    log = Lines(tmp_path / "log")
    log.append('{"step": 2}')
    log.close()
    assert [line["step"] for line in read_lines(tmp_path / "log")] == [1, 2]


@NO_FULL_DISK
def test_a_run_on_a_full_disk_goes_on_and_its_end_says_that_it_could_not_write(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    run = Run(tmp_path, {})
    for step in range(1, 4):
        run.log(step, {"loss": 1.0})
        run.event(step, "checkpoint")
        run.flush()
    assert [line["step"] for line in read_lines(tmp_path / "events.jsonl")] == [1, 2, 3]
    with pytest.raises(StorageError, match="No space left on device") as caught:
        run.finish("finished")
    assert caught.value.code == 2
    assert read_run(tmp_path)["status"] == "running"


@NO_FULL_DISK
def test_an_end_with_an_error_of_its_own_keeps_it_and_the_record_counts_the_lines(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    run = Run(tmp_path, {})
    run.log(1, {"loss": 1.0})
    run.finish("failed", error="loss nan")
    record = read_run(tmp_path)
    assert (record["status"], record["error"]) == ("failed", "loss nan")
    assert record["lost_lines"] == {"metrics.jsonl": 1}


def test_a_final_record_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    from groundup.track import run as run_module

    run = Run(tmp_path, {})
    run.log(1, {"loss": 1.0})

    def refuses(path, value):
        raise StorageError("the disk is full", where=str(path))

    monkeypatch.setattr(run_module, "write_json", refuses)
    run.update(note="in between")  # goes on
    with pytest.raises(StorageError, match="the disk is full"):
        run.finish("finished")


def test_steps_that_wait_are_abandoned_like_those_on_the_disk(tmp_path, disk):
    run = Run(tmp_path, {})
    run.log(1, {"loss": 1.0})
    disk.free = 0
    for step in (2, 3):
        run.log(step, {"loss": 1.0})
    assert run.abandon(2, 1) == 1
    run.log(3, {"loss": 2.0})
    disk.free = None
    run.close()
    assert [(line["step"], line["loss"]) for line in read_lines(tmp_path / "metrics.jsonl")] == [
        (1, 1.0), (2, 1.0), (3, 2.0),
    ]  # fmt: skip
    assert [line["step"] for line in read_lines(tmp_path / "abandoned.jsonl")] == [3]


def test_a_run_whose_record_says_that_lines_were_lost_is_not_called_damaged(
    tmp_path, disk, monkeypatch, capsys
):
    monkeypatch.setattr(module, "MOST_WAITING", 1)
    run = Run(tmp_path / "runs" / "r", {})
    disk.free = 0
    for step in (1, 2):
        run.log(step, {"loss": 1.0})
    disk.free = None
    run.finish("finished", loss_chain="of both")
    assert read_run(run.folder)["lost_lines"] == {"metrics.jsonl": 1}
    assert verify(tmp_path)[1] == []
    assert "lines of its logs were lost" in capsys.readouterr().err


SHOWS_A_BAR = """
import sys
from groundup.progress import progress
with progress("work", 100, "steps") as shown:
    assert shown._bar is not None
    print("bar", flush=True)
    sys.stdin.readline()
    for step in range(100):
        shown.advance(1, f"loss {step}")
        shown.say(f"step {step}")
"""


def test_a_terminal_that_goes_away_does_not_end_the_work():
    leader, follower = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", SHOWS_A_BAR], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=follower, env={**os.environ, "TERM": "xterm"}, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    try:
        assert child.stdout.readline() == b"bar\n"
        os.close(leader)  # the terminal is closed: every write is refused from now on
        child.communicate(b"\n", timeout=60)
        assert child.returncode == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.wait()
