"""A whole visit: ranks of nodes that are played, sick ones among them.

The ranks are threads here, each with its own connection to a real store and real gloo links; as
processes they stand in `tests/cli/test_doctor.py`.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from groundup.errors import InputError, UserError
from groundup.train import doctor
from groundup.train.doctor.config import Limits
from groundup.train.doctor.meeting import serve_or_connect
from groundup.train.doctor.member import Member, host_name, member
from groundup.train.doctor.result import Node, Result, Verdict
from groundup.train.doctor.run import attempt, attend, receive

# Slow is only what is slower by far: the nodes of a test share two cores.
LIMITS = Limits(
    seconds=0.4, join_seconds=2.5, hang_seconds=4.0, slow_warn=0.02, slow_fail=0.01, memory_bytes=1
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def visit(hosts: list[str], absent: set[int], folder: Path) -> dict[int, Verdict]:
    """Who learned what; ``absent`` ranks never come."""
    port, verdicts = free_port(), {}

    def take_part(rank: int) -> None:
        me = Member(rank, len(hosts), hosts[rank], "localhost", port, rank == 0)
        meeting = serve_or_connect(me, LIMITS.join_seconds)
        verdicts[rank] = (
            receive(meeting, folder, LIMITS, hosts) if rank == 0
            else attend(meeting, folder, LIMITS)
        )  # fmt: skip

    threads = [
        threading.Thread(target=take_part, args=(rank,), daemon=True)
        for rank in range(len(hosts)) if rank not in absent
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    threads[0].join(60)
    for thread in threads[1:]:
        thread.join(0.5)  # those that hang stay behind
    return verdicts


def test_sick_silent_and_absent_nodes_are_named_and_the_well_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDUP_DOCTOR_FAULT", "gemm@b,disk@b,hang@c")
    verdicts = visit(["a", "b", "c", "d"], absent={3}, folder=tmp_path)
    assert verdicts.keys() == {0, 1}
    assert verdicts[0] == verdicts[1]
    nodes = {node.host: node for node in verdicts[0].nodes}
    assert [host for host, node in nodes.items() if node.state == "fail"] == ["b", "c", "d"]
    assert [reason.split(":")[0] for reason in nodes["b"].reasons] == [
        "disk", "gemm fp32 cpu", "gemm bf16 cpu",
    ]  # fmt: skip
    assert "rank 2 gave no results" in nodes["c"].reasons[0]
    assert "rank 3 did not come" in nodes["d"].reasons[0]
    assert isinstance(nodes["b"].value("network bandwidth"), float)
    assert isinstance(nodes["b"].value("clock offset"), float)
    assert nodes["c"].links == ()


def test_two_ranks_of_one_host_are_one_row_and_its_disk_is_tested_once(tmp_path: Path) -> None:
    [node] = visit(["a", "a"], absent=set(), folder=tmp_path)[0].nodes
    assert (node.host, node.ranks) == ("a", (0, 1))
    assert [found.name for found in node.results].count("disk") == 1
    assert node.state != "fail"
    assert node.value("network links") is None


def test_a_node_alone_is_checked_without_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("GROUNDUP_HOST", "alone")
    [node] = doctor.check(tmp_path, LIMITS).nodes
    assert (node.host, node.ranks) == ("alone", (0,))
    assert node.state != "fail"
    names = {result.name for result in node.results}
    assert {"version torch", "gpu errors", "disk", "memory cpu", "gemm fp32 cpu", "clock step"} \
        <= names  # fmt: skip
    assert Verdict.from_dict(Verdict((node,)).to_dict()) == Verdict((node,))


def test_a_rank_without_rank_0_says_where_it_looked() -> None:
    with pytest.raises(UserError, match="rank 0 does not answer at localhost"):
        serve_or_connect(Member(1, 2, "b", "localhost", free_port()), 0.2)


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="rank 0 cannot serve"):
            serve_or_connect(Member(0, 2, "a", "localhost", port, True), 0.2)


def test_a_check_that_hangs_or_breaks_is_a_finding() -> None:
    forever = threading.Event()

    def hang() -> list[Result]:
        forever.wait(5)
        return []

    def fail() -> list[Result]:
        raise RuntimeError("CUDA error:\n uncorrectable ECC error encountered")

    [hung] = attempt("gemm", hang, 0.05)
    assert (hung.name, hung.state, hung.why) == ("gemm", "fail", "no end within 0.05 s")
    forever.set()
    [broken] = attempt("gemm", fail, 5)
    assert broken.why == "RuntimeError: CUDA error: uncorrectable ECC error encountered"


@pytest.mark.parametrize(
    "environment",
    [{"WORLD_SIZE": "two"}, {"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "RANK": "2"},
     {"WORLD_SIZE": "2", "RANK": "0"}, {"GROUNDUP_HOST": "a b"}],
)  # fmt: skip
def test_an_environment_that_names_no_rank_is_refused(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if environment == {"WORLD_SIZE": "2", "RANK": "2"}:
        monkeypatch.setenv("MASTER_PORT", "29500")
    with pytest.raises(InputError):
        member()


def test_torchruns_environment_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "7",
                        "GROUNDUP_HOST": "node-{rank}"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    assert member() == Member(0, 2, "node-0", "a", 7, hosts_store=True)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    assert member() == Member(0, 2, "node-0", "a", 7, hosts_store=False)
    assert host_name(5) == "node-5"


def test_a_misspelt_fault_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("GROUNDUP_DOCTOR_FAULT", "gem@a")
    with pytest.raises(UserError, match="is no fault"):
        doctor.check(tmp_path, LIMITS)


def test_a_node_is_as_bad_as_its_worst_result() -> None:
    results = (Result("x", "ok"), Result("y", "warn", why="w"), Result("z", "fail", why="f"))
    assert Node("a", (0,), results[:2]).state == "warn"
    assert Node("a", (0,), results).reasons == ["z: f"]
