"""``groundup doctor`` on one node, and as processes on nodes that are played."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from groundup.train import doctor
from groundup.train.doctor.config import Limits
from groundup.train.doctor.result import Node, Result, Verdict
from tests.cli.command import groundup
from tests.projects import command


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GROUNDUP_HOST", "here")


def visit_finds(monkeypatch: pytest.MonkeyPatch, *nodes: Node) -> list[tuple[Limits, list[str]]]:
    """Let a visit find these nodes; what it was asked for."""
    asked: list[tuple[Limits, list[str]]] = []

    def check(folder: Path, limits: Limits, hosts: list[str]) -> Verdict:
        asked.append((limits, hosts))
        return Verdict(nodes)

    monkeypatch.setattr(doctor, "check", check)
    return asked


GOOD = Node("a", (0,), (Result("speed fp32 cpu", "ok", 80.0, "Gflop/s"),))
BAD = Node("b", (1,), (Result("gemm fp32 cpu", "fail", 1, why="1 values differ"),))


def test_a_well_node_is_shown_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = groundup(capsys, "doctor", tmp_path, "--seconds", "0.3")
    assert done.code == 0, done.out
    assert done.out.startswith("Nodes\n")
    assert "gpu errors" in done.out
    record = json.loads((tmp_path / "doctor" / "nodes.json").read_text())
    assert [node["host"] for node in record["nodes"]] == ["here"]
    assert (tmp_path / "doctor" / "exclude.txt").read_text() == ""


def test_the_bad_node_is_named_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = visit_finds(monkeypatch, GOOD, BAD)
    done = groundup(
        capsys, "doctor", tmp_path, "--seconds", "5m", "--join-seconds", "7", "--hosts", "a,b"
    )
    assert done.code == 2
    assert "leave out b: gemm fp32 cpu: 1 values differ" in done.out
    assert "leave out a" not in done.out
    assert (tmp_path / "doctor" / "exclude.txt").read_text() == "b\n"
    [(limits, hosts)] = asked
    assert (limits.seconds, limits.join_seconds, hosts) == (300.0, 7.0, ["a", "b"])


def test_a_node_that_was_not_seen_stays_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    visit_finds(monkeypatch, GOOD, BAD)
    groundup(capsys, "doctor", tmp_path)
    visit_finds(monkeypatch, GOOD)
    done = groundup(capsys, "doctor", tmp_path)
    assert done.code == 0
    assert "not seen now, still left out: b: gemm fp32 cpu" in done.out
    assert (tmp_path / "doctor" / "exclude.txt").read_text() == "b\n"


def test_json_and_another_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    visit_finds(monkeypatch, BAD)
    record = tmp_path / "elsewhere" / "found.json"
    done = groundup(capsys, "doctor", tmp_path, "--json", "--output", record)
    assert done.code == 2
    assert json.loads(done.out) == json.loads(record.read_text())
    assert json.loads(done.out)["exclude"] == {"b": ["gemm fp32 cpu: 1 values differ"]}
    assert (record.parent / "exclude.txt").read_text() == "b\n"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("folder", "this is a folder"),
        ("pipe", "a link, a device or a pipe"),
        ("to-folder", "a link, a device or a pipe"),
        ("to-nothing", "a link, a device or a pipe"),
        ("plain/found.json", "a file is in the way of a folder"),
        ("lists/found.json", "this is a folder"),
        ("/proc/none/found.json", "cannot write here"),
        ("/proc/found.json", "cannot write here"),
    ],
)
def test_where_the_results_cannot_go_is_said_before_any_check(
    output: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked = visit_finds(monkeypatch, GOOD)
    (tmp_path / "folder").mkdir()
    (tmp_path / "lists" / "exclude.txt").mkdir(parents=True)
    (tmp_path / "plain").write_text("kept")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-folder").symlink_to("folder")
    (tmp_path / "to-nothing").symlink_to("nothing")
    before = {path.name: path.lstat().st_ino for path in tmp_path.iterdir()}
    done = groundup(capsys, "doctor", tmp_path, "--output", tmp_path / output)
    assert (done.code, asked) == (2, [])
    assert said in done.err
    assert {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} == before


def test_what_comes_into_the_way_during_the_checks_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "found.json"

    def check(folder: Path, limits: Limits, hosts: list[str]) -> Verdict:
        os.mkfifo(record)
        return Verdict((GOOD,))

    monkeypatch.setattr(doctor, "check", check)
    done = groundup(capsys, "doctor", tmp_path, "--output", record)
    assert done.code == 2
    assert record.is_fifo()


def test_a_plain_file_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    visit_finds(monkeypatch, GOOD)
    record = tmp_path / "found.json"
    record.write_text("{}")
    assert groundup(capsys, "doctor", tmp_path, "--output", record).code == 0
    assert json.loads(record.read_text())["status"] == "ok"


@pytest.mark.parametrize("option", ["--seconds", "--join-seconds"])
def test_no_time_at_all_is_refused_and_condemns_nobody(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked = visit_finds(monkeypatch, GOOD)
    done = groundup(capsys, "doctor", tmp_path, option, "0")
    assert (done.code, asked) == (2, [])
    assert "must be greater than zero" in done.err
    assert option.removeprefix("--").replace("-", "_") in done.err
    assert list(tmp_path.iterdir()) == []


def test_only_rank_0_prints_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    visit_finds(monkeypatch, GOOD, BAD)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    done = groundup(capsys, "doctor", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert list(tmp_path.iterdir()) == []


def test_no_folder_is_an_error_in_three_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = groundup(capsys, "doctor", tmp_path / "none")
    assert done.code == 2
    assert "there is no such folder" in done.err


@pytest.mark.slow
def test_four_processes_of_which_one_is_wrong_and_one_is_stopped(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(4):
        environment = {
            **os.environ, "RANK": str(rank), "WORLD_SIZE": "4", "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(port), "GROUNDUP_HOST": "node-{rank}", "OMP_NUM_THREADS": "1",
            "GROUNDUP_DOCTOR_FAULT": "gemm@node-1,hang@node-2",
        }  # fmt: skip
        words = command("doctor", tmp_path, "--seconds", "2", "--join-seconds", "20", "--json")
        processes.append(
            subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        )
    out = processes[0].communicate(timeout=110)[0]
    processes[2].kill()
    codes = [process.wait(timeout=60) for process in processes]
    for process in processes[1:]:
        process.communicate()
    assert codes == [2, 2, -signal.SIGKILL, 2]
    record = json.loads(out)
    nodes = {node["host"]: node for node in record["nodes"]}
    assert list(nodes) == [f"node-{rank}" for rank in range(4)]
    assert {"node-1", "node-2"} <= record["exclude"].keys()
    assert "gemm fp32 cpu: 1 values differ from the known answer" in record["exclude"]["node-1"]
    assert "dead or hung" in record["exclude"]["node-2"][0]
    for host in ("node-0", "node-1", "node-3"):
        assert len([link for link in nodes[host]["links"] if link["error"] is None]) == 2
