"""The list of nodes to leave out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.errors import InputError
from groundup.train.doctor.exclude import LIST, RECORD, excluded, reasons, write
from groundup.train.doctor.result import Node, Result, Verdict

BAD = Result("gemm fp32 cpu", "fail", 1, why="1 values differ")
GOOD = Result("gemm fp32 cpu", "ok", 0)


def visit(**hosts: Result) -> Verdict:
    return Verdict(tuple(Node(host, (0,), (found,)) for host, found in hosts.items()))


def test_the_list_names_the_bad_and_the_record_says_why(tmp_path: Path) -> None:
    write(visit(a=GOOD, c=BAD, b=BAD), tmp_path / RECORD)
    assert (tmp_path / LIST).read_text() == "b\nc\n"
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["exclude"] == {"c": ["gemm fp32 cpu: 1 values differ"],
                                 "b": ["gemm fp32 cpu: 1 values differ"]}  # fmt: skip
    assert [node["state"] for node in record["nodes"]] == ["ok", "fail", "fail"]


def test_who_was_not_seen_stays_on_the_list_and_who_is_well_comes_off(tmp_path: Path) -> None:
    write(visit(a=BAD, b=BAD), tmp_path / RECORD)
    (tmp_path / LIST).write_text("a\nb\nby-hand\n")
    write(visit(b=GOOD, c=GOOD), tmp_path / RECORD)
    assert excluded(tmp_path) == ["a", "by-hand"]
    assert reasons(tmp_path / RECORD) == {"a": ["gemm fp32 cpu: 1 values differ"], "by-hand": []}


def test_a_rank_without_a_name_is_in_the_record_only(tmp_path: Path) -> None:
    write(Verdict((Node("(rank 3)", (3,), (BAD,)),)), tmp_path / RECORD)
    assert excluded(tmp_path) == []
    assert json.loads((tmp_path / RECORD).read_text())["status"] == "fail"


def test_a_line_that_is_no_host_name_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / LIST).write_text("node-1\n\nnode 2; rm -rf\n")
    with pytest.raises(InputError) as caught:
        excluded(tmp_path)
    assert str(caught.value.where).endswith(f"{LIST}:3")


def test_no_list_is_an_empty_one(tmp_path: Path) -> None:
    assert excluded(tmp_path) == []
    assert reasons(tmp_path / RECORD) == {}
