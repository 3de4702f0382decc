from __future__ import annotations

from pathlib import Path

import pytest

from groundup.decide.cs2 import CerebrasRun, cs2_table
from groundup.plan.catalogs import read_rows

SHARED = Path(__file__).parents[3] / "shared" / "planner" / "cs2_table.csv"


def run(model: str, machines: int) -> CerebrasRun:
    return next(one for one in cs2_table() if (one.model, one.n_cs2) == (model, machines))


def test_four_rows_are_beyond_the_peak_of_the_machine() -> None:
    """Acceptance row S3-17: 20 and 96 PFLOP/s for each machine of 7.5."""
    flagged = [(one.model, one.n_cs2) for one in cs2_table() if not one.feasible]
    assert flagged == [("GPT 70B", 4), ("GPT 70B", 16), ("GPT 175B", 4), ("GPT 175B", 16)]
    assert run("GPT 70B", 4).pflops_per_cs2 == pytest.approx(20, rel=0.01)
    assert run("GPT 175B", 4).pflops_per_cs2 == pytest.approx(96, rel=0.01)
    assert "FLAG" in run("GPT 175B", 16).verdict


def test_six_n_d_over_days_and_machines() -> None:
    """GPT-3 13B: 6 × 13e9 × 260e9 FLOPs in 39 days on 4 machines."""
    one = run("GPT-3 13B", 4)
    assert one.flops == pytest.approx(2.028e22)
    assert one.pflops_per_cs2 == pytest.approx(2.028e22 / (39 * 86400 * 4) / 1e15)
    assert one.share_of_peak == pytest.approx(0.20, abs=0.005)


def test_jump_factors() -> None:
    """16 machines for 4: a quarter of the days for 1.25 times the price; NeoX 0.24, not 0.3."""
    neox = run("GPT NeoX 20B", 16)
    assert neox.days_jump == pytest.approx(0.236, abs=0.001)
    assert neox.price_jump == pytest.approx(1.25)
    assert neox.params_jump == 1
    assert "printed as 0.3" in neox.note
    assert cs2_table()[0].days_jump is None


def test_the_rows_agree_with_the_shared_table() -> None:
    if not SHARED.is_file():
        pytest.skip("no shared data here")
    for ours, theirs in zip(cs2_table(), read_rows(SHARED), strict=True):
        assert ours.tokens_per_parameter == pytest.approx(
            theirs.needed("tokens_per_param"), abs=0.01
        )
        assert ours.pflops_per_cs2 == pytest.approx(theirs.needed("pflops_per_cs2"), abs=0.01)
        assert ours.usd_per_cs2_day == pytest.approx(theirs.needed("usd_per_cs2_day"), abs=1)
        assert ours.usd_per_million_parameters == pytest.approx(
            theirs.needed("usd_per_1M_params"), abs=0.01
        )
        assert ours.feasible == (theirs.text("verdict").startswith("INFEASIBLE") is False)
