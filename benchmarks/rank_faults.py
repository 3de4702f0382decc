"""Ranks that die, stop, hang, fail, slow down or lose their network, and whom the others name.

Each case starts a few processes of a small data-parallel loop (gloo), waits until all of them
train, does something to one rank, and reads what the others say: the rank they name, and after how
many seconds. The partition puts two ranks in two network namespaces joined by a virtual cable and
takes the cable down; it needs root on Linux and is left out elsewhere.

    python benchmarks/rank_faults.py [--ranks 4] [--timeout 10] [--cases killed,stopped,…]

The last line is JSON; the exit code is 1 if a wrong rank was named, or none.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from groundup.errors import RankFailedError
from groundup.tables import Table, print_tables
from groundup.track.run import read_lines
from groundup.train.distributed import Ranks
from groundup.train.heartbeat import Heart, read_beats
from groundup.train.watchdog import watched

STEP_SECONDS = 0.02  # a step of the loop, without its all-reduce
GOING = 25  # steps after which something is done: all ranks know their usual step by then
ENDLESS = 100_000
LAUNCH = 7


@dataclass(frozen=True)
class Result:
    """What came of one case.

    Attributes:
        named: the ranks that the survivors name, as a set over all of them; None: they disagree.
        named_after, ended_after: seconds from the fault to the first word of who it is, and to the
            first survivor's end.
        said: the first survivor's message.
        codes: exit codes of all ranks; None of one that was still there.
    """

    case: str
    expected: frozenset[int]
    named: frozenset[int] | None
    named_after: float | None
    ended_after: float | None
    said: str
    codes: tuple[int | None, ...]

    @property
    def right(self) -> bool:
        """Whether exactly the rank at fault was named."""
        return self.named == self.expected


def main() -> int:
    """Run the cases and print the table; 0 if every case named the right rank."""
    parser = argparse.ArgumentParser(description="ranks that fail, and whom the others name")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--timeout", type=float, default=10.0, help="of a collective, in seconds")
    parser.add_argument("--interval", type=float, default=0.5, help="between two beats, in seconds")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fault", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options.worker, options.timeout, options.interval, options.fault)

    results = []
    for name in options.cases.split(","):
        if name == "partition" and not can_partition():
            print("partition: left out (needs root, ip and network namespaces)", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            size = 2 if name == "partition" else options.ranks
            results.append(CASES[name](Path(folder), size, options.timeout, options.interval))
        print(f"{name}: {results[-1].said}", file=sys.stderr)
    rows = [
        (
            result.case,
            ", ".join(map(str, sorted(result.expected))) or "the network",
            "no agreement" if result.named is None
            else ", ".join(map(str, sorted(result.named))) or "the network",
            result.named_after,
            result.ended_after,
            ", ".join("alive" if code is None else str(code) for code in result.codes),
        )
        for result in results
    ]  # fmt: skip
    columns = ("fault", "at fault", "named", "named after s", "ended after s", "exit codes")
    print_tables([Table(f"{options.ranks} ranks, timeout {options.timeout:g} s", columns, rows)])
    wrong = [result.case for result in results if not result.right]
    print(json.dumps({"cases": len(results), "wrong": wrong}))
    return 1 if wrong else 0


# --- the cases ------------------------------------------------------------------------------------


def killed(folder: Path, size: int, timeout: float, interval: float) -> Result:
    """SIGKILL to rank 1."""
    with started(folder, size, timeout, interval) as processes:
        began = hit(folder, processes, 1, signal.SIGKILL)
        return outcome("killed", {1}, folder, processes, began)


def stopped(folder: Path, size: int, timeout: float, interval: float) -> Result:
    """SIGSTOP to rank 1."""
    with started(folder, size, timeout, interval) as processes:
        began = hit(folder, processes, 1, signal.SIGSTOP)
        return outcome("stopped", {1}, folder, processes, began)


def hung(folder: Path, size: int, timeout: float, interval: float) -> Result:
    """Rank 1 waits for ever before its all-reduce."""
    with started(folder, size, timeout, interval, "hung@1") as processes:
        return outcome("hung", {1}, folder, processes, fault_time(folder, processes))


def failed(folder: Path, size: int, timeout: float, interval: float) -> Result:
    """Rank 1 raises an error of its own."""
    with started(folder, size, timeout, interval, "failed@1") as processes:
        return outcome("failed", {1}, folder, processes, fault_time(folder, processes))


def slow(folder: Path, size: int, timeout: float, interval: float) -> Result:
    """Rank 1's own work takes four times as long from some step on; nobody stops."""
    with started(folder, size, timeout, interval, "slow@1") as processes:
        began = fault_time(folder, processes)
        wait_for(lambda: bool(list(read_lines(folder / "events.jsonl"))), processes)
        events = list(read_lines(folder / "events.jsonl"))
        named = frozenset(event["rank"] for event in events)
        said = f"rank {events[0]['rank']} takes {events[0]['times_the_others']} × the others' step"
        seconds = events[0]["at"] - began
        codes = tuple(process.poll() for process in processes)
        return Result("slow", frozenset({1}), named, seconds, None, said, codes)


