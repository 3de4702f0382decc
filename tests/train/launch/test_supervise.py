"""Starting again: what ends a job, what renews its budget, how a stop is handed on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from groundup.errors import GroundupError, UserError
from groundup.files import LOCK, lock
from groundup.train.doctor.exclude import FOLDER, LIST, RECORD, write
from groundup.train.doctor.result import Node, Result, Verdict
from groundup.train.launch import supervise as module
from groundup.train.launch.job import Job
from groundup.train.launch.supervise import (
    kill_tree,
    prepare,
    require_fit,
    require_not_excluded,
    run_stoppable,
    supervise,
)


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", textwrap.dedent(code)]


def worker(folder: Path, codes: list[int], saves: tuple[int, ...] = ()) -> list[str]:
    """A stand-in that ends with the next of ``codes`` each time; in ``saves`` it leaves a step."""
    return python(f"""
        import pathlib, sys
        count = pathlib.Path({str(folder / "count")!r})
        n = int(count.read_text()) if count.exists() else 0
        count.write_text(str(n + 1))
        if n in {saves}:
            pathlib.Path({str(folder)!r}, "runs/r/checkpoints", f"step-{{n:08}}").mkdir(
                parents=True)
        sys.exit({codes}[n])
    """)


def watch(folder: Path, codes: list[int], saves: tuple[int, ...] = ()) -> tuple[int, list[float]]:
    """The exit code, and the pauses before the restarts; each pause is before a visit."""
    pauses: list[float] = []
    visits: list[int] = []
    job = Job("small", folder, max_restarts=2)
    code = supervise(worker(folder, codes, saves), job, lambda: visits.append(1), pauses.append)
    assert len(visits) == len(pauses)
    return code, pauses


@pytest.mark.parametrize("code", [0, 2, 130])
def test_done_wrong_and_stopped_are_final(tmp_path: Path, code: int) -> None:
    assert watch(tmp_path, [code]) == (code, [])


def test_a_failure_is_followed_by_a_pause_the_doctor_and_a_restart(tmp_path: Path) -> None:
    assert watch(tmp_path, [1, 137, 0]) == (0, [1.0, 2.0])


def test_the_budget_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match="failed 3 times without a new checkpoint") as caught:
        watch(tmp_path, [1, 1, 1, 1])
    assert caught.value.code == 1
    assert (tmp_path / "count").read_text() == "3"


def test_a_new_checkpoint_renews_the_budget(tmp_path: Path) -> None:
    code, pauses = watch(tmp_path, [1, 1, 1, 1, 1, 0], saves=(1, 3))
    assert code == 0
    assert pauses == [1.0, 1.0, 2.0, 1.0, 2.0]


def test_a_worker_that_was_killed_counts_as_failed(tmp_path: Path) -> None:
    command = python("import os; os.kill(os.getpid(), 9)")
    assert run_stoppable(command, Job("small", tmp_path)) == 128 + 9


STOPPABLE = """
    import pathlib, signal, sys, time
    def stop(*_):
        pathlib.Path({folder!r}, "saved").touch()
        if {obeys}:
            sys.exit(130)
    signal.signal(signal.SIGTERM, stop)
    pathlib.Path({folder!r}, "ready").touch()
    time.sleep(60)
    sys.exit(1)
"""


def signal_when(file: Path, *numbers: int) -> None:
    """Send this process the first signal when ``file`` is there, each next one after ``saved``."""

    def wait() -> None:
        for number, awaited in zip(numbers, (file, file.with_name("saved")), strict=False):
            while not awaited.exists():
                time.sleep(0.01)
            os.kill(os.getpid(), number)

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_handed_on_and_the_worker_saves(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    signal_when(tmp_path / "ready", number)
    command = python(STOPPABLE.format(folder=str(tmp_path), obeys=True))
    assert run_stoppable(command, Job("small", tmp_path)) == 130
    assert (tmp_path / "saved").exists()
    assert signal.getsignal(number) == before


def test_a_second_request_kills_what_does_not_listen(tmp_path: Path) -> None:
    signal_when(tmp_path / "ready", signal.SIGTERM, signal.SIGTERM)
    command = python(STOPPABLE.format(folder=str(tmp_path), obeys=False))
    assert run_stoppable(command, Job("small", tmp_path)) == 130


def test_a_tree_is_killed_to_its_leaves() -> None:
    """Also leaves in a session of their own, as torchrun starts its workers."""
    grandparent = subprocess.Popen(
        python("""
            import subprocess, sys
            leaf = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"],
                                    start_new_session=True)
            print(leaf.pid, flush=True)
            leaf.wait()
        """),
        stdout=subprocess.PIPE,
    )
    assert grandparent.stdout is not None
    leaf = int(grandparent.stdout.readline())
    kill_tree(grandparent.pid)
    assert grandparent.wait() == -signal.SIGKILL
    grandparent.stdout.close()
    for _ in range(500):
        state = Path(f"/proc/{leaf}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("the leaf lives")


def test_a_node_on_the_list_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDUP_HOST", "b")
    require_not_excluded(tmp_path)
    bad = Node("b", (0,), (Result("gemm fp32 cpu", "fail", 1, why="1 values differ"),))
    write(Verdict((bad,)), tmp_path / FOLDER / RECORD)
    with pytest.raises(UserError, match="b is on the list of nodes to leave out: gemm fp32 cpu"):
        require_not_excluded(tmp_path)
    monkeypatch.setenv("GROUNDUP_HOST", "c")
    require_not_excluded(tmp_path)


@pytest.mark.slow
def test_a_node_that_the_doctor_finds_unfit_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDUP_HOST", "b")
    monkeypatch.setenv("GROUNDUP_DOCTOR_FAULT", "gemm@b")
    monkeypatch.setenv("WORLD_SIZE", "2")  # of a job around us: the doctor sees this node alone
    with pytest.raises(UserError, match="b is not fit: gemm fp32 cpu: 1 values differ"):
        require_fit(tmp_path)
    assert (tmp_path / FOLDER / LIST).read_text() == "b\n"


@pytest.mark.parametrize(
    ("code", "output", "error", "said"),
    [
        (2, '{"exclude": {"b": ["disk: full"]}}', UserError, "b is not fit: disk: full"),
        (2, '{"exclude": {}}', UserError, "b is not fit: see the results"),
        (1, "", GroundupError, "the doctor ended with code 1"),
        (2, "no object", GroundupError, "the doctor ended with code 2"),
    ],
)
def test_what_the_doctor_says_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, code: int, output: str, error: type[GroundupError], said: str
) -> None:
    monkeypatch.setenv("GROUNDUP_HOST", "b")
    monkeypatch.setenv("RANK", "1")

    def run(command: list[str], env: dict[str, str], **_: object) -> object:
        assert command[1:] == ["-m", "groundup", "doctor", "/p", "--json"]
        assert "RANK" not in env
        return subprocess.CompletedProcess(command, code, output.encode())

    monkeypatch.setattr(module.subprocess, "run", run)
    with pytest.raises(error, match=said) as caught:
        require_fit(Path("/p"))
    assert caught.value.code == (2 if error is UserError else 1)


def test_the_stages_before_training_wait_for_another_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    held = lock(tmp_path / LOCK)
    held.__enter__()

    def pause(_: float) -> None:
        order.append("waited")
        held.__exit__(None, None, None)

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        order.append(" ".join(command[1:4]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(module.time, "sleep", pause)
    monkeypatch.setattr(module.subprocess, "run", run)
    assert prepare(Job("small", tmp_path)) == 0
    assert order == ["waited", "-m groundup plan"]
