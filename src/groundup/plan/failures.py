"""How often a run breaks, what that costs, and how often to save it.

Published runs give interruptions per chip and day (`catalog/failures.csv`); more chips break more
often in proportion. Saving takes δ seconds every τ, a failure costs the work since (τ/2) and a
restart R, failures are M apart:

    goodput = 1 / (1 + δ/τ + (τ/2 + R)/M),   best at τ = √(2·δ·M)   (Young 1974; Daly 2006)

This is the part of goodput that failures explain. Evaluation, loss spikes, slow starts and people
are not in it; see `time` for the goodput that whole runs had.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from groundup.plan.catalogs import read_catalog
from groundup.plan.limits import require_count, require_positive

DEFAULT_RATE = "llama3-405b"  # the best counted of them; between the other two
# bf16 weights and fp32 weights, first and second moment. BLOOM's checkpoints: 2.3 TB for 176B.
CHECKPOINT_BYTES_PER_PARAMETER = 14
# BLOOM wrote those 2.3 TB in 40 s from 384 chips (bigscience chronicles).
WRITE_BYTES_PER_SECOND_PER_CHIP = 2.3e12 / 40 / 384
RESTART_SECONDS = 1001.0  # Llama 3, an upper bound: see failures.csv


@dataclass(frozen=True)
class Failures:
    """What to expect of a run of some length on some chips."""

    expected: float  # interruptions, at the default rate
    low: float
    high: float
    mean_time_between_failures_seconds: float
    checkpoint_bytes: float
    checkpoint_seconds: float  # to write one, training waiting
    checkpoint_interval_seconds: float  # the best one
    lost_chip_hours: float  # writing, lost work and restarts
    goodput: float  # that failures alone leave
    source: str


def expected_failures(params: float, n_chips: int, wall_seconds: float) -> Failures:
    """Failures of a run, the best checkpoint interval and the goodput they leave.

    Raises:
        InputError: a number that is not positive.
    """
    require_positive(params, "params")
    require_count(n_chips, "n_chips")
    require_positive(wall_seconds, "wall_seconds")
    rates = failure_rates()
    rate = rates.get(DEFAULT_RATE) or next(iter(rates.values()))
    chip_days = n_chips * wall_seconds / 86400
    apart = 86400 / (rate * n_chips)
    size = CHECKPOINT_BYTES_PER_PARAMETER * params
    write = size / (WRITE_BYTES_PER_SECOND_PER_CHIP * n_chips)
    interval = checkpoint_interval(write, apart)
    goodput = goodput_of_failures(write, apart, interval)
    return Failures(
        expected=rate * chip_days,
        low=min(rates.values()) * chip_days,
        high=max(rates.values()) * chip_days,
        mean_time_between_failures_seconds=apart,
        checkpoint_bytes=size,
        checkpoint_seconds=write,
        checkpoint_interval_seconds=interval,
        lost_chip_hours=(1 - goodput) * wall_seconds / 3600 * n_chips,
        goodput=goodput,
        source=f"{DEFAULT_RATE}: {rate:.2e} a chip and day; range: {', '.join(rates)}",
    )


def failure_rates() -> dict[str, float]:
    """Interruptions per chip and day of each run of the catalog.

    Raises:
        InputError: a cell of the table that is no number.
    """
    return {
        row.text("id"): row.needed("interruptions") / row.needed("n_chips") / row.needed("days")
        for row in read_catalog("failures", "id")
    }


def checkpoint_interval(write_seconds: float, seconds_between_failures: float) -> float:
    """Seconds of training between two checkpoints: √(2·δ·M), at least the write itself."""
    return max(math.sqrt(2 * write_seconds * seconds_between_failures), write_seconds)


def goodput_of_failures(
    write_seconds: float,
    seconds_between_failures: float,
    interval_seconds: float,
    restart_seconds: float = RESTART_SECONDS,
) -> float:
    """Share of the wall-clock that makes progress, failures alone counted."""
    lost = (interval_seconds / 2 + restart_seconds) / seconds_between_failures
    return 1 / (1 + write_seconds / interval_seconds + lost)
