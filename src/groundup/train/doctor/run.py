"""A visit of the doctor: every rank checks its part of its node, rank 0 gathers and judges.

    come together → clocks → each node alone → links between those that reported → verdict

Rank 0 waits for nobody longer than `Limits` says; who does not come, or goes silent, is named.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from groundup.errors import UserError
from groundup.train.doctor import clock, faults
from groundup.train.doctor.compare import compared
from groundup.train.doctor.config import Limits
from groundup.train.doctor.disk import check_disk
from groundup.train.doctor.gemm import check_gemm
from groundup.train.doctor.host import (
    check_clock_runs,
    check_free_memory,
    check_gpus,
    check_versions,
    devices,
    free_memory_bytes,
)
from groundup.train.doctor.meeting import Meeting, gone, open_store, serve_or_connect
from groundup.train.doctor.member import Member, member
from groundup.train.doctor.memory import check_memory
from groundup.train.doctor.network import measure_links
from groundup.train.doctor.result import Node, Result, Verdict

THREAD = "groundup-doctor"  # a check that hung stays behind in a thread of this name


def check(folder: Path, limits: Limits, hosts: Sequence[str]) -> Verdict:
    """See `groundup.train.doctor.check`."""
    me = member()
    faults.asked("gemm", me.host)  # a misspelt fault is said before anything is measured
    if me.size == 1:
        node = Node(me.host, (0,), tuple(check_node(me, folder, limits)))
        return Verdict(compared([node], limits))
    if faults.asked("absent", me.host):
        return Verdict(())
    meeting = serve_or_connect(me, limits.join_seconds)
    if me.rank == 0:
        return receive(meeting, folder, limits, hosts)
    return attend(meeting, folder, limits)


def receive(meeting: Meeting, folder: Path, limits: Limits, hosts: Sequence[str]) -> Verdict:
    """Rank 0: gather what all ranks find, and judge it."""
    me = meeting.me
    came = gather(meeting, "host", range(1, me.size), limits.join_seconds)
    roster = {0: me.host, **came}
    meeting.post("roster", roster)
    offsets: dict[int, Result | None] = {0: Result("clock offset", "ok", 0.0, "ms", "± 0 ms")}
    offsets |= {rank: clock.ask(meeting, rank, limits.join_seconds) for rank in came}
    found = {0: check_part(roster, me, folder, limits)}
    found |= gather(meeting, "results", came, limits.hang_seconds)
    on_gpus = all(part["device"] != "cpu" for part in found.values())
    meeting.post("network", {"ranks": list(found), "on_gpus": on_gpus})
    links = {0: check_links(me, list(found), found[0]["device"] if on_gpus else "cpu", limits)}
    links |= gather(meeting, "links", [rank for rank in found if rank], limits.hang_seconds)

    nodes: dict[str, Node] = {}
    for rank in range(me.size):
        host = roster.get(rank) or (hosts[rank] if rank < len(hosts) else f"(rank {rank})")
        node = nodes.get(host, Node(host, (), ()))
        results = [Result(**result) for result in found.get(rank, {}).get("results", ())]
        offset = offsets.get(rank)
        silent = silence(rank, roster, found, links, limits)
        nodes[host] = replace(
            node,
            ranks=(*node.ranks, rank),
            results=(*node.results, *results, *filter(None, (offset, silent))),
            links=(*node.links, *named(links.get(rank, ()), roster)),
        )
    verdict = Verdict(compared(list(nodes.values()), limits))
    meeting.post("verdict", verdict.to_dict())
    if me.hosts_store:  # it ends with this process: let the others read first
        gather(meeting, "bye", [rank for rank in found if rank], limits.join_seconds)
    return verdict


def attend(meeting: Meeting, folder: Path, limits: Limits) -> Verdict:
    """Every other rank: check, report, and learn the verdict.

    Raises:
        UserError: rank 0 has gone silent.
    """
    me = meeting.me

    def from_rank_0(key: str) -> Any:
        value = meeting.take(key, 2 * (limits.join_seconds + limits.hang_seconds))
        if value is None:
            raise gone(me)
        return value

    meeting.post(f"host/{me.rank}", me.host)
    roster = {int(rank): host for rank, host in from_rank_0("roster").items()}
    if me.rank not in roster:
        raise UserError(
            f"rank {me.rank} on {me.host} came too late: the others have begun without it",
            fix="start all ranks together",
        )
    clock.answer(meeting, me.rank, 2 * limits.join_seconds)
    if faults.asked("hang", me.host):
        threading.Event().wait()
    part = check_part(roster, me, folder, limits)
    meeting.post(f"results/{me.rank}", part)
    plan = from_rank_0("network")
    if me.rank in plan["ranks"]:
        device = part["device"] if plan["on_gpus"] else "cpu"
        meeting.post(f"links/{me.rank}", check_links(me, plan["ranks"], device, limits))
    verdict = Verdict.from_dict(from_rank_0("verdict"))
    meeting.post(f"bye/{me.rank}", True)
    return verdict


def gather(
    meeting: Meeting, key: str, ranks: Sequence[int] | Mapping[int, Any] | range, seconds: float
) -> dict[int, Any]:
    """What these ranks have left under ``key``, of those who did within ``seconds`` in all."""
    end = time.monotonic() + seconds
    taken = {rank: meeting.take(f"{key}/{rank}", end - time.monotonic()) for rank in ranks}
    return {rank: value for rank, value in taken.items() if value is not None}


def check_part(
    roster: Mapping[int, str], me: Member, folder: Path, limits: Limits
) -> dict[str, Any]:
    """The share of one rank, as JSON; the first rank on a host checks what the host has one of."""
    on_host = [rank for rank, host in sorted(roster.items()) if host == me.host]
    place, all_devices = on_host.index(me.rank), devices()
    gpus = all_devices[1:]
    results = check_node(me, folder, limits, place, len(on_host))
    device = gpus[place] if place < len(gpus) else "cpu"
    return {"results": [asdict(result) for result in results], "device": device}


def check_node(
    me: Member, folder: Path, limits: Limits, place: int = 0, n_places: int = 1
) -> list[Result]:
    """The checks of one host, or the share of process ``place`` of ``n_places`` there."""
    wall, monotonic = time.time(), time.monotonic()
    mine = devices()[place::n_places]
    hang, share = limits.hang_seconds, limits.seconds / 6  # disk, memory and products: half
    results: list[Result] = []
    if place == 0:
        results += attempt("versions", check_versions, hang)
        results += attempt("gpu errors", check_gpus, hang)
        results += attempt("disk", lambda: check_disk(folder, me.host, share), hang)
    for device in mine:
        results += check_device(device, me.host, limits, share / len(mine))
    if place == 0:
        results.append(check_clock_runs(wall, monotonic))
    return results


def check_device(device: str, host: str, limits: Limits, seconds: float) -> list[Result]:
    """Memory and matrix products of one device."""
    hang = limits.hang_seconds
    return [
        *attempt(f"memory free {device}", lambda: [check_free_memory(device)], hang),
        *attempt(
            f"memory {device}",
            lambda: check_memory(device, host, seconds, limits, free_memory_bytes(device)),
            hang,
        ),
        *attempt(f"gemm {device}", lambda: check_gemm(device, host, seconds), hang),
    ]


def check_links(
    me: Member, ranks: Sequence[int], device: str, limits: Limits
) -> list[dict[str, Any]]:
    """The links of this rank; none where measuring them hung."""
    found: list[dict[str, Any]] = []

    def work() -> list[Result]:
        store = open_store(me, limits.join_seconds)  # its own: the main thread may wait meanwhile
        found.extend(measure_links(store, ranks, me.rank, device, limits.seconds / 4))
        return []

    failed = attempt("network", work, limits.hang_seconds)
    if failed:
        found.append({"rank": me.rank, "error": failed[0].why})
    return list(found)


def attempt(name: str, work: Callable[[], list[Result]], seconds: float) -> list[Result]:
    """What ``work`` finds; that it failed, or has not ended after ``seconds``, is a result too."""
    outcome: list[list[Result]] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:  # a device that fails is what we look for
            words = " ".join(str(error).split())[:300]
            outcome.append([Result(name, "fail", why=f"{type(error).__name__}: {words}")])

    thread = threading.Thread(target=run, name=THREAD, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else [Result(name, "fail", why=f"no end within {seconds:g} s")]


def silence(
    rank: int,
    roster: Mapping[int, Any],
    found: Mapping[int, Any],
    links: Mapping[int, Any],
    limits: Limits,
) -> Result | None:
    """Where a rank stopped answering, if it did."""
    if rank not in roster:
        why = f"rank {rank} did not come within {limits.join_seconds:g} s"
    elif rank not in found:
        why = f"rank {rank} gave no results within {limits.hang_seconds:g} s: it is dead or hung"
    elif rank not in links:
        why = f"rank {rank} went silent while the network was measured"
    else:
        return None
    return Result("process", "fail", why=why)


def named(links: Sequence[Mapping[str, Any]], roster: Mapping[int, str]) -> list[dict[str, Any]]:
    """Links with the names of the hosts they lead to."""
    return [{"peer": roster[link["rank"]], **link} for link in links]
