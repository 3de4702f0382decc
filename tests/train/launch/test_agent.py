"""torchrun with the exit code of the worker that failed first; real workers, two of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousTimeoutError

from groundup.train.launch import agent as module

WORKER = """
import os, signal, sys, time
rank, how = int(os.environ["RANK"]), sys.argv[1]
if how == "meet":
    import torch, torch.distributed as dist
    dist.init_process_group("gloo")
    ranks = torch.tensor([float(rank)])
    dist.all_reduce(ranks)
    dist.destroy_process_group()
    sys.exit(0 if ranks.item() == 1.0 else 3)
if rank == 1:
    os.kill(os.getpid(), signal.SIGKILL) if how == "killed" else sys.exit(int(how))
time.sleep(60)
"""


def agent(folder: Path, how: str) -> tuple[int, str]:
    """Exit code and standard error of two workers."""
    (folder / "worker.py").write_text(WORKER)
    done = subprocess.run(
        [sys.executable, "-m", "groundup.train.launch.agent", "--standalone",
         "--nproc-per-node=2", "--max-restarts=0", folder / "worker.py", how],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_the_exit_code_is_that_of_the_first_to_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failure(rank: int, code: int, at: int) -> ProcessFailure:
        made = ProcessFailure(local_rank=rank, pid=1, exitcode=code, error_file="<N/A>")
        made.timestamp = at
        return made

    def run(_: object) -> None:
        raise ChildFailedError("worker", {0: failure(0, 1, at=8), 1: failure(1, -9, at=7)})

    monkeypatch.setattr(module.torchrun, "run", run)
    assert module.main(["worker.py"]) == 137
    assert "rank 1 ended with SIGKILL" in capsys.readouterr().err


def test_done_stopped_and_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(error: Exception | None) -> int:
        def run(_: object) -> None:
            if error:
                raise error

        monkeypatch.setattr(module.torchrun, "run", run)
        return module.main(["worker.py"])

    assert ends(None) == 0
    assert ends(SignalException("stop", signal.SIGTERM)) == 130
    assert ends(RendezvousTimeoutError("late")) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code", "said"), [("2", 2, "rank 1 ended with code 2"),
                              ("killed", 137, "rank 1 ended with SIGKILL")]
)  # fmt: skip
def test_the_first_failure_is_the_exit_code(tmp_path: Path, how: str, code: int, said: str) -> None:
    found, err = agent(tmp_path, how)
    assert found == code, err
    assert said in err


@pytest.mark.slow
def test_two_ranks_meet_over_gloo(tmp_path: Path) -> None:
    code, err = agent(tmp_path, "meet")
    assert code == 0, err
