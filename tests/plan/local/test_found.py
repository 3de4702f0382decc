"""What the plan says of findings: the arithmetic of the critical batch, and the table."""

from __future__ import annotations

import pytest

from groundup.plan.local.found import (
    batch_advice,
    found_notes,
    found_table,
    interval_text,
    steps_factor,
    tokens_factor,
)

NOISE = {"rows": 41.5, "interval": [30.0, None], "tokens": 2656.0}


def test_steps_and_tokens_trade_off_as_in_the_paper() -> None:
    """(S / S_min - 1) (E / E_min - 1) = 1 (McCandlish et al. 2018, equation 2.11)."""
    for batch, critical in ((1, 64.0), (16, 3.5), (512, 512.0)):
        product = (steps_factor(batch, critical) - 1) * (tokens_factor(batch, critical) - 1)
        assert product == pytest.approx(1)
    assert steps_factor(512, 512) == tokens_factor(512, 512) == 2


@pytest.mark.parametrize(
    ("batch", "critical", "says"),
    [
        (8, 64.0, "9.00 times the fewest steps and 1.12 times the fewest tokens; a larger batch"),
        (64, 64.0, "near the best of both"),
        (640, 64.0, "1.10 times the fewest steps and 11.00 times the fewest tokens; a smaller"),
        (64, None, "did not show through the noise"),
    ],
)
def test_advice_follows_the_distance(batch: int, critical: float | None, says: str) -> None:
    assert says in batch_advice(batch, critical)


def test_an_interval_may_be_open() -> None:
    assert interval_text(NOISE) == "41.5 rows (30.0 to more), 2.66k tokens"
    assert interval_text({**NOISE, "interval": None}) == "41.5 rows, 2.66k tokens"
    assert interval_text({**NOISE, "rows": None}) == "too large to see"


def test_the_table_says_what_is_used_and_what_is_not_and_why() -> None:
    found = {
        "findings": {
            "batch_size": {
                "suggested": {"micro_batch_size": 8},
                "tokens_per_second": 5000.0,
                "peak_memory_bytes": 2**30,
            },
            "learning_rate": {
                "suggested": {"learning_rate": 0.031, "adam_learning_rate": 0.0019},
            },
        },
        "used": {"learning_rate": 0.031},
        "unused": {"batch_size": "the project file has its own"},
        "ignored": {"noise_scale": "the newest (2026-11-22) was found with another model"},
    }
    title, columns, rows = found_table(found, {"batch_size": 16})
    assert (title, len(columns)) == ("Found by measurement", 3)
    assert rows == [
        ["micro-batch", "8 rows (5,000 tokens/s, 1 GiB)", "the project file has its own"],
        ["learning rate", "0.031, 0.0019", "used: learning_rate 0.031"],
        ["critical batch size", "",
         "not used: the newest (2026-11-22) was found with another model"],
    ]  # fmt: skip
    noise = {**found, "findings": {"noise_scale": NOISE}, "ignored": {}}
    (note,) = found_notes(noise, {"batch_size": 64})
    assert note.startswith("critical batch size: 41.5 rows (30.0 to more), 2.66k tokens; ")
    assert "batch_size 64: 1.65 times the fewest steps" in note
    nothing = {**found, "findings": {"learning_rate": {"suggested": None}}, "ignored": {}}
    assert found_table(nothing, {"batch_size": 1})[2][0][1] == "none"