def partition(folder: Path, size: int, timeout: float, interval: float) -> Result:
    """The cable between two machines (network namespaces) is taken down."""
    with namespaces() as (names, cable), started(
        folder, size, timeout, interval, inside=[["ip", "netns", "exec", name] for name in names],
        environment={"GLOO_SOCKET_IFNAME": cable},
    ) as processes:  # fmt: skip
        wait_for(lambda: going(folder, size), processes)
        subprocess.run(["ip", "-n", names[0], "link", "set", cable, "down"], check=True)
        return outcome("partition", set(), folder, processes, time.monotonic())


CASES: Mapping[str, Callable[[Path, int, float, float], Result]] = {
    "killed": killed,
    "stopped": stopped,
    "hung": hung,
    "failed": failed,
    "slow": slow,
    "partition": partition,
}


def hit(
    folder: Path, processes: list[subprocess.Popen[bytes]], rank: int, number: signal.Signals
) -> float:
    """Send a rank a signal once all train; the moment."""
    wait_for(lambda: going(folder, len(processes)), processes)
    os.kill(read_beats(folder)[rank].pid, number)
    return time.monotonic()


def fault_time(folder: Path, processes: list[subprocess.Popen[bytes]]) -> float:
    """The moment at which a worker began what it was asked for."""
    path = folder / "fault"
    wait_for(path.exists, processes)
    return float(path.read_text())


def outcome(
    case: str,
    expected: set[int],
    folder: Path,
    processes: list[subprocess.Popen[bytes]],
    began: float,
) -> Result:
    """Wait for the survivors' words and compare them."""
    survivors = [rank for rank in range(len(processes)) if rank not in expected]
    named_after = None
    while any(processes[rank].poll() is None for rank in survivors):
        logs = (folder / f"log-{rank}" for rank in survivors)
        if named_after is None and any(NAMED.search(log.read_text()) for log in logs):
            named_after = time.monotonic() - began
        time.sleep(0.02)
    words = [json.loads((folder / f"said-{rank}").read_text()) for rank in survivors]
    sets = {frozenset(map(int, filter(None, NAMED.findall(word["message"])))) for word in words}
    return Result(
        case,
        frozenset(expected),
        sets.pop() if len(sets) == 1 else None,
        named_after,
        min(word["at"] for word in words) - began,
        words[0]["message"],
        tuple(process.poll() for process in processes),
    )


NAMED = re.compile(r"rank (\d+) (?:is|has|never)|cannot reach")


# --- the processes --------------------------------------------------------------------------------


