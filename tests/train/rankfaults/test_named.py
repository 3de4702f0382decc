"""The cases of benchmarks/rank_faults.py, small: each names the rank at fault and no other."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from benchmarks import rank_faults

from groundup.train.failures import STOPPED_SECONDS
from groundup.train.heartbeat import ranks_folder

pytestmark = pytest.mark.slow
TIMEOUT, INTERVAL = 4.0, 0.2
assert STOPPED_SECONDS < TIMEOUT


@pytest.mark.parametrize(
    ("case", "said", "codes", "stack"),
    [
        ("killed", "is dead", {-signal.SIGKILL}, None),
        ("stopped", "is stopped", {None}, "State:\tT (stopped)"),  # as the kernel sees it
        ("hung", "is hung (in batch for", {None}, "in worker"),  # it sleeps there
        ("failed", "has ended (ValueError: this rank's data is bad)", {None, 1}, None),
    ],
)
def test_the_survivors_name_the_rank(
    tmp_path: Path, case: str, said: str, codes: set[int | None], stack: str | None
) -> None:
    result = rank_faults.CASES[case](tmp_path, 3, TIMEOUT, INTERVAL)
    assert result.right, result.said
    assert said in result.said
    first, failed, last = result.codes
    assert (first, last) == (75, 75)
    assert failed in codes
    if stack is not None:
        assert stack in (ranks_folder(tmp_path) / "00001.stack.txt").read_text()
        assert "ask_for_stacks" in (ranks_folder(tmp_path) / "00000.stack.txt").read_text()


def test_a_slow_rank_is_named_and_nothing_stops(tmp_path: Path) -> None:
    result = rank_faults.slow(tmp_path, 2, TIMEOUT, INTERVAL)
    assert result.right, result.said
    assert result.codes == (None, None)


@pytest.mark.skipif(
    not rank_faults.can_partition(), reason="needs root and ip (network namespaces)"
)
def test_a_cut_cable_is_told_from_a_dead_rank(tmp_path: Path) -> None:
    result = rank_faults.partition(tmp_path, 2, TIMEOUT, INTERVAL)
    assert result.right, result.said
    assert result.codes == (75, 75)
    assert "cannot reach each other: all 2 live" in result.said
