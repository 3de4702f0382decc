"""Damage to checkpoints and tokens is never read silently: benchmarks/corrupt.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.corrupt import corrupt


def check(work: Path, flips: int, truncations: int, pages: int) -> None:
    rows = corrupt(work, flips, truncations, pages, seed=1)
    assert [row["cases"] for row in rows[:3]] == [flips, truncations, pages]
    for row in rows:
        assert row["silent"] == row["traceback"] == 0, row
        assert row["noticed"] + row["harmless"] == row["cases"]
    assert sum(row["noticed"] for row in rows) > 0.8 * sum(row["cases"] for row in rows)
    # It is the hashes that notice: the same flips read without them.
    assert all(row["silent without hashes"] > 0 for row in rows if row["damage"] == "bit flips")


def test_no_damage_is_read_silently(tmp_path: Path) -> None:
    check(tmp_path, 16, 8, 8)


@pytest.mark.slow
def test_no_damage_is_read_silently_in_600_cases(tmp_path: Path) -> None:
    check(tmp_path, 200, 50, 50)