@contextlib.contextmanager
def started(
    folder: Path,
    size: int,
    timeout: float,
    interval: float,
    fault: str = "",
    *,
    inside: list[list[str]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The ranks of one run, ended at the end of the block whatever state they are in."""
    processes = []
    for rank in range(size):
        with (folder / f"log-{rank}").open("wb") as log:
            processes.append(
                subprocess.Popen(
                    [
                        *(inside[rank] if inside else []),
                        *(sys.executable, __file__, "--worker", str(folder), "--fault", fault),
                        *("--timeout", str(timeout), "--interval", str(interval)),
                    ],
                    stdout=log,
                    stderr=log,
                    env={
                        **os.environ,
                        "OMP_NUM_THREADS": "1",
                        "RANK": str(rank),
                        "WORLD_SIZE": str(size),
                        **(environment or {}),
                    },
                )
            )
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for(
    reached: Callable[[], bool], processes: list[subprocess.Popen[bytes]], seconds: float = 120.0
) -> None:
    """Poll until it is so.

    Raises:
        SystemExit: a process has ended, or it takes too long.
    """
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end or any(process.poll() is not None for process in processes):
            raise SystemExit(f"the ranks did not get there; codes {[p.poll() for p in processes]}")
        time.sleep(0.02)


def going(folder: Path, size: int) -> bool:
    """Whether all ranks train."""
    beats = read_beats(folder)
    return len(beats) == size and all(beat.step >= GOING for beat in beats.values())


def worker(folder: Path, timeout: float, interval: float, fault: str) -> int:
    """One rank: a loop of nothing but its places, and an all-reduce a step."""
    import torch

    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=ranks.rank,
        world_size=ranks.size,
        timeout=timedelta(seconds=timeout),
    )
    heart = Heart(folder, ranks, launch=LAUNCH, interval_seconds=interval)
    what, _, at_rank = fault.partition("@")
    mine = at_rank == str(ranks.rank)
    try:
        with watched(folder, ranks, launch=LAUNCH, timeout_seconds=timeout, heart=heart) as heart:
            gradients = torch.ones(1000)
            for step in range(1, ENDLESS):
                heart.at("batch", step)
                if mine and step == 2 * GOING:
                    (folder / "fault").write_text(str(time.monotonic()))
                    if what == "hung":
                        time.sleep(10**6)
                    if what == "failed":
                        raise ValueError("this rank's data is bad")
                time.sleep(STEP_SECONDS / 2)
                heart.at("forward/backward", step)
                much = mine and what == "slow" and step >= 2 * GOING
                time.sleep(STEP_SECONDS * (3.5 if much else 0.5))
                heart.at("all-reduce", step)
                torch.distributed.all_reduce(gradients)
                heart.at("optimizer", step)
                gradients.fill_(1.0)
                while not heart.news.empty():
                    with (folder / "events.jsonl").open("a") as events:
                        line = {"step": step, "at": time.monotonic(), **heart.news.get()}
                        events.write(json.dumps(line) + "\n")
    except RankFailedError as error:
        said = {"at": time.monotonic(), "message": error.message}
        (folder / f"said-{ranks.rank}").write_text(json.dumps(said))
        print(error, file=sys.stderr, flush=True)
        os._exit(error.code)  # a group that broke may wait for its peers when it is taken down
    return 0


# --- the network ----------------------------------------------------------------------------------


def can_partition() -> bool:
    """Whether network namespaces can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"groundup-{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], check=True)
    return made


@contextlib.contextmanager
def namespaces() -> Iterator[tuple[list[str], str]]:
    """Two network namespaces joined by a cable, which has the same name in both."""
    names, cable = [f"groundup-{os.getpid()}-{side}" for side in "ab"], "cable0"
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(
            ["ip", "-n", names[0], "link", "add", cable, "type", "veth", "peer", "name", cable,
             "netns", names[1]], check=True,
        )  # fmt: skip
        for number, name in enumerate(names, start=1):
            for words in (
                ["addr", "add", f"10.231.7.{number}/24", "dev", cable],
                ["link", "set", cable, "up"],
                ["link", "set", "lo", "up"],
            ):
                subprocess.run(["ip", "-n", name, *words], check=True)
        yield names, cable
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
