"""Nodes beside each other: who is slow, who differs, whose clock and links are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from groundup.train.doctor.compare import compared
from groundup.train.doctor.config import DEFAULT
from groundup.train.doctor.result import Node, Result


def node(host: str, *results: Result, links: tuple[dict[str, Any], ...] = ()) -> Node:
    return Node(host, (0,), results, links)


def states(nodes: list[Node]) -> dict[str, str]:
    return {node.host: node.state for node in compared(nodes, DEFAULT)}


def speeds(**by_host: float) -> list[Node]:
    return [node(host, Result("speed bf16 cuda:0", "ok", float(value), "Gflop/s"))
            for host, value in by_host.items()]  # fmt: skip


def test_the_slow_node_is_the_only_one_that_is_named() -> None:
    assert states(speeds(a=100, b=98, c=49, d=102)) == {
        "a": "ok", "b": "ok", "c": "fail", "d": "ok",
    }  # fmt: skip
    assert states(speeds(a=100, b=79, c=100)) == {"a": "ok", "b": "warn", "c": "ok"}
    assert states(speeds(a=100, b=80, c=100)) == {"a": "ok", "b": "ok", "c": "ok"}


def test_of_two_nodes_the_slower_one_is_named() -> None:
    assert states(speeds(a=100, b=40)) == {"a": "ok", "b": "fail"}


def test_one_node_alone_is_not_slow() -> None:
    assert states(speeds(a=1)) == {"a": "ok"}


def test_a_slow_gpu_among_those_of_one_node_is_found() -> None:
    gpus = [Result(f"speed bf16 cuda:{i}", "ok", 30.0 if i == 3 else 100.0, "Gflop/s")
            for i in range(8)]  # fmt: skip
    [found] = compared([node("a", *gpus)], DEFAULT)
    assert [result.name for result in found.results if result.state == "fail"] == [
        "speed bf16 cuda:3"
    ]
    assert "0.30 × the median" in found.reasons[0]


def test_different_kinds_of_devices_are_not_compared() -> None:
    nodes = [node("a", Result("speed fp32 cpu", "ok", 1.0), Result("speed fp32 cuda:0", "ok", 9.0))]
    assert states(nodes) == {"a": "ok"}


def test_a_slow_disk_is_a_warning() -> None:
    nodes = [node(host, Result("disk write", "ok", value, "MB/s"))
             for host, value in {"a": 100.0, "b": 10.0, "c": 90.0}.items()]  # fmt: skip
    assert states(nodes) == {"a": "ok", "b": "warn", "c": "ok"}


@pytest.mark.parametrize(("what", "state"), [("torch", "fail"), ("driver", "warn")])
def test_the_odd_version_is_named(what: str, state: str) -> None:
    nodes = [node(host, Result(f"version {what}", "ok", value))
             for host, value in {"a": "2", "b": "2", "c": "1"}.items()]  # fmt: skip
    assert states(nodes) == {"a": "ok", "b": "ok", "c": state}


@pytest.mark.parametrize(("offset", "state"), [(3.0, "ok"), (-700.0, "warn"), (12_000.0, "fail")])
def test_clocks_apart(offset: float, state: str) -> None:
    nodes = [node("a"), node("b", Result("clock offset", "ok", offset, "ms"))]
    assert states(nodes) == {"a": "ok", "b": state}


def test_with_three_nodes_rank_0_can_have_the_wrong_clock() -> None:
    offsets = {"a": 0.0, "b": 20_000.0, "c": 20_001.0}
    nodes = [node(host, Result("clock offset", "ok", value, "ms"))
             for host, value in offsets.items()]  # fmt: skip
    assert states(nodes) == {"a": "fail", "b": "ok", "c": "ok"}


def link(peer: str, error: str | None = None) -> dict[str, Any]:
    good = {"latency_seconds": 1e-5, "bytes_per_second": 1e10}
    bad = {"latency_seconds": None, "bytes_per_second": None}
    return {"peer": peer, "error": error, **(bad if error else good)}


def test_the_node_with_no_links_is_left_out_and_its_peers_are_not() -> None:
    nodes = [
        node("a", links=(link("b"), link("c", "timed out"))),
        node("b", links=(link("a"), link("c", "timed out"))),
        node("c", links=(link("a", "timed out"), link("b", "timed out"))),
    ]
    assert states(nodes) == {"a": "warn", "b": "warn", "c": "fail"}


def test_of_two_nodes_without_a_link_both_fail_and_it_is_said_why() -> None:
    nodes = [node("a", links=(link("b", "no route"),)), node("b", links=(link("a", "no route"),))]
    found = compared(nodes, DEFAULT)
    assert [node.state for node in found] == ["fail", "fail"]
    assert "nobody can tell which" in found[0].reasons[0]


def test_bandwidth_and_latency_are_medians_in_their_units() -> None:
    [found] = compared([node("a", links=(link("b"), link("c"), link("d")))], DEFAULT)
    assert found.value("network bandwidth") == 10_000.0  # MB/s
    assert found.value("network latency") == pytest.approx(10.0)  # µs
