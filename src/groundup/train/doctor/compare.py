"""What only shows beside the other nodes: slow ones, other versions, clocks apart, bad links."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from groundup.train.doctor.config import Limits
from groundup.train.doctor.result import Node, Result, State, not_measured

# A node that is slow here holds all others up at every step; a slow disk only at a checkpoint.
LEAVES_OUT = ("speed", "network bandwidth")
COMPARED = (*LEAVES_OUT, "memory speed", "disk write")
SAME = ("version groundup", "version torch", "version cuda")  # other code, other numbers
# torchrun takes a peer for dead whose last sign of life, by the peer's wall clock, is older than
# 15 s (3 intervals of 5 s): torch/distributed/elastic/rendezvous/dynamic_rendezvous.py.
CLOCK_FAIL_SECONDS, CLOCK_WARN_SECONDS = 10.0, 0.5


def compared(nodes: Sequence[Node], limits: Limits) -> tuple[Node, ...]:
    """The nodes with every result judged that takes more than one node to judge."""
    nodes = [with_network(node) for node in nodes]
    peers = figures(nodes)
    usual = {name: majority(nodes, name) for name in names(nodes) if name.startswith("version ")}

    offsets = peers.get("clock offset", [])
    # Rank 0's clock is the one that all are compared with: with three it can be the odd one itself.
    time_zero = statistics.median(offsets) if len(offsets) > 2 else 0.0

    def judge(result: Result) -> Result:
        if result.name in usual and len(nodes) > 1:
            return same_version(result, usual[result.name])
        if not isinstance(result.value, float):
            return result
        if result.name == "clock offset":
            return near_in_time(result, abs(result.value - time_zero) / 1e3)
        if result.name.startswith(COMPARED):
            return as_fast(result, result.value, peers[kind(result.name)], limits)
        return result

    judged = [node.with_results([judge(result) for result in node.results]) for node in nodes]
    return tuple(judged)


def as_fast(result: Result, value: float, all_figures: Sequence[float], limits: Limits) -> Result:
    """Judge a speed by the median of the others of its kind."""
    others = list(all_figures)
    others.remove(value)
    if not others:
        return result
    median = statistics.median(others)
    share = value / median if median > 0 else 1.0
    expected = f"≥ {limits.slow_warn:g} × {median:,.4g}"
    why = f"{share:.2f} × the median of the others, {median:,.4g} {result.unit}"
    result = replace(result, expected=expected)
    if share < limits.slow_fail and result.name.startswith(LEAVES_OUT):
        return result.worse("fail", why)
    return result.worse("warn", why) if share < limits.slow_warn else result


def same_version(result: Result, usual: str) -> Result:
    """Judge a version by that of most nodes."""
    if result.value == usual:
        return result
    state: State = "fail" if result.name in SAME else "warn"
    return result.worse(state, f"{result.value}, where most have {usual}", usual)


def near_in_time(result: Result, apart: float) -> Result:
    """Judge a clock by how many seconds it is apart from the others."""
    expected = f"within {CLOCK_WARN_SECONDS:g} s"
    if apart > CLOCK_FAIL_SECONDS:
        why = f"{apart:,.1f} s apart: torchrun takes such a node for dead; start a time service"
        return result.worse("fail", why, expected)
    if apart > CLOCK_WARN_SECONDS:
        return result.worse("warn", f"{apart:,.1f} s apart: start a time service", expected)
    return result


def with_network(node: Node) -> Node:
    """Turn a node's links into results: medians of those that work, and the ones that do not."""
    if not node.links:
        return node
    works = [link for link in node.links if link.get("error") is None]
    broken = [link for link in node.links if link.get("error") is not None]
    if not works:
        found = [not_measured("network bandwidth", "no link works")]
    else:
        bandwidth = statistics.median(link["bytes_per_second"] for link in works)
        latency = statistics.median(link["latency_seconds"] for link in works)
        found = [
            Result("network bandwidth", "ok", bandwidth / 1e6, "MB/s"),
            Result("network latency", "ok", latency * 1e6, "µs"),
        ]
    if broken:
        peers = ", ".join(sorted({str(link["peer"]) for link in broken}))
        # Whoever has most links broken is the cause; the others only see it.
        state: State = "fail" if 2 * len(broken) > len(node.links) else "warn"
        why = f"no way to {peers}: {broken[0]['error']}"
        if len(node.links) == len(broken) == 1:
            why += " (of two nodes nobody can tell which)"
        found.append(Result("network links", "ok", len(broken), "broken").worse(state, why, "0"))
    return replace(node, results=(*node.results, *found))


def figures(nodes: Sequence[Node]) -> dict[str, list[float]]:
    """Kind of measurement → all its values, over all nodes and devices."""
    found: dict[str, list[float]] = {}
    for node in nodes:
        for result in node.results:
            if isinstance(result.value, float):
                found.setdefault(kind(result.name), []).append(result.value)
    return found


def kind(name: str) -> str:
    """``speed bf16 cuda:3`` → ``speed bf16 cuda``."""
    return name.partition(":")[0]


def names(nodes: Sequence[Node]) -> list[str]:
    """All names of results."""
    return list(dict.fromkeys(result.name for node in nodes for result in node.results))


def majority(nodes: Sequence[Node], name: str) -> str:
    """What most nodes say; on a tie what the first one of them says."""
    counts = Counter(str(value) for node in nodes if (value := node.value(name)) is not None)
    return counts.most_common(1)[0][0]
