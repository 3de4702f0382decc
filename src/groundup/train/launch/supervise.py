"""Start, watch, start again: doctor before every start, a budget of failures that progress renews.

doctor → torchrun → failed? a new checkpoint gives the whole budget back → wait → doctor → …
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from groundup.errors import GroundupError, UserError
from groundup.files import LOCK, lock_holder
from groundup.hardware import available_cores
from groundup.progress import say
from groundup.train.doctor.exclude import FOLDER, RECORD, excluded, reasons
from groundup.train.doctor.member import host_name
from groundup.train.launch.job import Job, torchrun_arguments
from groundup.train.signals import LAUNCHED

INTERRUPTED, USERS_MISTAKE = 130, 2
LONGEST_PAUSE_SECONDS = 60.0
POLL_SECONDS = 2.0  # for another node's lock
DOCTOR_SECONDS = 600.0  # it ends by itself long before
RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def run_here(
    job: Job, endpoint: str, run_id: str, pause: Callable[[float], None],
    require_trainable: Callable[[], None],
) -> int:  # fmt: skip
    """Bring the job's part on this node to its end; the exit code.

    Args:
        endpoint, run_id: torchrun's rendezvous, of several nodes.
        pause: sleeps for so many seconds before a restart.
        require_trainable: asked once there is a plan, which may say more than the project file.

    Raises:
        UserError: this node is to be left out, or training cannot begin.
        GroundupError: it failed too often without a new checkpoint.
    """
    words = torchrun_arguments(job, job.groundup("pretrain"), endpoint, run_id)
    require_ready(job.folder)
    code = prepare(job)
    if code != 0:
        return code
    require_trainable()
    command = [sys.executable, "-m", "groundup.train.launch.agent", *words]
    say(f"starting {job.processes} process{'es'[: 2 * (job.processes > 1)]}")
    return supervise(command, job, lambda: require_ready(job.folder), pause)


def supervise(
    command: Sequence[str], job: Job, before_restart: Callable[[], None],
    pause: Callable[[float], None] = time.sleep,
) -> int:  # fmt: skip
    """Run ``command`` until it is done, stopped, wrong, or has failed too often.

    Raises:
        GroundupError: it failed ``job.max_restarts`` + 1 times without a new checkpoint.
    """
    failures = 0
    while True:
        seen = checkpoints(job.folder)
        code = run_stoppable(command, job)
        if code in (0, USERS_MISTAKE, INTERRUPTED):
            return code
        failures = 1 if checkpoints(job.folder) - seen else failures + 1
        if failures > job.max_restarts:
            raise GroundupError(
                f"training failed {failures} times without a new checkpoint (code {code})",
                where=str(job.folder),
                fix="see the errors above; the same command goes on from the last checkpoint",
            )
        seconds = min(2.0 ** (failures - 1), LONGEST_PAUSE_SECONDS)
        say(f"training ended with code {code}; restart {failures} of {job.max_restarts}")
        pause(seconds)
        before_restart()


def checkpoints(folder: Path) -> set[Path]:
    """All checkpoints of the project's runs."""
    return set(folder.glob("runs/*/checkpoints/step-*"))


def require_ready(folder: Path) -> None:
    """Go on only on a node that is not on the list and that the doctor finds fit.

    Raises:
        UserError: it is to be left out.
    """
    require_not_excluded(folder)  # first: what its peers found wrong the doctor cannot see alone
    require_fit(folder)


def require_not_excluded(folder: Path) -> None:
    """Go on only on a node that is not on the list.

    Raises:
        UserError: it is.
    """
    host = host_name(0)
    if host in excluded(folder / FOLDER):
        why = "; ".join(reasons(folder / FOLDER / RECORD).get(host, [])) or "put there by hand"
        raise UserError(
            f"{host} is on the list of nodes to leave out: {why}",
            where=str(folder / FOLDER),
            fix=f"when it is repaired, `groundup doctor {folder}` on it takes it off the list",
        )


def require_fit(folder: Path) -> None:
    """Let the doctor see this node, in a process of its own: the GPUs are free again after it.

    Raises:
        UserError: the node should be left out.
        GroundupError: the doctor itself failed.
    """
    command = [sys.executable, "-m", "groundup", "doctor", str(folder), "--json"]
    environment = {name: value for name, value in os.environ.items() if name not in RANKS}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, env=environment, timeout=DOCTOR_SECONDS, check=False
    )
    if done.returncode == 0:
        return
    host, found = host_name(0), last_json(done.stdout)
    if found is None:
        raise GroundupError(f"the doctor ended with code {done.returncode}", where=host)
    why = "; ".join(found.get("exclude", {}).get(host, [])) or "see the results"
    raise UserError(
        f"{host} is not fit: {why}",
        where=str(folder / FOLDER / RECORD),
        fix=f"repair it, or start on other nodes; `groundup doctor {folder}` looks again",
    )


def last_json(output: bytes) -> dict[str, Any] | None:
    """The object on the last line; None if there is none."""
    try:
        value = json.loads(output.decode(errors="replace").splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return value if isinstance(value, dict) else None


def prepare(job: Job) -> int:
    """Run the stages before training, so that every rank finds them finished; the exit code.

    Where another node is at it (one folder, several launchers), wait for it.
    """
    lock = job.folder / LOCK
    while True:
        if holder := lock_holder(lock):
            say(f"waiting for {holder}")
        while lock_holder(lock):
            time.sleep(POLL_SECONDS)
        command = [sys.executable, *job.groundup("plan"), "--json"]
        code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        if code != USERS_MISTAKE or not lock_holder(lock):
            return code


def run_stoppable(command: Sequence[str], job: Job) -> int:
    """Run ``command``; hand a request to stop on to it once, and kill it at the second."""
    threads = str(max(1, available_cores() // job.processes))
    environment = {
        "OMP_NUM_THREADS": threads,
        **os.environ,
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(job.grace_seconds),
        LAUNCHED: "1",
    }
    # In a session of its own: Ctrl-C reaches it through us, once.
    child = subprocess.Popen(command, env=environment, start_new_session=True)
    with child, stop_handed_on(child) as asked:
        code = child.wait()
    if asked() and code != 0:
        return INTERRUPTED
    return code if code >= 0 else 128 - code


@contextmanager
def stop_handed_on(child: subprocess.Popen[bytes]) -> Iterator[Callable[[], bool]]:
    """Forward SIGINT, SIGTERM and SIGHUP as SIGTERM; yields whether one came."""
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number != signal.SIGHUP:
            kill_tree(child.pid)
        elif not asked:
            asked = True
            say(f"{signal.Signals(number).name}: saving (again to stop at once)")
            child.terminate()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def kill_tree(pid: int) -> None:
    """SIGKILL to a process of ours and everything it has started."""
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                kill_tree(int(child))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
