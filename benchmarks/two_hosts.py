"""Two "hosts" on one machine: a torchrun job of two nodes over TCP, its cable pulled and put back.

Two network namespaces joined by a virtual cable are two machines with a shared disk: other
addresses, another loopback, and nothing between them but the cable. On each runs `groundup launch
torchrun`, one rank a node. First the job runs undisturbed; then again from the beginning, and while
it trains the cable is taken down and put up again after a while. TCP itself outlasts a short cut;
at one longer than a collective waits (60 s) the ranks end, both launchers start again until their
nodes meet, and training goes on from the last checkpoint. The end must have the same bits.

    python benchmarks/two_hosts.py [--steps 60] [--cut-seconds 90] [--folder DIR]

Needs root on Linux (network namespaces). The last line is JSON; the exit code is 1 if the ends
differ, 77 where namespaces cannot be made.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from groundup.files import read_json
from groundup.tables import Table, print_tables

sys.path.insert(0, str(Path(__file__).parent))
from rank_faults import can_partition, namespaces

CANNOT = 77  # as automake's tests say that one was skipped
PORT = 29517
PATIENCE_SECONDS = 600.0
PROJECT = """\
project:
  name: hosts
  seed: 7
data:
  input: text
tokenizer:
  vocab_size: 300
model:
  n_layers: 2
  d_model: 64
  context_length: 64
pretrain:
  steps: {steps}
  batch_size: 8
  learning_rate: 0.02
  warmup_steps: 2
  device: cpu
  precision: fp32
  attention: bmm
  n_threads: 1
  evaluate_every: {steps}
  evaluation_windows: 4
  checkpoint_every: 5
  sample_every: {steps}
"""


def main() -> int:
    """Both runs, a table of what was seen, and whether their ends are equal."""
    parser = argparse.ArgumentParser(description="two hosts, and their cable cut and mended")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--cut-seconds", type=float, default=90.0, help="how long the cable is out")
    parser.add_argument("--folder", type=Path, help="keep project and logs here")
    options = parser.parse_args()
    if not can_partition():
        print("two_hosts: needs root, ip and network namespaces", file=sys.stderr)
        return CANNOT
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        project = write_project(folder, options.steps)
        prepared = groundup("plan", "--project", str(project), "--json")
        subprocess.run(prepared, check=True, stdout=subprocess.DEVNULL)
        undisturbed = train(project, folder / "undisturbed", None)
        shutil.move(project / "runs", folder / "undisturbed" / "runs")
        disturbed = train(project, folder / "disturbed", options.cut_seconds)
    rows = [(name, *(run[key] for key in SEEN)) for name, run in
            (("undisturbed", undisturbed), ("cable cut", disturbed))]  # fmt: skip
    columns = ("run", "seconds", "starts", "cut at step", "resumed at step", "end")
    print_tables([Table(f"2 hosts, {options.steps} steps", columns, rows)])
    for line in disturbed["said"]:
        print(f"  {line}")
    was_cut = disturbed["cut_at"] < options.steps
    equal = undisturbed["end"] == disturbed["end"] and was_cut
    print(json.dumps({"undisturbed": undisturbed, "disturbed": disturbed, "equal": equal}))
    return 0 if equal else 1


SEEN = ("seconds", "starts", "cut_at", "resumed_at", "end")


def write_project(folder: Path, steps: int) -> Path:
    """A small project whose text is modules of the standard library; a plan that is there stays."""
    project = folder / "project"
    (project / "text").mkdir(parents=True, exist_ok=True)
    for left in (project / "runs", folder / "undisturbed", folder / "disturbed"):
        shutil.rmtree(left, ignore_errors=True)
    (project / "groundup.yaml").write_text(PROJECT.format(steps=steps))
    library = Path(sysconfig.get_path("stdlib"))
    small = [path for path in sorted(library.glob("[a-z]*.py")) if path.stat().st_size < 12_000]
    for path in small[:40]:
        shutil.copyfile(path, project / "text" / path.name)
    return project


def train(project: Path, logs: Path, cut_seconds: float | None) -> dict[str, Any]:
    """One job of two nodes, from the first step to the last.

    Args:
        cut_seconds: pull the cable in the middle for so long; None: leave it.

    Raises:
        SystemExit: a launcher failed, or it takes too long.
    """
    logs.mkdir()
    found: dict[str, Any] = {"cut_at": None, "resumed_at": None}
    began = time.monotonic()
    with namespaces() as (names, cable), hosts(project, logs, names, cable) as launchers:
        if cut_seconds is not None:
            wait_for(lambda: step_of(project) >= 10, launchers)
            found["cut_at"] = step_of(project)
            link(names[0], cable, "down")
            time.sleep(cut_seconds)
            link(names[0], cable, "up")
        wait_for(lambda: all(each.poll() is not None for each in launchers.values()), {})
    codes = {name: each.returncode for name, each in launchers.items()}
    if any(codes.values()):
        raise SystemExit(f"the launchers ended with {codes}; see {logs}")
    run = next((project / "runs").iterdir())
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    resumed = [event["step"] for event in events if event["event"] == "resumed"]
    said = [
        f"{path.stem}: {line.strip()}"
        for path in sorted(logs.glob("host-*.log"))
        for line in path.read_text(errors="replace").splitlines()
        if line.startswith(("error:", "training ended", "waiting ", "going on"))
    ]
    return {
        **found,
        "seconds": round(time.monotonic() - began, 1),
        "starts": 1 + len(resumed),
        "resumed_at": resumed[-1] if resumed else None,
        "end": read_json(run / "run.json")["final_hash"][:16],
        "said": said,
    }


@contextlib.contextmanager
def hosts(
    project: Path, logs: Path, names: list[str], cable: str
) -> Iterator[Mapping[str, subprocess.Popen[bytes]]]:
    """A launcher on each host, ended with all it started at the end of the block."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for number, name in enumerate(names, start=1):
            address = f"10.231.7.{number}"
            words = groundup(
                "launch", "torchrun", "--nodes", "2", "--nproc-per-node", "1",
                "--rdzv-endpoint", f"10.231.7.1:{PORT}", "--rdzv-id", "two-hosts",
                "--max-restarts", "8", str(project),
            )  # fmt: skip
            with (logs / f"host-{number}.log").open("wb") as log:
                started[name] = subprocess.Popen(
                    ["ip", "netns", "exec", name, *words],
                    stdout=log,
                    stderr=log,
                    env={
                        **os.environ,
                        "OMP_NUM_THREADS": "1",
                        "GLOO_SOCKET_IFNAME": cable,
                        # torchrun's own options: both hosts have one name, so neither could
                        # find out its address, nor that it is the one they meet at.
                        "PET_LOCAL_ADDR": address,
                        "PET_RDZV_CONF": f"is_host={str(number == 1).lower()}",
                        "GROUNDUP_HOST": f"host-{number}",
                    },
                    start_new_session=True,
                )
        yield started
    finally:
        for each in started.values():
            if each.poll() is None:
                each.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    each.wait(60)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(each.pid, signal.SIGKILL)
                each.wait()


def link(name: str, cable: str, state: str) -> None:
    """Pull the cable out of a host, or put it back."""
    subprocess.run(["ip", "-n", name, "link", "set", cable, state], check=True)


def step_of(project: Path) -> int:
    """The step of the newest checkpoint; 0 before there is one."""
    steps = [
        int(path.name.partition("-")[2]) for path in project.glob("runs/*/checkpoints/step-*[0-9]")
    ]
    return max(steps, default=0)


def wait_for(reached: Callable[[], bool], launchers: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Poll until it is so.

    Raises:
        SystemExit: a launcher has ended, or it takes too long.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        ended = [name for name, each in launchers.items() if each.poll() is not None]
        if time.monotonic() > end or ended:
            raise SystemExit(f"it did not get there; ended: {ended or 'none'}")
        time.sleep(0.1)


def groundup(*words: str) -> list[str]:
    """The command line of this installation."""
    return [sys.executable, "-m", "groundup", *words]


if __name__ == "__main__":
    sys.exit(main())
